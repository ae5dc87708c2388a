"""The text stage: captions of a shard to the concepts they name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from conceptaudit.artifacts import Json, package_versions
from conceptaudit.datasets.base import CAPTION, Shard
from conceptaudit.engine.stage import ShardResult
from conceptaudit.records import ConceptVocabulary, Drop, SampleBatch, Tags
from conceptaudit.tagtable import check_account, drop_table, part_account, tag_table
from conceptaudit.text.matcher import HYPHENS, PhraseMatcher, normalized_words
from conceptaudit.text.morphology import english_head_forms, unchanged
from conceptaudit.text.normalize import NORMALIZER, caption_text, normalize
from conceptaudit.text.pipeline import ANY_POS, NounPipeline, load_pipeline, possible_lemmas

if TYPE_CHECKING:
    from spacy.language import Language
    from spacy.tokens import Doc

SPACY_BATCH = 256
"""Captions per forward pass; more gained nothing in measurements and costs memory."""

ZONE_CAPTIONS = 2_048
"""Captions after which the pipeline forgets the words it has seen."""

MAX_CACHED_WORDS = 500_000
"""Distinct words whose keys are remembered; the corpus's vocabulary is unbounded, memory is not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TextTagger:
    """Tags captions with the concepts they name as nouns.

    Parameters
    ----------
    vocabulary : ConceptVocabulary
        What to look for.
    pipeline : NounPipeline
        The spaCy pipeline that splits, tags and lemmatises.
    nested : bool, default False
        Whether a concept inside a longer match counts too.
    """

    vocabulary: ConceptVocabulary
    pipeline: NounPipeline
    nested: bool = False
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
            "normalizer": NORMALIZER,
            "versions": package_versions("spacy"),
        }

    def __call__(self, shard: Shard, batches: Iterator[SampleBatch]) -> ShardResult:
        """Tag one shard.

        Returns
        -------
        ShardResult
            Tags (score: mentions in the caption), drops, and the samples' account.
        """
        annotator = _annotator(self)
        rows: list[tuple[int, str, int, int]] = []
        drops: list[Drop] = []
        n_rows = n_tagged = 0
        for batch in batches:
            drops.extend(batch.drops)
            n_rows += len(batch)
            captions = batch.captions if batch.captions is not None else [None] * len(batch)
            used = {i: caption for i, caption in enumerate(captions) if caption is not None}
            found = annotator.tag(list(used.values()))
            for i, mentions in zip(used, found, strict=True):
                sample, key = int(batch.sample_ids[i]), batch.keys[i]
                if isinstance(mentions, str):
                    failure = Drop(
                        sample_id=sample,
                        key=key,
                        part=CAPTION,
                        reason="tagger_failed",
                        detail=mentions,
                    )
                    drops.append(failure)
                    continue
                n_tagged += 1
                rows.extend((sample, key, concept, n) for concept, n in sorted(mentions.items()))
        account = part_account(n_rows, drops, part=CAPTION)
        check_account(account, n_tagged, f"captions of shard {shard.name}")
        tags = Tags(
            sample_ids=np.array([sample for sample, _, _, _ in rows], dtype=np.int64),
            keys=[key for _, key, _, _ in rows],
            concept_ids=np.array([concept for _, _, concept, _ in rows], dtype=np.int32),
            scores=np.array([mentions for _, _, _, mentions in rows], dtype=np.float32),
        )
        return ShardResult(
            summary=account,
            tables={
                ".parquet": tag_table(tags, modality="text"),
                ".drops.parquet": drop_table(drops),
            },
        )


