"""Taggers that somebody else provides: a batch of samples in, a table of tags out.

An installed package adds one with an entry point of the group ``conceptaudit.taggers`` that names
a function of the concepts which returns a `Tagger`; a program may hand one to `audit` itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np

from conceptaudit.artifacts import Json, package_versions
from conceptaudit.datasets.base import CAPTION, IMAGE, Dataset, Shard
from conceptaudit.engine.stage import ShardResult
from conceptaudit.errors import ConfigError, DataError
from conceptaudit.image.external_tags import concept_ids_by_name, spelled
from conceptaudit.plugins import installed
from conceptaudit.records import ConceptVocabulary, Drop, SampleBatch, Tags
from conceptaudit.tagtable import check_account, drop_table, part_account, tag_table

if TYPE_CHECKING:
    import pandas as pd

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
    factories = dict(installed(GROUP, TaggerFactory))  # type: ignore[type-abstract] # not made
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
