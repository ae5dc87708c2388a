"""What an audit returns, and its samples for viewers of datasets."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pandas as pd

from conceptaudit.artifacts import MANIFEST, Json, read_json
from conceptaudit.display import as_html, quantity, show
from conceptaudit.errors import ConfigError, DataError, MissingDependencyError
from conceptaudit.frequency.counting import Alignment
from conceptaudit.frequency.intervals import LEVEL
from conceptaudit.reading import read_parquet
from conceptaudit.records import ConceptFrequencies

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


PARTIAL_COLUMN = "partial_share"
"""Share of the shards that a partial merge has counted; no column of whole audits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditRun:
    """A finished audit.

    Parameters
    ----------
    folder : Path
        The run folder.
    frequencies : ConceptFrequencies
        Counts with intervals, one row per concept.
    alignment : Alignment
        Agreement of captions and images.
    account : dict
        By side: samples read, used, dropped by reason; always adds up.
    notes : tuple of str
        What was detected, what could not be had, what never matches.
    redone : dict
        By stage: shards computed by this call and why; shards kept from before.
    misalignment : dict or None
        Where images were calibrated: captions that name nothing that is shown, corrected for
        what the tagger misses; see `conceptaudit.frequency.misclassification`.
    level : float
        Coverage of the intervals.
    """

    folder: Path
    frequencies: ConceptFrequencies
    alignment: Alignment
    account: Json
    notes: tuple[str, ...]
    redone: Json
    misalignment: Json = None
    level: float = LEVEL

    @property
    def table(self) -> pd.DataFrame:
        """The frequencies as a table."""
        return self.frequencies.table

    def samples(self, images: str | Path | None = None) -> pd.DataFrame:
        """Return the samples in which a concept was found, with what was found in each.

        Parameters
        ----------
        images : str or Path, optional
            Folder of image files whose names below it, without their endings, are the keys.

        Returns
        -------
        pandas.DataFrame
            See `conceptaudit.auditing.results.tagged_samples`.
        """
        return tagged_samples(self.folder, images)

    def to_fiftyone(self, images: str | Path, name: str | None = None) -> Any:
        """Return a FiftyOne dataset of the images, with the concepts of each side as labels.

        Parameters
        ----------
        images : str or Path
            Folder of image files whose names below it, without their endings, are the keys.
        name : str, optional
            Of the FiftyOne dataset.

        Returns
        -------
        fiftyone.Dataset

        Raises
        ------
        MissingDependencyError
            FiftyOne is not installed.
        ConfigError
            No image belongs to a sample.
        """
        return to_fiftyone(self.folder, images, name)

    def explore(self, **options: Any) -> Any:
        """Look at the audit in a browser; a notebook shows the pages in a frame.

        Parameters
        ----------
        **options
            Of `conceptaudit.explore.explore`: ``dataset``, ``curve``, ``longtail``, ``judge`` …

        Returns
        -------
        conceptaudit.explore.Server
            With ``address`` and ``stop()``.

        Raises
        ------
        MissingDependencyError
            The extra ``explore`` is not installed.
        """
        return show("explore", self.folder, **options)

    def plot(self, *, width: float = 174.0) -> Any:
        """Draw the counts by rank; a notebook shows it, ``save(path)`` writes it.

        Parameters
        ----------
        width : float, default 174
            In millimetres.
        """
        return show("frequency", self.folder, width=width)

    def _repr_html_(self) -> str:
        title = (
            f"Audit of {self.frequencies.source or self.folder}: "
            f"{quantity(len(self.table), 'concept')}"
        )
        return as_html(title, self.table, self.notes)
