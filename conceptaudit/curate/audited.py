"""A finished audit as curation reads it: its samples, its tags, its counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from conceptaudit.artifacts import MANIFEST, STARTED, Json, ShardStore, read_json
from conceptaudit.auditing.duplicates import DUPLICATES
from conceptaudit.auditing.sources import open_source
from conceptaudit.counts import CORRECTED_COLUMNS, choose_count, counts_of
from conceptaudit.datasets.base import EMBEDDING, Dataset, Shard
from conceptaudit.errors import ConfigError, DataError
from conceptaudit.frequency.ambiguous_pairs import read_pairs, read_shares, with_shares
from conceptaudit.frequency.counting import read_tags
from conceptaudit.frequency.readers import read_frequencies
from conceptaudit.image.stages import StoredEmbeddings
from conceptaudit.options.audit import AuditOptions
from conceptaudit.records import ConceptFrequencies
from conceptaudit.store.checking import check_finished

FloatArray = np.ndarray[Any, np.dtype[np.float64]]

SHARES = "text_strata.parquet"


@dataclass(frozen=True, slots=True, kw_only=True)
class ConceptPairs:
    """The (sample, concept) pairs of one shard by which samples are chosen, sorted by sample.

    Parameters
    ----------
    sample_ids, concept_ids : numpy.ndarray of int64, shape (n,)
    share : numpy.ndarray of float64, shape (n,)
        Probability that the sample has the concept: below 1 where captions were counted fast.
    """

    sample_ids: np.ndarray[Any, np.dtype[np.int64]]
    concept_ids: np.ndarray[Any, np.dtype[np.int64]]
    share: FloatArray

    def rows_in(self, sample_ids: np.ndarray[Any, np.dtype[np.int64]]) -> tuple[Any, ConceptPairs]:
        """Take the pairs of some samples (sorted ids), with each pair's position among them."""
        place = np.searchsorted(sample_ids, self.sample_ids)
        place[place == len(sample_ids)] = 0
        inside = (
            sample_ids[place] == self.sample_ids if len(sample_ids) else np.zeros(len(place), bool)
        )
        part = ConceptPairs(
            sample_ids=self.sample_ids[inside],
            concept_ids=self.concept_ids[inside],
            share=self.share[inside],
        )
        return place[inside], part


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditedData:
    """A finished audit and the dataset that it read.

    Parameters
    ----------
    folder : Path
        The run folder.
    digest : str
        Of the audit.
    dataset : Dataset
        Opened as the audit did.
    shards : tuple of Shard
        Those that were counted, in order.
    frequencies : ConceptFrequencies
    sides : frozenset of str
        Of ``"text"`` and ``"image"``, those that were audited.
    """

    folder: Path
    digest: str
    dataset: Dataset
    shards: tuple[Shard, ...]
    frequencies: ConceptFrequencies
    sides: frozenset[str]

    @classmethod
    def open(cls, folder: str | Path, dataset: str | None = None) -> AuditedData:
        """Open a run folder.

        Parameters
        ----------
        folder : str or Path
        dataset : str, optional
            Where the dataset lies now, if it was moved.

        Raises
        ------
        ConfigError, DataError
            It is no finished audit, or its dataset is not there or has changed.
        """
        folder = Path(folder)
        check_finished(folder)
        manifest = read_json(folder / MANIFEST) if (folder / MANIFEST).is_file() else None
        if not isinstance(manifest, dict) or manifest.get("kind") != "audit":
            raise ConfigError(
                f"{folder} is not a finished audit. Name the folder that 'conceptaudit audit … -o "
                "RUN' wrote."
            )
        started = read_json(folder / STARTED)
        location = dataset or str(manifest["dataset"])
        options = AuditOptions.restored(started.get("options", {}))
        opened = open_source(location, options)
        present = {shard.name: shard for shard in opened.shards()}
        gone = [name for name in manifest["shards"] if name not in present]
        if gone:
            raise DataError(
                f"{location} is not the dataset that {folder} was made from: it has no shard "
                f"{gone[0]}. Name where it lies now (--dataset), or audit it again."
            )
        return cls(
            folder=folder,
            digest=str(manifest["digest"]),
            dataset=opened,
            shards=tuple(present[name] for name in manifest["shards"]),
            frequencies=read_frequencies(folder),
            sides=frozenset(manifest["account"]),
        )

    def store(self, stage: str) -> ShardStore:
        """Return the store of a stage, to find its files."""
        return ShardStore(folder=self.folder / stage, digest="")

    def side_of(self, count: str) -> tuple[str, str]:
        """Choose a count: which side's tags it rests on, and its column.

        Parameters
        ----------
        count : str
            As `conceptaudit.counts.choose_count` takes it.
        """
        column = choose_count(self.frequencies, count).column
        side = column.removeprefix("n_").removesuffix("_corrected")
        return side, column

    def corrected_ratio(self, column: str) -> FloatArray | None:
        """Corrected count over raw count of every concept; None for a raw count.

        A concept without a corrected count, or without a tag, has a ratio of one.
        """
        if column not in CORRECTED_COLUMNS:
            return None
        raw = counts_of(self.frequencies, column.removesuffix("_corrected"))
        ratio = counts_of(self.frequencies, column) / np.where(raw > 0, raw, np.nan)
        return np.asarray(np.where(np.isfinite(ratio), ratio, 1.0), dtype=np.float64)

    def pairs(self, shard: str, side: str) -> ConceptPairs:
        """Read a shard's pairs of ``"text"``, ``"image"`` or ``"joint"``."""
        shares = self.folder / SHARES
        if side != "image" and shares.is_file():
            image = self.store("image") if "image" in self.sides else None
            table = with_shares(read_pairs(self.store("text"), image, shard), read_shares(shares))
            chosen = table["joint"] if side == "joint" else np.ones(len(table["joint"]), bool)
            ids = table["sample_id"][chosen].astype(np.int64)
            order = np.argsort(ids, kind="stable")
            return ConceptPairs(
                sample_ids=ids[order],
                concept_ids=table["concept_id"][chosen].astype(np.int64)[order],
                share=table["share"][chosen].astype(np.float64)[order],
            )
        if side == "joint":
            on = ["sample_id", "concept_id"]
            tags = read_tags(self.store("text"), shard).merge(
                read_tags(self.store("image"), shard), on=on
            )
        else:
            tags = read_tags(self.store(side), shard)
        return ConceptPairs(
            sample_ids=tags["sample_id"].to_numpy(np.int64),
            concept_ids=tags["concept_id"].to_numpy(np.int64),
            share=np.ones(len(tags)),
        )

    def embedded(self) -> tuple[Dataset, tuple[Shard, ...]]:
        """Return where the images' vectors are: in the run, or in the dataset.

        Raises
        ------
        ConfigError
            There are none.
        """
        names = {shard.name for shard in self.shards}
        if (self.folder / "embeddings").is_dir():
            stored = StoredEmbeddings(folder=self.folder / "embeddings", source=self.shards)
            return stored, stored.shards()
        if EMBEDDING not in self.dataset.provides:
            raise ConfigError(
                f"{self.folder} holds no embeddings, which --density, --prototype-prune, "
                "--drop-copies and --exclude with images need. Audit images with --clip, or audit "
                "a folder of embeddings."
            )
        return self.dataset, tuple(s for s in self.dataset.shards() if s.name in names)

    def duplicates(self) -> pd.DataFrame | None:
        """Read which samples share an image; None where the audit did not look for them."""
        path = self.folder / DUPLICATES
        return pd.read_parquet(path) if path.is_file() else None

    @property
    def account(self) -> Json:
        """The audit's account, by side."""
        return read_json(self.folder / MANIFEST)["account"]


def check_counted_alike(datas: Sequence[AuditedData], count: str) -> None:
    """Refuse runs whose counts would be of different sides: captions of one, images of another.

    Raises
    ------
    ConfigError
        They are.
    """
    columns = [data.side_of(count)[1] for data in datas]
    if len(set(columns)) > 1:
        chosen = ", ".join(
            f"{column} of {data.folder}" for data, column in zip(datas, columns, strict=True)
        )
        raise ConfigError(
            f"The runs of a mixture must be counted alike. Got {chosen} instead. Name a count that "
            "all have with --count, such as text."
        )
