r"""Encoding against the bare open_clip forward pass, side by side in one process.

    python scripts/bench_embed.py --clip lab --rounds 3
    python scripts/bench_embed.py --clip ViT-B-32/untrained --images 128 --rounds 2 \
        --photos DATA/photos/coco-mini

Three things are timed in turn, round after round, on the same pictures: the bare forward pass on
blocks that are decoded already; open_clip as its documentation shows it (decode, preprocess and
encode one after another); and `encode_shard`, which reads encoded files and gives vectors. Ends
with a JSON line.
"""

import argparse
import io
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from conceptaudit.image.clip import ClipModel, _load, find_clip
from conceptaudit.image.encode_shard import encode_shard
from conceptaudit.image.oom_fallback import ENCODE_BATCH
from conceptaudit.lab import LabConfig
from conceptaudit.lab.shards import store
from conceptaudit.records import SampleBatch


def lab_pictures(n: int) -> list[bytes]:
    """JPEG files of simulated scenes, 96 pixels a side."""
    config = LabConfig(seed=5, n_samples=n, exact_duplicate_rate=0.0, near_duplicate_rate=0.0)
    return [sample.image for i in range(n) if (sample := store(config, i)).image is not None]


def photographs(folder: Path, n: int) -> list[bytes]:
    """JPEG files of photographs, again and again with a byte more until there are n."""
    files = [path.read_bytes() for path in sorted(folder.rglob("*.jpg"))]
    return [files[i % len(files)] + b"\0" * (i // len(files)) for i in range(n)]


def batch_of(pictures: list[bytes]) -> SampleBatch:
    """Put pictures in a batch as a reader would."""
    ids = np.arange(len(pictures), dtype=np.int64)
    return SampleBatch(sample_ids=ids, keys=[str(i) for i in ids], images=pictures)


def processor_seconds(work: Callable[[], object]) -> tuple[float, float]:
    """Wall and processor seconds of one call."""
    wall, used = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - used


def measure(clip: ClipModel, pictures: list[bytes], rounds: int) -> dict[str, object]:
    """Time the three, alternating."""
    loaded = _load(clip.name, clip.device, False)
    images = [Image.open(io.BytesIO(data)).convert("RGB") for data in pictures]
    blocks = [
        torch.stack(
            [
                loaded.pixels.finish(clip.prepare(image)[None])[0]
                for image in images[i : i + ENCODE_BATCH]
            ]
        )
        for i in range(0, len(images), ENCODE_BATCH)
    ]
    vectors: dict[str, np.ndarray] = {}

    def forward() -> None:
        with torch.inference_mode():
            vectors["bare"] = np.concatenate(
                [
                    loaded.model.encode_image(block.to(clip.device)).float().cpu().numpy()
                    for block in blocks
                ]
            )

    def documented() -> None:
        with torch.inference_mode():
            for i in range(0, len(pictures), ENCODE_BATCH):
                opened = [
                    Image.open(io.BytesIO(data)).convert("RGB")
                    for data in pictures[i : i + ENCODE_BATCH]
                ]
                pixels = torch.stack(
                    [loaded.pixels.finish(clip.prepare(image)[None])[0] for image in opened]
                )
                loaded.model.encode_image(pixels.to(clip.device)).float().cpu().numpy()

    def ours() -> None:
        vectors["ours"] = encode_shard([batch_of(pictures)], clip).vectors

    def decoding() -> None:
        for data in pictures:
            clip.prepare(Image.open(io.BytesIO(data)).convert("RGB"))

    ways = {"bare": forward, "documented": documented, "ours": ours, "decoding": decoding}
    forward()
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, work in ways.items():
            seconds[name].append(processor_seconds(work))
    bare = vectors["bare"] / np.linalg.norm(vectors["bare"], axis=1, keepdims=True)
    result: dict[str, object] = {
        "clip": clip.name,
        "device": clip.device,
        "threads": torch.get_num_threads(),
        "n": len(pictures),
        "largest_difference": float(np.abs(bare - vectors["ours"].astype(np.float32)).max()),
    }
    for name, times in seconds.items():
        result[f"{name}_wall_s"] = statistics.median(wall for wall, _ in times)
        result[f"{name}_cpu_s"] = statistics.median(used for _, used in times)
    for kind, column in (("wall", 0), ("cpu", 1)):
        pairs = zip(*(seconds[name] for name in ("ours", "bare", "decoding")), strict=True)
        ratios = [(o[column] / b[column], (o[column] - d[column]) / b[column]) for o, b, d in pairs]
        result[f"ours_to_bare_{kind}"] = statistics.median(r for r, _ in ratios)
        result[f"ours_without_decoding_to_bare_{kind}"] = statistics.median(r for _, r in ratios)
    return result


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clip", default="lab")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--images", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--photos", type=Path)
    arguments = parser.parse_args()
    pictures = (
        photographs(arguments.photos, arguments.images)
        if arguments.photos
        else lab_pictures(arguments.images)
    )
    result = measure(find_clip(arguments.clip, device=arguments.device), pictures, arguments.rounds)
    for name, value in result.items():
        print(f"{name:40} {value:.4g}" if isinstance(value, float) else f"{name:40} {value}")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
