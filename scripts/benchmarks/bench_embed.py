r"""Encoding against the bare open_clip forward pass, side by side in one process.

    python scripts/benchmarks/bench_embed.py --clip lab --rounds 3
    python scripts/benchmarks/bench_embed.py --clip ViT-B-32/untrained --images 128 --rounds 2 \
        --photos DATA/photos/coco-mini

Three things are timed in turn, round after round, on the same pictures: the bare forward pass on
blocks that are decoded already; open_clip as its documentation shows it (decode, preprocess and
encode one after another); and `encode_shard`, which reads encoded files and gives vectors. With
``--free`` the model costs nothing, as a fast card does beside few processors: images per second of
`encode_shard` against those that as many threads decode and prepare and do nothing else with, and
the processor time of the main thread, which is what feeds a card. Ends with a JSON line.
"""

import argparse
import io
import json
import statistics
import time
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from conceptaudit.image.clip import ClipModel, _load, find_clip
from conceptaudit.image.encode import ENCODE_BATCH, encode_shard
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


@dataclass(frozen=True)
class FreeModel:
    """A model that costs nothing, behind another one's preprocessing."""

    clip: ClipModel
    batch: int
    device: str = "cpu"
    dimension: int = 512

    def prepare(self, image: Image.Image) -> torch.Tensor:
        """Scale and crop as the other model does."""
        return self.clip.prepare(image)

    def launch_pixels(self, pixels: torch.Tensor) -> Callable[[], np.ndarray]:
        """Answer at once."""
        return lambda: np.ones((len(pixels), self.dimension), dtype=np.float32)


def free(clip: ClipModel, pictures: list[bytes], rounds: int, threads: int) -> dict[str, object]:
    """Time the loop around a model that costs nothing."""
    model = FreeModel(clip=clip, batch=clip.batch)
    seconds: dict[str, list[float]] = defaultdict(list)

    def decode(part: list[bytes]) -> None:
        for data in part:
            clip.prepare(Image.open(io.BytesIO(data)).convert("RGB"))

    for _ in range(rounds):
        began, used = time.perf_counter(), time.process_time()
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(decode, [pictures[i : i + 8] for i in range(0, len(pictures), 8)]))
        seconds["decoding"].append(time.perf_counter() - began)
        seconds["decoding_cpu"].append(time.process_time() - used)
        began, used = time.perf_counter(), time.process_time()
        main_thread = time.thread_time()
        encode_shard([batch_of(pictures)], model, threads=threads)
        seconds["ours"].append(time.perf_counter() - began)
        seconds["ours_cpu"].append(time.process_time() - used)
        seconds["main_thread"].append(time.thread_time() - main_thread)
    cpu = [d / o for d, o in zip(seconds["decoding_cpu"], seconds["ours_cpu"], strict=True)]
    ratios = [d / o for d, o in zip(seconds["decoding"], seconds["ours"], strict=True)]
    n = len(pictures)
    return {
        "clip": clip.name,
        "n": n,
        "threads": threads,
        "batch": clip.batch,
        "decoded_per_s": n / statistics.median(seconds["decoding"]),
        "encoded_per_s": n / statistics.median(seconds["ours"]),
        "encoded_to_decoded": statistics.median(ratios),
        "encoded_to_decoded_cpu": statistics.median(cpu),
        "ratios": [round(ratio, 3) for ratio in ratios],
        "main_thread_ms_per_image": 1000 * statistics.median(seconds["main_thread"]) / n,
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clip", default="lab")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--images", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--photos", type=Path)
    parser.add_argument("--free", action="store_true", help="a model that costs nothing")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()
    pictures = (
        photographs(arguments.photos, arguments.images)
        if arguments.photos
        else lab_pictures(arguments.images)
    )
    clip = find_clip(arguments.clip, device=arguments.device)
    result = (
        free(clip, pictures, arguments.rounds, arguments.threads)
        if arguments.free
        else measure(clip, pictures, arguments.rounds)
    )
    for name, value in result.items():
        print(f"{name:40} {value:.4g}" if isinstance(value, float) else f"{name:40} {value}")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
