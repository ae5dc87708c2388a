"""Single samples of a dataset, by id or by key: read where they lie, nothing is unpacked."""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from hashlib import blake2b
from typing import Any

import numpy as np

from conceptaudit.datasets._groups import Group, read_groups
from conceptaudit.datasets._tar import index_samples, read_member, seekable
from conceptaudit.datasets.base import Dataset, Shard
from conceptaudit.datasets.webdataset import WebDataset, named_endings
from conceptaudit.errors import ConceptAuditError
from conceptaudit.records import ROW_BITS, SampleBatch

MOST_ARCHIVES = 6  # archives whose index is kept: some 10 MB each where they hold 10,000 samples

_ROW = (1 << ROW_BITS) - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundSample:
    """What a dataset holds for one sample."""

    key: str
    caption: str | None = None
    image: bytes | None = None  # an encoded image file
    extra: Mapping[str, Any]  # what the row says besides: ``"url"``, ``"license"`` …


class SampleLookup:
    """Reads single samples; safe to use from several threads."""

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset
        self._shards: tuple[Shard, ...] | None = None
        self._starts: list[tuple[int, int]] = []
        self._archives: OrderedDict[str, tuple[str, dict[int, Group]]] = OrderedDict()
        self._lock = threading.Lock()
        self._keys: tuple[np.ndarray, np.ndarray] | None = None

    def shards(self) -> tuple[Shard, ...]:
        """List the shards, once."""
        with self._lock:
            if self._shards is None:
                shards = sorted(self.dataset.shards(), key=lambda s: (s.file_index, s.start))
                self._starts = [(s.file_index, s.start * s.ids_per_row) for s in shards]
                self._shards = tuple(shards)
            return self._shards

    def read(self, sample_ids: Iterable[int], parts: frozenset[str]) -> dict[int, FoundSample]:
        """Read some samples."""
        parts = frozenset(part for part in parts if part == "extra" or part in self._provided)
        by_shard: dict[int, list[int]] = {}
        shards = self.shards()
        for sample in dict.fromkeys(sample_ids):
            place = bisect_right(self._starts, (sample >> ROW_BITS, sample & _ROW)) - 1
            if place >= 0 and shards[place].holds(sample):
                by_shard.setdefault(place, []).append(sample)
        found: dict[int, FoundSample] = {}
        for place, wanted in sorted(by_shard.items()):
            try:
                for batch in self._batches(shards[place], sorted(wanted), parts):
                    found.update(_taken(batch, frozenset(wanted)))
            except (ConceptAuditError, OSError):  # the file is gone, or is not what it was
                continue
        return found

    @property
    def _provided(self) -> frozenset[str]:
        return self.dataset.provides

    def _batches(
        self, shard: Shard, wanted: Sequence[int], parts: frozenset[str]
    ) -> Iterator[SampleBatch]:
        if isinstance(self.dataset, WebDataset):
            yield from self._from_archive(self.dataset, shard, wanted, parts)
            return
        rows = [(sample & _ROW) // shard.ids_per_row for sample in wanted]
        if not _seeks(self.dataset, shard):
            last = replace(shard, stop=max(rows) + 1)
            yield from self.dataset.read(last, parts)
            return
        for first, end in _runs(rows):
            yield from self.dataset.read(replace(shard, start=first, stop=end), parts)

    def _from_archive(
        self, dataset: WebDataset, shard: Shard, wanted: Sequence[int], parts: frozenset[str]
    ) -> Iterator[SampleBatch]:
        path = shard.files[0]
        step = dataset.chosen.ids_per_row
        with seekable(path) as stream:
            with self._lock:
                stamp, groups = self._archives.get(path, ("", {}))
            if stamp != shard.fingerprint:
                index = index_samples(stream, path, named_endings(dataset.chosen))
                groups = {group.row: group for group in index.samples}
            with self._lock:
                self._archives[path] = (shard.fingerprint, groups)
                self._archives.move_to_end(path)
                while len(self._archives) > MOST_ARCHIVES:
                    self._archives.popitem(last=False)
            rows = dict.fromkeys((sample & _ROW) // step for sample in wanted)
            yield from read_groups(
                [groups[row] for row in rows if row in groups],
                partial(read_member, stream),
                file_index=shard.file_index,
                parts=parts,
                chosen=dataset.chosen,
            )

    def ids_of(self, keys: Iterable[str]) -> dict[str, int]:
        """Find samples by key, the first of each; the first call reads all keys of the dataset."""
        with self._lock:
            known = self._keys
        if known is None:
            known = self._read_keys()
            with self._lock:
                self._keys = known
        hashes, ids = known
        found = {}
        for key in keys:
            place = int(np.searchsorted(hashes, _hash(key)))
            if place < len(hashes) and hashes[place] == _hash(key):
                found[key] = int(ids[place])
        return found

    def _read_keys(self) -> tuple[np.ndarray, np.ndarray]:
        hashes: list[np.ndarray] = []
        ids: list[np.ndarray] = []
        for shard in self.shards():
            try:
                for batch in self.dataset.read(shard, frozenset()):
                    hashes.append(np.array([_hash(key) for key in batch.keys], dtype=np.uint64))
                    ids.append(batch.sample_ids)
            except (ConceptAuditError, OSError):
                continue
        if not hashes:
            return np.empty(0, np.uint64), np.empty(0, np.int64)
        every, places = np.concatenate(hashes), np.concatenate(ids)
        order = np.argsort(every, kind="stable")
        return every[order], places[order]


def _hash(key: str) -> np.uint64:
    digest = blake2b(key.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return np.uint64(int.from_bytes(digest))


def _seeks(dataset: Dataset, shard: Shard) -> bool:
    """Whether a shard can be read from any row on; a CSV begins at the byte of its first row."""
    return dataset.layout in ("files", "embeddings") or shard.files[0].endswith(".parquet")


def _runs(rows: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Join rows that follow each other to ranges."""
    first = last = rows[0]
    for row in rows[1:]:
        if row > last + 1:
            yield first, last + 1
            first = row
        last = row
    yield first, last + 1


def _taken(batch: SampleBatch, wanted: frozenset[int]) -> Iterator[tuple[int, FoundSample]]:
    for place, sample in enumerate(batch.sample_ids.tolist()):
        if sample in wanted:
            yield (
                sample,
                FoundSample(
                    key=batch.keys[place],
                    caption=None if batch.captions is None else batch.captions[place],
                    image=None if batch.images is None else batch.images[place],
                    extra={name: column[place] for name, column in (batch.extra or {}).items()},
                ),
            )
