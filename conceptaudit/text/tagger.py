"""The text stage: captions of a shard to the concepts they name."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from conceptaudit.artifacts import Json, package_versions
from conceptaudit.datasets.base import CAPTION, CAPTION_UNIT, Shard
from conceptaudit.engine.stage import ShardResult
from conceptaudit.options.shared import DEFAULT_EVIDENCE
from conceptaudit.records import ConceptVocabulary, Drop, SampleBatch, Tags
from conceptaudit.tagtable import check_account, drop_table, part_account, tag_table
from conceptaudit.text.ambiguity import LOOK_ALIKES, UNSPACED, RejectedMentions
from conceptaudit.text.annotator import ZONE_CAPTIONS, CaptionAnnotator
from conceptaudit.text.batching import gather
from conceptaudit.text.documents import tag_documents
from conceptaudit.text.evidence import EVIDENCE, EvidenceReservoir
from conceptaudit.text.mentions import NO_MENTIONS
from conceptaudit.text.normalize import NORMALIZER, n_unspaced
from conceptaudit.text.pipeline import ANY_POS, NounPipeline, load_pipeline

__all__ = ["CaptionAnnotator", "TextTagger", "annotator_of", "unmatchable_concepts"]


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


_annotators: dict[tuple[str, str, str, bool], CaptionAnnotator] = {}
_latest: list[tuple[TextTagger, CaptionAnnotator]] = []


def annotator_of(tagger: TextTagger) -> CaptionAnnotator:
    """Build a tagger's annotator once per process."""
    # a vocabulary's digest takes milliseconds, and the same tagger asks for every shard
    for known, annotator in _latest:
        if known is tagger:
            return annotator
    _latest[:] = [(tagger, _annotator(tagger))]
    return _latest[0][1]


def _annotator(tagger: TextTagger) -> CaptionAnnotator:
    pipeline = tagger.pipeline
    identity = (pipeline.name, pipeline.pos, tagger.vocabulary.digest, tagger.nested)
    if identity not in _annotators:
        _annotators.clear()
        _annotators[identity] = CaptionAnnotator(
            load_pipeline(pipeline.name),
            tagger.vocabulary,
            any_pos=pipeline.pos == ANY_POS,
            nested=tagger.nested,
        )
    return _annotators[identity]


def unmatchable_concepts(tagger: TextTagger) -> list[str]:
    """List the concepts that no caption can ever name, one sentence each."""
    return list(annotator_of(tagger).unmatchable.values())
