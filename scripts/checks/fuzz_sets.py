"""Long-tail sets and embedding folders to be damaged, and what reads them."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
from fuzz_folders import read_all
from fuzz_mutations import sealed_manifest
from fuzz_seeds import Files, Reader, npy_of, parquet_of, some_captions, some_vectors


def _set_seeds() -> list[Files]:
    """Make a long-tail set of two images of two classes, as `longtail.export` writes it."""
    classes = [
        {"class_index": i, "concept": name, "folder": folder, "included": True, "n_images": 1,
         "n_missing": 0, "n_clean": 3, "lowest_score": 0.5, "n_runner_up_leads": 0, "n_text": 2,
         "n_image": None, "n_joint": None, "stratum": None, "why": "rare"}
        for i, (name, folder) in enumerate((("dog", "dog"), ("hot dog", "hot_dog")))
    ]  # fmt: skip
    images = pd.DataFrame(
        [
            {"file": f"images/{one['folder']}/0001_a.jpg", "concept": one["concept"],
             "class_index": one["class_index"], "key": "a", "source": "0.tar#1", "score": 0.5,
             "rank": 1, "runner_up": "cat", "margin": 0.1, "suspect": "", "phash": "0" * 16,
             "sha256": "0" * 64, "width": 8, "height": 8, "caption": "a dog", "url": "",
             "license": "", "why": "rare"}
            for one in classes
        ]
    )  # fmt: skip
    removed = pd.DataFrame(
        [{"key": "b", "source": "0.tar#2", "concept": "dog", "reason": "surplus", "detail": "",
          "duplicate_of": ""}]
    )  # fmt: skip
    told = {"kind": "longtail", "digest": "d", "classes": classes, "n_classes": 2, "n_images": 2,
            "removed": {"surplus": 1}, "notes": ["Layout: table."]}  # fmt: skip
    files: Files = {
        "manifest.json": json.dumps(told).encode(),
        "manifest.csv": images.to_csv(index=False).encode(),
        "classes.csv": pd.DataFrame(classes).to_csv(index=False).encode(),
        "removed.csv": removed.to_csv(index=False).encode(),
        "zeroshot_classification_templates.txt": b"a photo of a {c}.\n",
    }
    return [sealed_manifest(files)]


def _evaluated_seeds() -> list[Files]:
    """Make the part of a set that an evaluation reads."""
    [files] = _set_seeds()
    read = {name: data for name, data in files.items() if not name.endswith(".csv")}
    return [{**read, **{f"images/{name}/1_a.jpg": b"\xff\xd8x" for name in ("dog", "hot_dog")}}]


def _read_set(folder: Path) -> object:
    """Read a set as the next build of it does, and draw the report's part on it."""
    from conceptaudit.longtail.set_storage import find_finished, read_long_tail
    from conceptaudit.progress import SilentProgress
    from conceptaudit.report.inputs import ReportInputs
    from conceptaudit.report.pictures import PictureBudget
    from conceptaudit.report.sections.longtail import longtail_section

    made = find_finished(folder, "d") or read_long_tail(folder)
    _ = made.concepts, made.notes
    inputs = ReportInputs(run=_NO_RUN, longtail=made)
    return str(longtail_section(inputs, None, PictureBudget(), SilentProgress()).body)


def _read_evaluated(folder: Path) -> None:
    from conceptaudit.zeroshot.sets import open_evaluation_set

    found = open_evaluation_set(folder)
    for shard in found.dataset.shards():
        for _ in found.dataset.read(shard, found.dataset.provides):
            pass


_NO_RUN: Any = SimpleNamespace(table=pd.DataFrame({"concept": []}), counted=())


def _embedded_seeds() -> list[Files]:
    """Make a folder as `conceptaudit embed` writes it."""
    table = some_captions()[["key"]].assign(label=[0, 1] * 4)
    files = {
        "img_emb/img_emb_0.npy": npy_of(some_vectors().astype(np.float16)),
        "metadata/metadata_0.parquet": parquet_of(table),
    }
    told = {"kind": "embeddings", "model": "m", "clip": "ViT-B-32", "dataset": "somewhere",
            "dimension": 4, "n_vectors": 8, "shards": {"0": sorted(files)}}  # fmt: skip
    return [sealed_manifest({**files, "manifest.json": json.dumps(told).encode()})]


def _read_embedded(folder: Path) -> None:
    from conceptaudit.image.embed import check_embedded_with
    from conceptaudit.image.index.source import open_source
    from conceptaudit.longtail.pretraining import open_pretraining

    clip: Any = SimpleNamespace(digest="m", name="ViT-B-32")
    read_all(
        folder,
        lambda place: check_embedded_with(str(place), clip),
        lambda place: [len(block) for block in open_source(place).blocks()],
        lambda place: open_pretraining(place, "m"),
    )


SETS: dict[str, Reader] = {
    "long-tail-set": Reader(seeds=_set_seeds, read=_read_set, manifest="manifest.json"),
    "long-tail-evaluation": Reader(seeds=_evaluated_seeds, read=_read_evaluated),
    "embedded": Reader(
        seeds=_embedded_seeds,
        read=_read_embedded,
        spared=("img_emb/img_emb_0.npy",),
        manifest="manifest.json",
    ),
}