class CaptionAnnotator:
    """Runs a pipeline over captions and matches concepts; one per process and tagger.

    Parameters
    ----------
    nlp : spacy.language.Language
        Splits, tags and lemmatises.
    vocabulary : ConceptVocabulary
        What to find.
    any_pos, nested : bool
        As in `TextTagger`.
    """

    def __init__(
        self, nlp: Language, vocabulary: ConceptVocabulary, *, any_pos: bool, nested: bool
    ) -> None:
        from spacy.symbols import NOUN, PROPN

        self._nlp = nlp
        self._any_pos = any_pos
        self._nouns = frozenset({NOUN, PROPN})
        self._keys: dict[int, int] = {}
        self._promising: dict[int, bool] = {}
        self._possible_lemmas = None if any_pos else possible_lemmas(nlp)
        self._hyphens = frozenset(nlp.vocab.strings.add(mark) for mark in HYPHENS)
        self.matcher = PhraseMatcher(
            vocabulary,
            split=self._split,
            head_forms=english_head_forms if nlp.lang == "en" else unchanged,
            any_noun=nlp.lang != "en",
            nested=nested,
        )

    def tag(self, captions: Sequence[str]) -> list[Counter[int] | str]:
        """Return each caption's mentions per concept id, or how the pipeline failed on it."""
        found: list[Counter[int] | str] = []
        for start in range(0, len(captions), ZONE_CAPTIONS):
            zone = captions[start : start + ZONE_CAPTIONS]
            found.extend(self._tag_zone([caption_text(caption) for caption in zone]))
        return found

    def _tag_zone(self, captions: Sequence[str]) -> list[Counter[int] | str]:
        # the zone frees new words: without it spaCy's string store grows with the corpus
        with self._nlp.memory_zone():
            try:
                docs = [self._nlp.make_doc(caption) for caption in captions]
                promising = [i for i, doc in enumerate(docs) if self._may_match(doc)]
                found: list[Counter[int] | str] = [Counter() for _ in docs]
                for i, doc in zip(
                    promising, self._tagged([docs[i] for i in promising]), strict=True
                ):
                    found[i] = self._match(doc)
                return found
            except Exception as error:  # noqa: BLE001 -- any pipeline may fail on any caption
                if len(captions) == 1:
                    return [f"{type(error).__name__}: {error}"]
        half = len(captions) // 2
        return [*self._tag_zone(captions[:half]), *self._tag_zone(captions[half:])]

    def _tagged(self, docs: Sequence[Doc]) -> Iterable[Doc]:
        return docs if self._any_pos else self._nlp.pipe(docs, batch_size=SPACY_BATCH)

    def _may_match(self, doc: Doc) -> bool:
        """Tell whether any word of a caption can be the head of a phrase; if none, nothing is."""
        if self._possible_lemmas is None:
            return True
        return any(map(self._may_be_head, doc.to_array("ORTH").tolist()))

    def _may_be_head(self, word: int) -> bool:
        answer = self._promising.get(word)
        if answer is None:
            if len(self._promising) >= MAX_CACHED_WORDS:
                self._promising.clear()
            text = self._nlp.vocab.strings[word]
            lemmas = self._possible_lemmas(text) if self._possible_lemmas else ()
            answer = any(
                self.matcher.key(normalize(form)) in self.matcher.head_keys
                for form in (text, *lemmas)
            )
            self._promising[word] = answer
        return answer

    def _match(self, doc: Doc) -> Counter[int]:
        from spacy.attrs import LEMMA, ORTH, POS

        surfaces: list[int] = []
        lemmas: list[int] = []
        nouns: list[bool] = []
        relevant = False
        for orth, lemma, pos in doc.to_array([ORTH, LEMMA, POS]).tolist():
            if orth in self._hyphens:
                continue
            surface_key = self._key(orth)
            lemma_key = self._key(lemma) if lemma and lemma != orth else surface_key
            relevant = relevant or surface_key >= 0 or lemma_key >= 0
            surfaces.append(surface_key)
            lemmas.append(lemma_key)
            nouns.append(self._any_pos or pos in self._nouns)
        if not relevant:
            return Counter()
        return Counter(match.concept_id for match in self.matcher.find(surfaces, lemmas, nouns))

    def _key(self, word: int) -> int:
        key = self._keys.get(word)
        if key is None:
            if len(self._keys) >= MAX_CACHED_WORDS:
                self._keys.clear()
            key = self.matcher.key(normalize(self._nlp.vocab.strings[word]))
            self._keys[word] = key
        return key

    def _split(self, phrase: str) -> list[str]:
        return normalized_words([token.text for token in self._nlp.make_doc(phrase)])


_annotators: dict[tuple[str, str, str, bool], CaptionAnnotator] = {}


def _annotator(tagger: TextTagger) -> CaptionAnnotator:
    """Build a tagger's annotator once per process."""
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
    return list(_annotator(tagger).matcher.unmatchable.values())
