"""Imported image tags in an audit: bring them in, tag the shards, say what found no partner."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from conceptaudit.artifacts import (
    Json,
    ShardStore,
    digest_of,
    file_digest,
    write_csv,
    write_parquet,
)
from conceptaudit.datasets._files import suffix
from conceptaudit.datasets._listing import list_files
from conceptaudit.datasets.base import Shard
from conceptaudit.display import quantity
from conceptaudit.errors import ConfigError
from conceptaudit.image.external_tags import ImportedTagger, ImportedTags, import_tags, key_hashes
from conceptaudit.image.tag_files import ENDINGS, read_tag_rows
from conceptaudit.records import ConceptVocabulary
from conceptaudit.store.removing import remove

BUCKETS = "image_tags"
UNKNOWN_KEYS = "image_tags_unknown_keys.parquet"
UNKNOWN_CONCEPTS = "image_tags_unknown_concepts.csv"
LISTED = 100_000
"""Unknown keys that are listed; all are counted. A file may cover a much larger dataset."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TagFile:
    """Image tags in files that an audit is to use."""

    path: Path  # what the user named: a file, a folder or a pattern
    files: tuple[Path, ...]  # its files; see `conceptaudit.image.tag_files.read_tag_rows`
    digest: str  # of their bytes
    threshold: float | None  # smallest score that counts

    @classmethod
    def find(cls, path: str, threshold: float | None) -> TagFile:
        """Find and identify the files, and look at the first rows of each."""
        where = Path(path).expanduser()
        try:
            listing = list_files(str(where))
        except ConfigError as error:
            raise ConfigError(
                f"--image-tags must name a file of tags, a folder or a pattern. Got {path!r} "
                "instead, which does not exist."
            ) from error
        files = [Path(file.path) for file in listing.files]
        if not listing.is_file:
            files = [file for file in files if suffix(file.name) in ENDINGS]
        if not files:
            raise ConfigError(
                f"--image-tags must name files with one of the endings {list(ENDINGS)}. "
                f"{path!r} holds none."
            )
        for file in files:
            next(read_tag_rows(file, scored=threshold is not None), None)
        digests = [file_digest(file) for file in files]
        digest = digests[0] if len(digests) == 1 else digest_of(digests)
        return cls(path=where, files=tuple(files), digest=digest, threshold=threshold)

    @property
    def settings(self) -> Json:
        """What can change a tag."""
        return {"image_tags": self.digest, "threshold": self.threshold}

    def tagger(self, vocabulary: ConceptVocabulary, folder: Path) -> ImportedTagger:
        """Bring the file into a run folder, unless it is there, and return the stage that tags."""
        imported = import_tags(
            self.files, self.digest, vocabulary, folder / BUCKETS, threshold=self.threshold
        )
        return ImportedTagger(imported=imported, source=self.digest)

    def account_for(
        self,
        vocabulary: ConceptVocabulary,
        folder: Path,
        store: ShardStore,
        shards: Sequence[Shard],
    ) -> tuple[str, ...]:
        """List what found no partner and say how much that is."""
        imported = self.tagger(vocabulary, folder).imported
        n_unknown = _list_unknown_keys(self.files, store, shards, folder)
        return tuple(_notes(self, imported, n_unknown, folder))


def forget_lists(folder: Path) -> None:
    """Remove the lists of an earlier run with other options."""
    remove(folder, (UNKNOWN_KEYS, UNKNOWN_CONCEPTS))


def _list_unknown_keys(
    files: Sequence[Path], store: ShardStore, shards: Sequence[Shard], folder: Path
) -> int:
    """Count the keys of the files that the dataset lacks, and list the first of them."""
    paths = [store.path(shard.name, ".known.npy") for shard in shards]
    known = np.unique(
        np.concatenate(
            [
                np.empty(0, dtype=np.uint64),
                *(np.load(path, allow_pickle=False) for path in paths if path.exists()),
            ]
        )
    )
    seen: set[int] = set()
    rows: Counter[str] = Counter()
    for block in read_tag_rows(files):
        keys = [key for key in block.keys if key is not None]
        hashes = key_hashes(keys)
        for row in np.flatnonzero(~np.isin(hashes, known)).tolist():
            seen.add(int(hashes[row]))
            if keys[row] in rows or len(rows) < LISTED:
                rows[keys[row]] += 1
    if rows:
        table = pd.DataFrame(sorted(rows.items()), columns=["key", "n_rows"])
        write_parquet(folder / UNKNOWN_KEYS, table)
    return len(seen)


def _notes(file: TagFile, imported: ImportedTags, n_unknown: int, folder: Path) -> Iterator[str]:
    counts, unknown = imported.summary["counts"], imported.summary["unknown_concepts"]
    above = "" if file.threshold is None else f" with a score of at least {file.threshold:g}"
    yield (
        f"Images are tagged by {file.path.name} ({quantity(counts['n_rows'], 'row')}){above}, "
        "joined by key; a sample whose key it lacks is dropped as no_image_tags."
    )
    if n_unknown:
        yield (
            f"Not in the dataset: {quantity(n_unknown, 'key')} of {file.path.name}, see "
            f"{UNKNOWN_KEYS}."
        )
    if unknown:
        write_csv(
            folder / UNKNOWN_CONCEPTS,
            pd.DataFrame(list(unknown.items()), columns=["concept", "n_rows"]),
        )
        shown = ", ".join(list(unknown)[:5])
        yield (
            f"No concept of the list: {quantity(len(unknown), 'tag')} of {file.path.name} "
            f"({shown}): see {UNKNOWN_CONCEPTS}."
        )
    for name, what in (
        ("n_repeated", "with a key and concept of another row; the highest score was taken"),
        ("n_below_threshold", "with a score below the threshold"),
        ("n_without_key", "without a key"),
    ):
        if counts.get(name):
            yield f"{quantity(counts[name], 'row')} {what}."
