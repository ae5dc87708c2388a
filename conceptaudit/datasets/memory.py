"""Captions that a Python program holds: a list of texts, or a table with a column of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from conceptaudit.artifacts import digest_of
from conceptaudit.datasets._columns import CAPTION_ALIASES, KEY_ALIASES, first_column
from conceptaudit.datasets._samples import MAX_CAPTION_CHARS, check_rows, ids_of, make_batch
from conceptaudit.datasets.base import (
    CAPTION,
    CAPTION_UNIT,
    DEFAULT_BATCH_ROWS,
    DOCUMENT_UNIT,
    Shard,
)
from conceptaudit.display import quantity
from conceptaudit.errors import ConfigError
from conceptaudit.records import SampleBatch

if TYPE_CHECKING:
    import pandas as pd

HERE = "captions in memory"  # location of a dataset that lies in no file


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptionDataset:
    """Captions in memory, as a dataset; a row is a sample."""

    captions: tuple[Any, ...]  # texts; None and NaN are captions that are missing
    keys: tuple[str, ...] = ()  # as many, or none
    unit: str = CAPTION_UNIT
    shard_rows: int
    layout: str = "memory"
    location: str = HERE
    provides: frozenset[str] = frozenset({CAPTION})

    @property
    def notes(self) -> tuple[str, ...]:
        """How many there are."""
        return (f"Layout: {quantity(len(self.captions), 'caption')} in memory.",)

    @property
    def settings(self) -> dict[str, str]:
        """What changes the reading."""
        return {"layout": self.layout, "unit": self.unit}

    def shards(self) -> tuple[Shard, ...]:
        """Shards of `shard_rows` captions."""
        starts = range(0, max(len(self.captions), 1), self.shard_rows)
        return tuple(
            Shard(
                name=f"0000000-{start:013d}",
                files=(),
                file_index=0,
                start=start,
                stop=min(start + self.shard_rows, len(self.captions)),
                fingerprint=self._fingerprint(start),
            )
            for start in starts
        )

    def _fingerprint(self, start: int) -> str:
        rows = slice(start, start + self.shard_rows)
        return digest_of([[str(text) for text in self.captions[rows]], list(self.keys[rows])])

    def read(self, shard: Shard, parts: frozenset[str]) -> Iterator[SampleBatch]:
        """Read the captions of a shard."""
        for start in range(shard.start, shard.stop, DEFAULT_BATCH_ROWS):
            rows = range(start, min(start + DEFAULT_BATCH_ROWS, shard.stop))
            ids = ids_of(shard.file_index, rows)
            yield make_batch(
                ids,
                [self.keys[row] if self.keys else str(ids[i]) for i, row in enumerate(rows)],
                captions=[self.captions[row] for row in rows] if CAPTION in parts else None,
                max_chars=None if self.unit == DOCUMENT_UNIT else MAX_CAPTION_CHARS,
            )


def captions_of(
    source: pd.DataFrame | Sequence[str | None],
    *,
    caption_column: str | None = None,
    key_column: str | None = None,
    unit: str = CAPTION_UNIT,
    shard_rows: int,
) -> CaptionDataset:
    """Make a dataset of captions in memory."""
    check_rows(shard_rows)
    keys: tuple[str, ...] = ()
    captions: tuple[Any, ...]
    if not isinstance(source, Sequence):
        names = [str(name) for name in source.columns]
        caption = caption_column or first_column(CAPTION_ALIASES, names)
        if caption not in names:
            wanted = repr(caption) if caption else "such as caption or text"
            raise ConfigError(
                f"A table of captions must have a column {wanted}. "
                f"Got the columns {names} instead; name one with caption_column."
            )
        captions = tuple(source[caption].tolist())
        key = key_column or first_column(KEY_ALIASES, [name for name in names if name != caption])
        if key is not None:
            keys = tuple(str(value) for value in source[key].tolist())
    else:
        captions = tuple(source)
    if not captions:
        raise ConfigError("The 'dataset' parameter must hold at least one caption. Got none.")
    return CaptionDataset(captions=captions, keys=keys, unit=unit, shard_rows=shard_rows)
