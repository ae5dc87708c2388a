"""Zero-shot evaluation side by side with CLIP_benchmark, in alternating rounds of one process.

    python scripts/benchmarks/bench_evaluate.py --images 512 --clip lab --clip ViT-B-32/untrained

Pictures are drawn by the lab and packed as CLIP_benchmark packs them. Both read the same archives,
decode, preprocess, encode and score; loading the model and encoding the class names are left out of
both. A JSON line with all figures ends the output.
"""

import argparse
import io
import json
import statistics
import tarfile
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from conceptaudit.image.clip import find_clip
from conceptaudit.image.concept_vectors import encode_concepts
from conceptaudit.lab import lab_training, lab_vocabulary
from conceptaudit.lab.bundled import lab_clip_path
from conceptaudit.lab.folders import draw_test_picture
from conceptaudit.zeroshot.classify import ZeroShotClassifier
from conceptaudit.zeroshot.sets import open_evaluation_set

N_CLASSES = 32


def write_set(root: Path, n_images: int) -> None:
    """Draw an evaluation set and write it in CLIP_benchmark's layout."""
    config = lab_training().config
    names = lab_vocabulary(config).names[:N_CLASSES]
    (root / "test").mkdir(parents=True)
    with tarfile.open(root / "test" / "0.tar", "w") as archive:
        for number in range(n_images):
            index = number % len(names)
            picture = draw_test_picture(config, names[index], number)
            for ending, data in (("jpg", picture), ("cls", str(index).encode())):
                info = tarfile.TarInfo(f"s{number:07d}.{ending}")
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
    (root / "test" / "nshards.txt").write_text("1\n")
    (root / "classnames.txt").write_text("".join(f"{name}\n" for name in names))
    (root / "zeroshot_classification_templates.txt").write_text("a photo of a {c}\n")


def ours(root: Path, name: str) -> Callable[[], None]:
    """Prepare our side: what is timed is the stage over the shard, as `evaluate` runs it."""
    opened = open_evaluation_set(root)
    clip = find_clip(name, device="cpu")
    stage = ZeroShotClassifier(
        clip=clip,
        classes=encode_concepts(opened.concepts, clip),
        evaluation_set=opened,
        name="bench",
    )
    [shard] = opened.dataset.shards()
    return lambda: void(stage(shard, opened.dataset.read(shard, stage.parts)))


def theirs(root: Path, name: str, workers: int) -> Callable[[], None]:
    """Prepare CLIP_benchmark's side: its loader, its loop."""
    import open_clip
    import torch
    from clip_benchmark.datasets.builder import build_wds_dataset
    from clip_benchmark.metrics.zeroshot_classification import (
        run_classification,
        zero_shot_classifier,
    )

    architecture, _, weights = name.partition("/")
    if name == "lab":
        architecture = f"local-dir:{lab_clip_path()}"
    model, _, transform = open_clip.create_model_and_transforms(
        architecture, pretrained=weights if weights not in ("", "untrained") else None
    )
    model.eval()
    tokenizer = open_clip.get_tokenizer(architecture)
    dataset = build_wds_dataset("bench", transform=transform, data_dir=str(root))
    weights = zero_shot_classifier(
        model, tokenizer, dataset.classes, dataset.templates, "cpu", amp=False
    )

    def run() -> None:
        loader = torch.utils.data.DataLoader(
            dataset.batched(64), batch_size=None, shuffle=False, num_workers=workers
        )
        void(run_classification(model, weights, loader, "cpu", amp=False))

    return run


def void(value: Any) -> None:
    """Take a result that only had to be computed."""


def timed(sides: dict[str, Callable[[], None]], rounds: int) -> Iterator[dict[str, float]]:
    """Run the sides in turn; yield the seconds of each, after one round to warm up."""
    for number in range(rounds + 1):
        seconds = {}
        for side, run in sides.items():
            start = time.perf_counter()
            run()
            seconds[side] = time.perf_counter() - start
        if number:
            yield seconds


def main() -> None:
    """Print images per second and ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--images", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--clip", action="append", default=[])
    parser.add_argument("--workers", type=int, default=0, help="of CLIP_benchmark's loader")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")  # of webdataset
    figures = []
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "set"
        write_set(root, arguments.images)
        for name in arguments.clip or ["lab"]:
            sides = {"ours": ours(root, name), "theirs": theirs(root, name, arguments.workers)}
            rounds = list(timed(sides, arguments.rounds))
            rates = {
                side: arguments.images / statistics.median(r[side] for r in rounds)
                for side in sides
            }
            ratios = [r["theirs"] / r["ours"] for r in rounds]
            figures.append(
                {
                    "clip": name,
                    **{side: round(rate, 1) for side, rate in rates.items()},
                    "ratio": round(statistics.median(ratios), 3),
                    "ratio_low": round(min(ratios), 3),
                    "ratio_high": round(max(ratios), 3),
                }
            )
            print(figures[-1])
    print(json.dumps({"bench": "evaluate", "images": arguments.images, "figures": figures}))


if __name__ == "__main__":
    main()
