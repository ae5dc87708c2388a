"""The stages for captions: every one tagged, or only what a sample of undecided pairs needs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from conceptaudit.artifacts import Json, package_versions
from conceptaudit.datasets.base import CAPTION, CAPTION_UNIT, LANGUAGE, Shard
from conceptaudit.engine.stage import ShardResult
from conceptaudit.errors import ConfigError
from conceptaudit.options.shared import DEFAULT_ERROR, DEFAULT_EVIDENCE
from conceptaudit.records import ConceptVocabulary, Drop, Int64Array, SampleBatch, Tags
from conceptaudit.tagtable import check_account, drop_table, part_account, tag_table
from conceptaudit.text.annotator import ZONE_CAPTIONS, CaptionAnnotator, tag_documents
from conceptaudit.text.evidence import EVIDENCE, EvidenceReservoir
from conceptaudit.text.mentions import LOOK_ALIKES, NO_MENTIONS, UNSPACED, RejectedMentions
from conceptaudit.text.normalize import NORMALIZER, caption_texts, n_unspaced
from conceptaudit.text.phrases import english_spellings
from conceptaudit.text.pipeline import ANY_POS, BUNDLED, NounPipeline, load_pipeline
from conceptaudit.text.sampling import CERTAIN, N_KINDS, Pairs

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptionBatch:
    """Captions of consecutive samples, and what became of the samples without one."""

    sample_ids: Int64Array
    # of the samples that have a caption
    keys: Sequence[str]
    captions: Sequence[str]
    drops: Sequence[Drop]  # what the reader could not use
    n_rows: int  # samples in the batches, with a caption or without

    def failure(self, row: int, why: str) -> Drop:
        """Say that the pipeline failed on a caption."""
        return Drop(
            sample_id=int(self.sample_ids[row]),
            key=self.keys[row],
            part=CAPTION,
            reason="tagger_failed",
            detail=why,
        )


def gather(batches: Iterator[SampleBatch], at_least: int) -> Iterator[CaptionBatch]:
    """Put batches together until they hold `at_least` samples; the last may hold fewer."""
    waiting: list[SampleBatch] = []
    n_rows = 0
    for batch in batches:
        waiting.append(batch)
        n_rows += len(batch)
        if n_rows >= at_least:
            yield _joined(waiting)
            waiting, n_rows = [], 0
    if waiting:
        yield _joined(waiting)


def _joined(batches: Sequence[SampleBatch]) -> CaptionBatch:
    captions: list[str] = []
    keys: list[str] = []
    ids: list[Int64Array] = []
    for batch in batches:
        found = batch.captions if batch.captions is not None else [None] * len(batch)
        used = [i for i, caption in enumerate(found) if caption is not None]
        ids.append(batch.sample_ids[used] if len(used) < len(batch) else batch.sample_ids)
        captions += [caption for caption in found if caption is not None]
        keys += [batch.keys[i] for i in used]
    return CaptionBatch(
        sample_ids=np.concatenate(ids),
        keys=keys,
        captions=captions,
        drops=[drop for batch in batches for drop in batch.drops],
        n_rows=sum(map(len, batches)),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class TextTagger:
    """Tags captions with the concepts they name as nouns."""

    vocabulary: ConceptVocabulary
    pipeline: NounPipeline  # the spaCy pipeline that splits, tags and lemmatises
    nested: bool = False  # whether a concept inside a longer match counts too
    evidence: int = DEFAULT_EVIDENCE  # captions kept per concept as evidence, at least 0
    unit: str = CAPTION_UNIT  # documents are tagged passage by passage and count once
    name: str = field(default="text", init=False)
    parts: frozenset[str] = field(default=frozenset({CAPTION}), init=False)

    def finds_as(self, other: TextTagger) -> bool:
        """Whether another one finds the same in a caption."""
        same = (self.pipeline, self.nested) == (other.pipeline, other.nested)
        return same and self.vocabulary.digest == other.vocabulary.digest

    @property
    def settings(self) -> Json:
        """Everything that can change a text tag."""
        return {
            "stage": self.name,
            "concepts": self.vocabulary.digest,
            "pipeline": self.pipeline.digest,
            "pos": self.pipeline.pos,
            "nested": self.nested,
            "evidence": self.evidence,
            "unit": self.unit,
            "normalizer": NORMALIZER,
            "versions": package_versions("spacy"),
        }

    def __call__(self, shard: Shard, batches: Iterator[SampleBatch]) -> ShardResult:
        """Tag one shard."""
        annotator = annotator_of(self)
        reservoir = EvidenceReservoir(self.vocabulary, size=self.evidence)
        look_alikes = RejectedMentions()
        rows: list[tuple[int, str, int, int]] = []
        drops: list[Drop] = []
        n_rows = n_tagged = unspaced = 0
        is_caption = self.unit == CAPTION_UNIT
        for gathered in gather(batches, ZONE_CAPTIONS if is_caption else 1):
            drops.extend(gathered.drops)
            n_rows += gathered.n_rows
            texts = gathered.captions
            unspaced += n_unspaced(texts)
            tagged = annotator.tag(texts) if is_caption else tag_documents(annotator.tag, texts)
            for i, annotated in enumerate(tagged):
                if isinstance(annotated, str):
                    drops.append(gathered.failure(i, annotated))
                    continue
                n_tagged += 1
                if annotated is NO_MENTIONS:
                    continue
                sample, key = int(gathered.sample_ids[i]), gathered.keys[i]
                counts = sorted(annotated.counts.items())
                rows.extend((sample, key, concept, n) for concept, n in counts)
                look_alikes.add(annotated)
                reservoir.add(sample, key, texts[i], annotated)
        account = part_account(n_rows, drops, part=CAPTION)
        check_account(account, n_tagged, f"captions of shard {shard.name}")
        tags = Tags(
            sample_ids=np.array([sample for sample, _, _, _ in rows], dtype=np.int64),
            keys=[key for _, key, _, _ in rows],
            concept_ids=np.array([concept for _, _, concept, _ in rows], dtype=np.int32),
            scores=np.array([mentions for _, _, _, mentions in rows], dtype=np.float32),
        )
        return ShardResult(
            summary={**account, LOOK_ALIKES: look_alikes.as_json(), UNSPACED: unspaced},
            tables={
                ".parquet": tag_table(tags, modality="text"),
                ".drops.parquet": drop_table(drops),
                EVIDENCE: reservoir.table(),
            },
        )


_latest: list[tuple[TextTagger, CaptionAnnotator]] = []


def annotator_of(tagger: TextTagger) -> CaptionAnnotator:
    """Build a tagger's annotator once per process; one is kept, which may hold much."""
    # a vocabulary's digest takes milliseconds, and the same tagger asks for every shard
    for known, annotator in _latest:
        if known is tagger or known.finds_as(tagger):
            _latest[:] = [(tagger, annotator)]
            return annotator
    annotator = CaptionAnnotator(
        load_pipeline(tagger.pipeline.name),
        tagger.vocabulary,
        any_pos=tagger.pipeline.pos == ANY_POS,
        nested=tagger.nested,
    )
    _latest[:] = [(tagger, annotator)]
    return annotator


