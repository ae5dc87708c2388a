"""What an audit reads: its dataset, or a random part of it, and its concept list."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import pandas as pd

from conceptaudit.artifacts import Json
from conceptaudit.datasets import open_dataset
from conceptaudit.datasets.base import Dataset, Shard
from conceptaudit.datasets.memory import captions_of
from conceptaudit.display import quantity
from conceptaudit.errors import ConfigError
from conceptaudit.options.audit import PAPER, AuditOptions
from conceptaudit.records import ConceptVocabulary, SampleBatch
from conceptaudit.text.sampling import mixed
from conceptaudit.vocabulary import read_concepts

ROWS_OF_UNKNOWN = 10_000
"""Samples taken for a shard that does not know its own: what img2dataset puts into a tar file."""

_LEAST_SHARDS = 20
_ROWS_PER_DRAWN = 10
"""Shards and rows read at least, per sample drawn: few of many rows from each of many shards, so
that neighbours that resemble one another hardly widen the error."""

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawnDataset:
    """About `n` samples of a dataset, drawn at random; made by `draw`."""

    whole: Dataset
    n: int
    n_whole: int | None  # samples of the whole, before drops; None where shards do not know theirs
    # share of the shards that is read, and of their rows that is taken, in (0, 1]
    shard_share: float
    row_share: float
    seed: int = 0

    @classmethod
    def draw(cls, whole: Dataset, n: int, *, seed: int = 0) -> DrawnDataset:
        """Decide how many shards and rows to take."""
        shards = whole.shards()
        sizes = [_rows(shard) for shard in shards]
        expected = sum(ROWS_OF_UNKNOWN if size is None else size for size in sizes)
        known = None if None in sizes else expected
        # rows of one shard resemble one another: few rows each of many shards
        needed = math.ceil(_ROWS_PER_DRAWN * n * len(shards) / max(expected, 1))
        n_shards = min(len(shards), max(_LEAST_SHARDS, needed))
        shard_share = n_shards / max(len(shards), 1)
        row_share = min(1.0, n / max(expected * shard_share, 1.0))
        return cls(
            whole=whole,
            n=n,
            n_whole=known,
            shard_share=shard_share or 1.0,
            row_share=row_share,
            seed=seed,
        )

    @property
    def layout(self) -> str:
        """As the whole."""
        return self.whole.layout

    @property
    def location(self) -> str:
        """As the whole."""
        return self.whole.location

    @property
    def provides(self) -> frozenset[str]:
        """As the whole."""
        return self.whole.provides

    @property
    def notes(self) -> tuple[str, ...]:
        """Those of the whole, and how samples were drawn."""
        drawn = (
            f"About {quantity(self.n, 'sample was', 'samples were')} drawn at random (--sample): "
            f"{self.shard_share:.3g} of the shards, {self.row_share:.3g} of their rows."
        )
        return (*self.whole.notes, drawn)

    @property
    def settings(self) -> dict[str, str]:
        """Those of the whole, and the draw."""
        return {**self.whole.settings, "sample": str(self.n), "sample_seed": str(self.seed)}

    def shards(self) -> tuple[Shard, ...]:
        """Return the shards that were drawn, those of lowest hash."""
        shards = self.whole.shards()
        n = round(self.shard_share * len(shards))
        order = np.argsort(self._hashes(np.arange(len(shards))), kind="stable")
        return tuple(shards[i] for i in np.sort(order[:n]).tolist())

    def read(self, shard: Shard, parts: frozenset[str]) -> Iterator[SampleBatch]:
        """Read the rows of a shard that were drawn."""
        for batch in self.whole.read(shard, parts):
            yield self._drawn(batch)

    def sampled(self, n_read: int) -> Json:
        """Lay out of how many samples those read are a sample, as `AuditOptions.sampled` does."""
        whole = self.n_whole
        if whole is None:
            whole = round(n_read / (self.shard_share * self.row_share))
        return {"n_read": n_read, "sampled_from": max(whole, n_read), "drawn": True}

    def _hashes(self, numbers: npt.NDArray[np.integer]) -> npt.NDArray[np.uint64]:
        return mixed(mixed(numbers) ^ mixed(np.array([self.seed])))

    def _is_drawn(self, sample_ids: npt.NDArray[np.integer]) -> npt.NDArray[np.bool_]:
        if self.row_share >= 1.0:
            return np.ones(len(sample_ids), dtype=bool)
        bound = np.uint64(self.row_share * 2.0**64)
        drawn: npt.NDArray[np.bool_] = self._hashes(sample_ids) < bound
        return drawn

    def _drawn(self, batch: SampleBatch) -> SampleBatch:
        rows = np.flatnonzero(self._is_drawn(batch.sample_ids))
        of_drops = self._is_drawn(np.array([drop.sample_id for drop in batch.drops], np.int64))
        return replace(
            batch,
            sample_ids=batch.sample_ids[rows],
            keys=_taken(batch.keys, rows) or [],
            captions=_taken(batch.captions, rows),
            images=_taken(batch.images, rows),
            embeddings=None if batch.embeddings is None else batch.embeddings[rows],
            languages=_taken(batch.languages, rows),
            extra=None
            if batch.extra is None
            else {name: _taken(column, rows) or [] for name, column in batch.extra.items()},
            drops=tuple(drop for drop, is_in in zip(batch.drops, of_drops, strict=True) if is_in),
        )


def sampled_of(dataset: Dataset, options: AuditOptions, n_read: int) -> Json:
    """Lay out of how many samples those read are a sample; None where they are all."""
    source = dataset if isinstance(dataset, DrawnDataset) else options
    return source.sampled(n_read)


def _rows(shard: Shard) -> int | None:
    return None if shard.stop < 0 else (shard.stop - shard.start) * shard.ids_per_row


def _taken(column: Sequence[Value] | None, rows: npt.NDArray[np.int64]) -> list[Value] | None:
    return None if column is None else [column[i] for i in rows.tolist()]


def with_columns(dataset: Dataset, names: Sequence[str]) -> Dataset:
    """Let a dataset read columns beside the known ones, where its layout has columns."""
    wanted: Any = dataset
    if isinstance(dataset, DrawnDataset):
        return replace(dataset, whole=with_columns(dataset.whole, names))
    if not hasattr(wanted, "choice"):
        return dataset
    more: Dataset = replace(wanted, choice=replace(wanted.choice, extra=tuple(names)))
    return more


Source = str | Path | Dataset | pd.DataFrame | Iterable[str | None]
"""What can be audited: a location, a dataset that is open, captions in memory."""


def open_source(dataset: Source, options: AuditOptions) -> Dataset:
    """Open the dataset as the options say, or the part of it that they draw."""
    opened: Dataset
    if isinstance(dataset, str | Path):
        opened = open_dataset(
            dataset,
            layout=options.layout,
            caption_column=options.caption_column,
            image_column=options.image_column,
            key_column=options.key_column,
            url_column=options.url_column,
            languages=options.languages,
            language_column=options.language_column,
            # the published counts are of rows that have a URL
            require_url=options.text_mode == PAPER,
            unit=options.unit,
            shard_rows=options.shard_rows,
        )
    elif isinstance(dataset, pd.DataFrame | Iterable):
        _refuse_file_options(dataset, options)
        opened = captions_of(
            dataset if isinstance(dataset, pd.DataFrame) else tuple(dataset),
            caption_column=options.caption_column,
            key_column=options.key_column,
            unit=options.unit,
            shard_rows=options.shard_rows,
        )
    else:
        opened = dataset
    return opened if options.sample is None else DrawnDataset.draw(opened, options.sample)


def _refuse_file_options(
    dataset: pd.DataFrame | Iterable[str | None], options: AuditOptions
) -> None:
    """Refuse what chooses rows or columns that captions in memory do not have."""
    unread = ["languages", "language_column", "url_column", "image_column"]
    if not isinstance(dataset, pd.DataFrame):
        unread += ["caption_column", "key_column"]
    given = next((name for name in unread if getattr(options, name)), None)
    if given is not None:
        raise ConfigError(
            f"The {given!r} parameter is for tables in files and would change nothing here: the "
            f"'dataset' parameter is captions in memory. Got {getattr(options, given)!r} instead; "
            "choose the rows before, or write them as parquet and give its path."
        )


def read_vocabulary(
    concepts: str | Path | Sequence[str] | ConceptVocabulary, dataset_key: str | None = None
) -> tuple[ConceptVocabulary, tuple[str, ...]]:
    """Take a vocabulary as it is, or read the list that the user named, with its notes."""
    if isinstance(concepts, ConceptVocabulary):
        return concepts, ()
    read = read_concepts(concepts, dataset_key=dataset_key)
    return read.vocabulary, read.notes
