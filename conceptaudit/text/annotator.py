"""Captions to the concepts that they name, tagging no more words than it takes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from conceptaudit.records import ConceptVocabulary
from conceptaudit.text.candidates import CandidateFinder, Candidates, Found, ResultColumns
from conceptaudit.text.deciding import ContextDecider
from conceptaudit.text.matcher import PhraseMatcher, normalized_words
from conceptaudit.text.mentions import NOTHING, Annotated
from conceptaudit.text.morphology import english_head_forms, unchanged
from conceptaudit.text.normalize import caption_texts
from conceptaudit.text.pipeline import final_lexicon
from conceptaudit.text.sampling import PairFinder, Pairs
from conceptaudit.text.segments import OPEN, SegmentTable
from conceptaudit.text.splitting import Splitter, Words
from conceptaudit.text.variants import english_spellings, hyphenations
from conceptaudit.text.whole import WholeCaptions
from conceptaudit.text.window_network import read_network
from conceptaudit.text.words import (
    LexiconReadings,
    Readings,
    SurfaceReadings,
    WordTable,
    network_tags,
)

if TYPE_CHECKING:
    from spacy.language import Language

ZONE_CAPTIONS = 16_384
"""Captions worked on at a time: each distinct word of them is looked up once."""

MAX_DISTINCT = 400_000
"""Distinct words remembered; a corpus's vocabulary is unbounded, memory is not."""


class CaptionAnnotator:
    """Finds the concepts that captions name; one per process and tagger.

    What it finds is what running the pipeline over every caption would find. With the bundled
    pipeline a word is tagged only where the answer depends on its tag, and then by the words
    around it; any other pipeline gets whole captions.

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
        self._nlp = nlp
        self._any_pos = any_pos
        self._names = vocabulary.names
        english = nlp.lang == "en"
        self.matcher = PhraseMatcher(
            vocabulary,
            split=self._split,
            head_forms=english_head_forms if english else unchanged,
            spellings=english_spellings if english else hyphenations,
            any_noun=not english,
            nested=nested,
        )
        self.whole = WholeCaptions(nlp, self.matcher, any_pos=any_pos)
        self._network = None if any_pos else read_network(nlp)
        self._readings = self._choose_readings()
        if self._readings is not None:
            self._begin(self._readings)

    @property
    def takes_shortcuts(self) -> bool:
        """Whether captions can be left untagged in part; else each goes through the pipeline."""
        return self._readings is not None

    def tag(self, captions: Sequence[str]) -> list[Annotated | str]:
        """Return the concepts of each caption, or how the pipeline failed on it."""
        told: list[Annotated | str] = []
        for start in range(0, len(captions), ZONE_CAPTIONS):
            zone = caption_texts(captions[start : start + ZONE_CAPTIONS])
            told += self._tag_zone(zone) if self.takes_shortcuts else self.whole(zone)
        return told

    def _tag_zone(self, captions: Sequence[str]) -> list[Annotated | str]:
        found = self.find(captions)
        told: list[Annotated | str] = [NOTHING] * len(captions)
        for caption, annotated in found.by_caption():
            told[caption] = annotated
        for caption, failure in found.failures.items():
            told[caption] = failure
        return told

    def find(self, captions: Sequence[str]) -> Found:
        """Find the mentions of captions that have gone through ``caption_text``, as columns."""
        self._make_room()
        # the zone frees new words: without it spaCy's string store grows with the corpus
        with self._nlp.memory_zone():
            words = self.splitter(captions)
            candidates = self.finder(words)
            results = self._results(captions, words, candidates)
            return self.columns.lay_out(words, candidates, results)

    def _results(
        self, captions: Sequence[str], words: Words, candidates: Candidates
    ) -> npt.NDArray[np.int32]:
        results = self.segments.settled(candidates.segments).copy()
        unsettled = results == OPEN
        if self._decider is not None and unsettled.any():
            results[unsettled] = self._decider(captions, words, candidates.select(unsettled))
        return results

    def find_pairs(
        self, captions: Sequence[str], wanted: npt.NDArray[np.int64], *, placed: bool = False
    ) -> Found:
        """Find the mentions that decide some pairs of caption and concept, and leave the others.

        Parameters
        ----------
        captions : sequence of str
            They have gone through ``caption_text``.
        wanted : numpy.ndarray of int64
            ``caption * n_concepts + concept`` of the pairs.
        placed : bool
            Whether the mentions' places are wanted; else they are 0.
        """
        self._make_room()
        with self._nlp.memory_zone():
            words = self.splitter(captions, placed=placed)
            candidates = self.finder(words)
            candidates = candidates.select(self._pair_finder.may_name(candidates, wanted))
            results = self._results(captions, words, candidates)
            found = self.columns.lay_out(words, candidates, results)
            pairs = found.captions.astype(np.int64) * len(self._names) + found.concepts
            return found.select(np.isin(pairs, wanted))

    def pairs(self, captions: Sequence[str]) -> tuple[Pairs, dict[int, str]]:
        """Find which captions name which concepts as far as that needs no tagger.

        Parameters
        ----------
        captions : sequence of str
            They have gone through ``caption_text``; at most `ZONE_CAPTIONS`.

        Returns
        -------
        pairs : Pairs
            Certain pairs, and open ones with their strata.
        failures : dict of int to str
            How the pipeline failed, by caption.
        """
        self._make_room()
        with self._nlp.memory_zone():
            words = self.splitter(captions, placed=False)
            candidates = self.finder(words)
            wide = self.segments.wide(candidates.segments)
            decided = (np.zeros(0, dtype=np.int32), np.zeros(0, dtype=np.int32))
            if self._decider is not None and wide.any():
                chosen = candidates.select(wide)
                results = self._decider(captions, words, chosen)
                decided = self.columns.accepted(chosen, results)
            return self._pair_finder(words, candidates.select(~wide), decided), words.failures

    def _make_room(self) -> None:
        if len(self.words) + len(self.splitter) > MAX_DISTINCT and self._readings is not None:
            self._begin(self._readings)

    def _choose_readings(self) -> Readings | None:
        if self._any_pos:
            return SurfaceReadings(matcher=self.matcher)
        lexicon = final_lexicon(self._nlp)
        if lexicon is None or self._network is None:
            return None
        return LexiconReadings(self.matcher, lexicon, network_tags(self._nlp))

    def _begin(self, readings: Readings) -> None:
        """Start with empty tables."""
        self.words = WordTable(self.matcher, readings)
        self.splitter = Splitter(self._nlp, self.words)
        self.segments = SegmentTable(self.matcher, self.words)
        self.finder = CandidateFinder(self.words, self.segments)
        self.columns = ResultColumns(self.segments)
        lexicon = final_lexicon(self._nlp)
        self._pair_finder = PairFinder(
            self.words,
            self.segments,
            None if lexicon is None else lexicon.forms,
            self._names,
        )
        self._decider = (
            None
            if self._network is None
            else ContextDecider(self._nlp, self._network, self.matcher, self.words, self.segments)
        )

    def _split(self, phrase: str) -> list[str]:
        return normalized_words([token.text for token in self._nlp.make_doc(phrase)])
