"""Image tags of another tagger, joined to a dataset by key and treated like our own.

The file may be larger than memory. It is read once into buckets by a 64-bit hash of the key, 16
bytes a row, each sorted by hash; a shard then looks its keys up in the memory-mapped buckets. Two
of a hundred million keys share a hash with odds of 3 in 10,000.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from conceptaudit.artifacts import Json, ShardStore, digest_of, package_versions, write_npy
from conceptaudit.datasets.base import IMAGE, Shard
from conceptaudit.engine.stage import ShardResult
from conceptaudit.image.tag_files import TagRows, read_tag_rows
from conceptaudit.records import ConceptVocabulary, Drop, Int64Array, SampleBatch, Tags
from conceptaudit.store.removing import remove
from conceptaudit.tagtable import check_account, drop_table, part_account, tag_table
from conceptaudit.text.normalize import normalize, phrase_text

BUCKET_BITS = 6  # 64 buckets: a thousand million rows are sorted 250 MB at a time

ROW = np.dtype([("hash", "<u8"), ("concept", "<i4"), ("score", "<f4")])
NO_CONCEPT = -1  # marks that a key is in the file, whatever becomes of its tags

RECORD = "tags"

Rows = npt.NDArray[Any]
Hashes = npt.NDArray[np.uint64]


def key_hashes(keys: Sequence[str]) -> Hashes:
    """64-bit hashes of keys, shape (n,); the same in every process and version."""
    if not len(keys):
        return np.empty(0, dtype=np.uint64)
    return pd.util.hash_array(np.asarray(keys, dtype=object), categorize=False)


def concept_ids_by_name(vocabulary: ConceptVocabulary) -> dict[str, tuple[int, ...]]:
    """Map spellings of names, then of aliases, to concepts.

    >>> from conceptaudit.records import Concept
    >>> words = ConceptVocabulary((Concept(name="hot_dog"), Concept(name="dog", aliases=("pup",))))
    >>> names = concept_ids_by_name(words)
    >>> names["hot dog"], names["pup"]
    ((0,), (1,))
    """
    found: dict[str, tuple[int, ...]] = {}
    for pick in (lambda c: (c.name,), lambda c: c.aliases):
        layer: dict[str, tuple[int, ...]] = {}
        for concept_id, concept in enumerate(vocabulary):
            for name in dict.fromkeys(map(spelled, pick(concept))):
                layer[name] = (*layer.get(name, ()), concept_id)
        found = layer | found
    return found


def spelled(name: str) -> str:
    """Fold a concept's name: case, underscores, accents and brackets do not matter."""
    return normalize(phrase_text(name))


def bucket_path(store: ShardStore, number: int) -> Path:
    """Where a bucket lies."""
    return store.path(RECORD, f".{number:02d}.npy")


def import_tags(
    path: Path | Sequence[Path],
    fingerprint: str,
    vocabulary: ConceptVocabulary,
    folder: Path,
    *,
    threshold: float | None = None,
) -> ExternalTagger:
    """Sort files of tags with this digest into buckets, unless that was done already.

    Tags of concepts that are not in the vocabulary are counted and left out.
    """
    names = concept_ids_by_name(vocabulary)
    settings = {"vocabulary": vocabulary.digest, "threshold": threshold, "bits": BUCKET_BITS}
    store = ShardStore(folder=folder, digest=digest_of(settings))
    tagger = ExternalTagger(store=store, source=fingerprint)
    if store.fault(RECORD, fingerprint) is None:
        return tagger
    store.discard_others(frozenset())
    counts: Counter[str] = Counter()
    unknown: Counter[str] = Counter()
    parts: dict[int, Path] = {n: folder / f"unsorted{n}.partial" for n in range(1 << BUCKET_BITS)}
    folder.mkdir(parents=True, exist_ok=True)
    remove(folder, [part.name for part in parts.values()])  # a killed run may have left some
    for block in read_tag_rows(path, scored=threshold is not None):
        rows = _resolved(block, names, threshold, counts, unknown)
        bucket = rows["hash"] >> np.uint64(64 - BUCKET_BITS)
        for number in np.unique(bucket).tolist():
            with open(parts[number], "ab", opener=_private) as stream:
                stream.write(rows[bucket == number].tobytes())
    files: dict[str, Path] = {}
    for number, part in parts.items():
        rows = np.frombuffer(part.read_bytes() if part.exists() else b"", dtype=ROW)
        files[str(number)] = bucket_path(store, number)
        write_npy(files[str(number)], _sorted(rows, counts))
        remove(folder, [part.name])
    summary = {
        "counts": dict(sorted(counts.items())),
        "unknown_concepts": dict(sorted(unknown.items(), key=lambda item: (-item[1], item[0]))),
    }
    store.write(RECORD, fingerprint, summary, files)
    return tagger


def _private(path: str, flags: int) -> int:
    """Open a file that nobody else may read."""
    return os.open(path, flags, 0o600)