OPEN_CAPTIONS = ".open.parquet"
"""Ending of a shard's captions that leave a pair open, beside its tags."""

_SAMPLE_FACTOR = 0.2
"""Pairs tagged per form at most, times the square of the wanted error: 8,000 for 0.005.

Then a form that is a noun half the time in every context is known to 1.1 %, one that is a noun nine
times in ten to 0.4 %.
"""


def sample_limit(error: float) -> int:
    """Return how many open pairs of a form are tagged at most for a wanted error.

    >>> sample_limit(0.005)
    8000
    """
    return max(round(_SAMPLE_FACTOR / error**2), 100)


@dataclass(frozen=True, slots=True, kw_only=True)
class FastTextTagger:
    """Finds which captions may name which concepts, without tagging them."""

    exact: TextTagger  # what would decide every pair; it decides the sampled ones later
    # standard error wanted of every count, as a share of it, in (0, 1)
    error: float = DEFAULT_ERROR
    seed: int = 0  # another seed takes another sample
    name: str = field(default="text", init=False)
    parts: frozenset[str] = field(default=frozenset({CAPTION}), init=False)

    def __post_init__(self) -> None:
        if not 0.0 < self.error < 1.0:
            raise ConfigError(
                f"The 'text_error' parameter must lie in (0, 1). Got {self.error} instead."
            )

    @property
    def vocabulary(self) -> ConceptVocabulary:
        """What is looked for."""
        return self.exact.vocabulary

    @property
    def pipeline(self) -> NounPipeline:
        """The pipeline that would decide every pair."""
        return self.exact.pipeline

    @property
    def settings(self) -> Json:
        """Everything that can change a tag or the sample."""
        own = {
            "mode": "fast",
            "open": "captions",
            "error": self.error,
            "seed": self.seed,
            "kinds": N_KINDS,
        }
        return {**self.exact.settings, **own}

    def __call__(self, shard: Shard, batches: Iterator[SampleBatch]) -> ShardResult:
        """Find the pairs of one shard.

        Returns tags with two more columns, ``form`` (0 where the pair is certain) and ``context``;
        captions with open pairs; drops, and the samples' account.
        """
        annotator = annotator_of(self.exact)
        tables: list[pa.Table] = []
        captions: list[pa.Table] = []
        drops: list[Drop] = []
        n_rows = n_used = unspaced = 0
        for gathered in gather(batches, ZONE_CAPTIONS):
            drops.extend(gathered.drops)
            n_rows += gathered.n_rows
            texts = caption_texts(gathered.captions)
            pairs = annotator.pairs(texts)
            n_used += len(texts)
            unspaced += n_unspaced(texts)
            tables.append(_tags(gathered, pairs))
            captions.append(_captions(gathered, texts, pairs))
        account = part_account(n_rows, drops, part=CAPTION)
        check_account(account, n_used, f"captions of shard {shard.name}")
        return ShardResult(
            summary={**account, UNSPACED: unspaced},
            tables={
                ".parquet": _concatenated(tables),
                ".drops.parquet": drop_table(drops),
                OPEN_CAPTIONS: _concatenated(captions),
            },
        )


