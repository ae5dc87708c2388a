"""Taggers of others: objects that an audit calls, and files of tags."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
import pandas as pd

from conceptaudit.artifacts import (
    Json,
    ShardStore,
    digest_of,
    file_digest,
    package_versions,
    write_csv,
    write_parquet,
)
from conceptaudit.datasets._files import suffix
from conceptaudit.datasets._listing import list_files
from conceptaudit.datasets.base import CAPTION, IMAGE, Dataset, Shard
from conceptaudit.display import quantity
from conceptaudit.engine.stage import ShardResult
from conceptaudit.errors import ConfigError, DataError
from conceptaudit.image.external_tags import (
    ExternalTagger,
    concept_ids_by_name,
    import_tags,
    key_hashes,
    spelled,
)
from conceptaudit.image.tag_files import ENDINGS, read_tag_rows
from conceptaudit.plugins import installed
from conceptaudit.records import ConceptVocabulary, Drop, SampleBatch, Tags
from conceptaudit.tagtable import check_account, drop_table, part_account, tag_table

GROUP = "conceptaudit.taggers"

SIDES = {"text": CAPTION, "image": IMAGE}
"""What a tagger may tag, and which part of a sample that concerns."""

UNUSABLE = "unusable"
"""Why a sample is dropped that a tagger lists without a concept and without a reason."""


@runtime_checkable
class Tagger(Protocol):
    """What finds concepts in captions or in images.

    It is sent to worker processes, so it must be picklable; models are best loaded on first use.
    """

    @property
    def side(self) -> str:
        """``"text"`` or ``"image"``: which tags these are."""

    @property
    def reads(self) -> frozenset[str]:
        """Parts of a sample that it needs: ``"caption"``, ``"image"``, ``"embedding"``."""

    @property
    def settings(self) -> Json:
        """Everything that can change a tag: models with their versions or digests, thresholds."""

    def tag(self, batch: SampleBatch) -> pd.DataFrame:
        """Tag a batch.

        Parameters
        ----------
        batch : SampleBatch
            Parts that a sample lacks are None.

        Returns
        -------
        pandas.DataFrame
            A row per tag: ``row`` (position in the batch), ``concept`` (its name or an alias;
            names that are not on the concept list are left out) and, optionally, ``score``. A row
            whose ``concept`` is None says that the sample cannot be used, and ``reason`` why.
        """


@runtime_checkable
class TaggerFactory(Protocol):
    """What an entry point names."""

    def __call__(self, concepts: ConceptVocabulary) -> Tagger:
        """Return a tagger for these concepts."""


def find_taggers(
    taggers: Sequence[str | Tagger], vocabulary: ConceptVocabulary, dataset: Dataset
) -> dict[str, TaggerStage]:
    """Return a stage per side for the taggers that a user names or hands over."""
    stages: dict[str, TaggerStage] = {}
    for given in taggers:
        tagger = _named(given, vocabulary) if isinstance(given, str) else given
        label = given if isinstance(given, str) else type(given).__name__
        if not isinstance(tagger, Tagger) or tagger.side not in SIDES:
            raise ConfigError(
                f"The tagger {label} must have 'side' ('text' or 'image'), 'reads', 'settings' and "
                "'tag', see conceptaudit.Tagger."
            )
        if tagger.side in stages:
            raise ConfigError(f"Two taggers tag {tagger.side}s; name one of them.")
        missing = tagger.reads - dataset.provides
        if missing:
            raise ConfigError(
                f"The tagger {label} reads {', '.join(sorted(missing))}, which "
                f"{dataset.location} does not have."
            )
        stages[tagger.side] = TaggerStage(tagger=tagger, label=label, vocabulary=vocabulary)
    return stages


def _named(name: str, vocabulary: ConceptVocabulary) -> object:
    """Make the tagger that an installed package calls by this name."""
    factories = dict(installed(GROUP, TaggerFactory))  # type: ignore[type-abstract] # a protocol, for checking only
    if name not in factories:
        known = ", ".join(sorted(factories)) or "none"
        raise ConfigError(
            f"There is no tagger {name!r}; installed are: {known}. A package adds one with an "
            f"entry point of the group {GROUP}."
        )
    return factories[name](vocabulary)


@dataclass(frozen=True, slots=True, kw_only=True)
class TaggerStage:
    """Tags the shards of a dataset with a `Tagger`."""

    tagger: Tagger
    label: str  # what messages call it
    vocabulary: ConceptVocabulary  # the concepts that count

    @property
    def name(self) -> str:
        """The side, which is the folder of the results."""
        return self.tagger.side

    @property
    def parts(self) -> frozenset[str]:
        """The parts of a sample that it needs."""
        return self.tagger.reads

    @property
    def settings(self) -> Json:
        """Everything that can change a tag."""
        return {
            "stage": self.name,
            "tagger": self.label,
            "settings": self.tagger.settings,
            "vocabulary": self.vocabulary.digest,
            "versions": package_versions(),
        }

    def __call__(self, shard: Shard, batches: Iterator[SampleBatch]) -> ShardResult:
        """Tag one shard."""
        names = concept_ids_by_name(self.vocabulary)
        drops: list[Drop] = []
        tags: dict[tuple[int, int], tuple[str, float]] = {}
        n_rows = n_used = 0
        for batch in batches:
            unusable = self._tag(batch, names, tags)
            # what the reader dropped is not dropped again by the tagger
            unread = {d.sample_id for d in batch.drops if d.part == SIDES[self.name]}
            drops += [*batch.drops, *(d for d in unusable if d.sample_id not in unread)]
            n_rows += len(batch.sample_ids)
            gone = unread | {drop.sample_id for drop in unusable}
            n_used += int((~np.isin(batch.sample_ids, sorted(gone))).sum())
        account = part_account(n_rows, drops, part=SIDES[self.name])
        check_account(account, n_used, f"{self.label} of shard {shard.name}")
        pairs = sorted(tags)
        table = Tags(
            sample_ids=np.array([sample for sample, _ in pairs], dtype=np.int64),
            keys=[tags[pair][0] for pair in pairs],
            concept_ids=np.array([concept for _, concept in pairs], dtype=np.int32),
            scores=np.array([tags[pair][1] for pair in pairs], dtype=np.float32),
        )
        return ShardResult(
            summary=account,
            tables={
                ".parquet": tag_table(table, modality=self.name),
                ".drops.parquet": drop_table(drops),
            },
        )

    def _tag(
        self,
        batch: SampleBatch,
        names: dict[str, tuple[int, ...]],
        tags: dict[tuple[int, int], tuple[str, float]],
    ) -> list[Drop]:
        """Add a batch's tags, of a pair that is named twice the highest score; return drops."""
        table = self.tagger.tag(batch)
        if not {"row", "concept"} <= set(table.columns):
            raise DataError(
                f"The tagger {self.label} must return a table with 'row' and 'concept'. Got "
                f"{list(table.columns)} instead."
            )
        rows = table["row"].to_numpy(dtype=np.int64)
        if len(rows) and not (rows.min() >= 0 and rows.max() < len(batch.sample_ids)):
            raise DataError(
                f"The tagger {self.label} must return rows of the batch, in [0, "
                f"{len(batch.sample_ids)}). Got {rows.min()} to {rows.max()} instead."
            )
        scores = table["score"].tolist() if "score" in table else [1.0] * len(rows)
        reasons = table["reason"].tolist() if "reason" in table else [None] * len(rows)
        named = [isinstance(concept, str) for concept in table["concept"]]
        unusable = {
            row: reason if isinstance(reason, str) else UNUSABLE
            for row, reason, is_tag in zip(rows.tolist(), reasons, named, strict=True)
            if not is_tag
        }
        for row, concept, score in zip(rows.tolist(), table["concept"], scores, strict=True):
            if row not in unusable:
                sample = int(batch.sample_ids[row])
                for concept_id in names.get(spelled(concept), ()):
                    known = tags.get((sample, concept_id), ("", -np.inf))[1]
                    tags[sample, concept_id] = (batch.keys[row], max(known, float(score)))
        return [
            Drop(
                sample_id=int(batch.sample_ids[row]),
                key=batch.keys[row],
                part=SIDES[self.name],
                reason=reason,
            )
            for row, reason in sorted(unusable.items())
        ]


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

    def tagger(self, vocabulary: ConceptVocabulary, folder: Path) -> ExternalTagger:
        """Bring the file into a run folder, unless it is there, and return the stage that tags."""
        return import_tags(
            self.files, self.digest, vocabulary, folder / BUCKETS, threshold=self.threshold
        )

    def account_for(
        self,
        vocabulary: ConceptVocabulary,
        folder: Path,
        store: ShardStore,
        shards: Sequence[Shard],
    ) -> tuple[str, ...]:
        """List what found no partner and say how much that is."""
        imported = self.tagger(vocabulary, folder)
        n_unknown = _list_unknown_keys(self.files, store, shards, folder)
        return tuple(_notes(self, imported, n_unknown, folder))


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
    # hashes, since a file may cover a much larger dataset than memory holds keys of
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


def _notes(file: TagFile, imported: ExternalTagger, n_unknown: int, folder: Path) -> Iterator[str]:
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