def _resolved(
    block: TagRows,
    names: Mapping[str, tuple[int, ...]],
    threshold: float | None,
    counts: Counter[str],
    unknown: Counter[str],
) -> Rows:
    """Replace names by concepts; every key of the block keeps at least one row."""
    folded = {name: names.get(spelled(name), ()) for name in dict.fromkeys(block.concepts)}
    kept = [row for row, key in enumerate(block.keys) if key is not None]
    counts["n_rows"] += len(block.keys)
    counts["n_without_key"] += len(block.keys) - len(kept)
    rows: list[int] = []
    concepts: list[int] = []
    for row in kept:
        found = folded[block.concepts[row]]
        if not found and block.concepts[row]:
            unknown[block.concepts[row]] += 1
        if threshold is not None and block.scores[row] < threshold and found:
            counts["n_below_threshold"] += 1
            found = ()
        rows += [row] * (len(found) or 1)
        concepts += found or (NO_CONCEPT,)
    table = np.empty(len(rows), dtype=ROW)
    table["hash"] = key_hashes([str(block.keys[row]) for row in rows])
    table["concept"] = concepts
    table["score"] = block.scores[rows]
    return table


def _sorted(rows: Rows, counts: Counter[str]) -> Rows:
    """Sort a bucket; of rows that name a key and concept twice the highest score stays."""
    ordered = rows[np.lexsort((-rows["score"], rows["concept"], rows["hash"]))]
    pairs = ordered[["hash", "concept"]]
    fresh = np.ones(len(ordered), dtype=bool)
    fresh[1:] = pairs[1:] != pairs[:-1]
    counts["n_repeated"] += int((~fresh & (ordered["concept"] != NO_CONCEPT)).sum())
    kept: Rows = ordered[fresh]
    return kept


@dataclass(frozen=True, slots=True, kw_only=True)
class ExternalTagger:
    """Tags samples with what another tagger said of their keys.

    A key that the file does not have is a drop (``no_image_tags``): nobody looked at its image.
    """

    store: ShardStore  # where the buckets and their record are
    source: str  # digest of the files
    name: str = field(default="image", init=False)
    parts: frozenset[str] = field(default=frozenset(), init=False)

    @property
    def settings(self) -> Json:
        """Everything that can change an image tag."""
        return {
            "stage": self.name,
            "imported": self.store.digest,
            "source": self.source,
            "versions": package_versions(),
        }

    @property
    def summary(self) -> Json:
        """Numbers of rows, duplicates, unknown concepts …, as the files were read."""
        return self.store.read(RECORD)

    def bucket(self, number: int) -> Rows:
        """Rows of one bucket, sorted by hash, then concept; memory-mapped."""
        rows: Rows = np.load(bucket_path(self.store, number), mmap_mode="r", allow_pickle=False)
        return rows

    def __call__(self, shard: Shard, batches: Iterator[SampleBatch]) -> ShardResult:
        """Tag one shard."""
        drops: list[Drop] = []
        ids: list[Int64Array] = [np.empty(0, dtype=np.int64)]
        keys: list[str] = []
        for batch in batches:
            drops.extend(batch.drops)
            ids.append(batch.sample_ids)
            keys.extend(batch.keys)
        sample_ids = np.concatenate(ids)
        hashes = key_hashes(keys)
        rows, tags = self._look_up(hashes)
        seen = np.zeros(len(keys), dtype=bool)
        seen[rows] = True
        drops += [
            Drop(sample_id=int(sample_ids[i]), key=keys[i], part=IMAGE, reason="no_image_tags")
            for i in np.flatnonzero(~seen).tolist()
        ]
        account = part_account(len(keys), drops, part=IMAGE)
        check_account(account, int(seen.sum()), f"imported tags of shard {shard.name}")
        real = tags["concept"] != NO_CONCEPT
        order = np.lexsort((tags["concept"][real], sample_ids[rows[real]]))
        rows, tags = rows[real][order], tags[real][order]
        found = Tags(
            sample_ids=sample_ids[rows],
            keys=[keys[row] for row in rows.tolist()],
            concept_ids=tags["concept"].astype(np.int32),
            scores=tags["score"].astype(np.float32),
        )
        return ShardResult(
            summary=account,
            tables={
                ".parquet": tag_table(found, modality="image"),
                ".drops.parquet": drop_table(drops),
            },
            arrays={".known.npy": np.unique(hashes[seen])},
        )

    def _look_up(self, hashes: Hashes) -> tuple[Int64Array, Rows]:
        """Rows of the batch that the file knows, each repeated for every one of its tags."""
        rows: list[Int64Array] = [np.empty(0, dtype=np.int64)]
        tags: list[Rows] = [np.empty(0, dtype=ROW)]
        buckets = hashes >> np.uint64(64 - BUCKET_BITS)
        for number in np.unique(buckets).tolist():
            here = np.flatnonzero(buckets == number)
            bucket = self.bucket(number)
            first = np.searchsorted(bucket["hash"], hashes[here], side="left")
            counts = np.searchsorted(bucket["hash"], hashes[here], side="right") - first
            within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
            rows.append(np.repeat(here, counts))
            tags.append(bucket[np.repeat(first, counts) + within])
        return np.concatenate(rows), np.concatenate(tags)
