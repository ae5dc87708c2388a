"""The samples of a finished audit with what was found in each, for viewers of datasets."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pandas as pd

from conceptaudit.artifacts import MANIFEST, read_json
from conceptaudit.errors import ConfigError, DataError, MissingDependencyError
from conceptaudit.reading import read_parquet

SIDES = ("text", "image")
IMAGE_ENDINGS = frozenset({".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff"})


def tagged_samples(folder: Path, images: str | Path | None = None) -> pd.DataFrame:
    """Return the samples of an audit in which a concept was found.

    Returns by ``sample_id``: ``key``, per audited side a list of concept names (``text``,
    ``image``), and, with `images`, the path of the image (``file``; empty where there is none).
    Written as parquet it is what Renumics Spotlight opens.
    """
    manifest = read_json(folder / MANIFEST)
    if not isinstance(manifest, dict) or not isinstance(manifest.get("shards"), list):
        raise DataError(f"{folder / MANIFEST} is damaged: it names no shards.")
    concepts = read_json(folder / "concepts.json")
    names = {number: str(concept["concept"]) for number, concept in enumerate(concepts)}
    found: dict[str, pd.Series] = {}
    keys: list[pd.Series] = []
    for side in (side for side in SIDES if (folder / side).is_dir()):
        parts = [folder / side / f"{shard}.parquet" for shard in manifest["shards"]]
        tables = [read_parquet(part) for part in parts if part.is_file()]
        if not tables:
            continue
        tags = pd.concat(tables, ignore_index=True)
        named = tags.assign(concept=tags["concept_id"].map(names))
        found[side] = named.groupby("sample_id", sort=True)["concept"].agg(list)
        keys.append(tags.drop_duplicates("sample_id").set_index("sample_id")["key"])
    if not found:
        return pd.DataFrame({"sample_id": [], "key": []})
    table = pd.DataFrame(found)
    for side in found:
        table[side] = [one if isinstance(one, list) else [] for one in table[side]]
    by_sample = pd.concat(keys)
    table.insert(0, "key", by_sample[~by_sample.index.duplicated()].reindex(table.index))
    if images is not None:
        files = _files(Path(images))
        table["file"] = [files.get(str(key), "") for key in table["key"]]
    return table.rename_axis("sample_id").reset_index()


def to_fiftyone(folder: Path, images: str | Path, name: str | None = None) -> Any:
    """Return a FiftyOne dataset of the images of an audit; see `AuditRun.to_fiftyone`."""
    if find_spec("fiftyone") is None:
        raise MissingDependencyError("FiftyOne is not installed: pip install fiftyone.")
    import fiftyone

    table = tagged_samples(folder, images)
    if "file" not in table or not (table["file"] != "").any():
        raise ConfigError(f"No image below {images} has the key of a sample of {folder}.")
    samples = []
    sides = [side for side in SIDES if side in table]
    for row in table[table["file"] != ""].to_dict("records"):
        sample = fiftyone.Sample(filepath=row["file"], key=row["key"])
        for side in sides:
            labels = [fiftyone.Classification(label=label) for label in row[side]]
            sample[f"concepts_{side}"] = fiftyone.Classifications(classifications=labels)
        samples.append(sample)
    dataset = fiftyone.Dataset(name)
    dataset.add_samples(samples)
    return dataset


def _files(folder: Path) -> dict[str, str]:
    """Return the image files below a folder by key."""
    if not folder.is_dir():
        raise ConfigError(f"The images must be a folder of image files. Got {folder} instead.")
    found = sorted(p for p in folder.rglob("*") if p.suffix.lower() in IMAGE_ENDINGS)
    return {str(p.relative_to(folder).with_suffix("")): str(p.resolve()) for p in found}