def _tags(gathered: CaptionBatch, pairs: Pairs) -> pa.Table:
    """Lay pairs out as `conceptaudit.tagtable.tag_table` does, without an object per pair."""
    import pyarrow as pa

    keys = pa.array(gathered.keys, pa.large_string())
    columns: dict[str, Any] = {
        "sample_id": gathered.sample_ids[pairs.captions],
        "key": keys.take(pairs.captions),
        "concept_id": pairs.concepts,
        "modality": pa.repeat(pa.scalar("text", pa.large_string()), len(pairs.captions)),
        "score": pairs.mentions.astype(np.float32),
        "form": pairs.forms,
        "context": pairs.contexts,
    }
    return pa.table(columns)


def _captions(gathered: CaptionBatch, texts: Sequence[str], pairs: Pairs) -> pa.Table:
    import pyarrow as pa

    rows = pairs.captions[pairs.forms != CERTAIN]
    rows = rows[np.flatnonzero(np.diff(rows, prepend=-1))]
    chosen = pa.array([texts[i] for i in rows.tolist()], pa.large_string())
    columns: dict[str, Any] = {"sample_id": gathered.sample_ids[rows], "caption": chosen}
    return pa.table(columns)


def _concatenated(tables: Sequence[pa.Table]) -> pa.Table | pd.DataFrame:
    import pyarrow as pa

    return pa.concat_tables(tables) if tables else pd.DataFrame()


LOADER = f"{__name__}:preload"
"""Names `preload` to the server that workers are forked from."""


def preload() -> None:
    """Load the bundled pipeline and the word tables for English phrases."""
    load_pipeline(BUNDLED)
    english_spellings("hot dog")


@dataclass(frozen=True, slots=True, kw_only=True)
class LanguageLister:
    """Notes the language of every sample, as the dataset's LANGUAGE column has it."""

    name: str = field(default="languages", init=False)
    parts: frozenset[str] = field(default=frozenset({LANGUAGE}), init=False)

    @property
    def settings(self) -> Json:
        """Nothing can be set."""
        return {"stage": self.name}

    def __call__(
        self,
        shard: Shard,  # noqa: ARG002 -- every stage is told its shard
        batches: Iterator[SampleBatch],
    ) -> ShardResult:
        """List one shard."""
        samples: list[int] = []
        languages: list[str] = []
        for batch in batches:
            samples += batch.sample_ids.tolist()
            languages += batch.languages or []
        return ShardResult(
            summary={"n_samples": dict(sorted(Counter(languages).items()))},
            tables={
                ".parquet": pd.DataFrame(
                    {
                        "sample_id": pd.Series(samples, dtype="int64"),
                        "language": pd.Series(languages, dtype="str"),
                    }
                )
            },
        )
