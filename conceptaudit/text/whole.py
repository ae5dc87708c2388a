"""Tagging whole captions with spaCy: for any pipeline, and the measure of every shorter way."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from conceptaudit.text.matcher import HYPHENS, Match, PhraseMatcher
from conceptaudit.text.mentions import NOTHING, Annotated, Mention
from conceptaudit.text.normalize import normalize

if TYPE_CHECKING:
    from spacy.language import Language
    from spacy.tokens import Doc

SPACY_BATCH = 256
"""Captions per forward pass; more gained nothing in measurements and costs memory."""

MAX_CACHED_WORDS = 500_000
"""Distinct words whose keys are remembered; the corpus's vocabulary is unbounded, memory is not."""


class WholeCaptions:
    """Runs a pipeline over captions and matches concepts.

    Parameters
    ----------
    nlp : spacy.language.Language
        Splits, tags and lemmatises.
    matcher : PhraseMatcher
        What to find.
    any_pos : bool
        Whether every word counts as a noun; then nothing is tagged.
    """

    def __init__(self, nlp: Language, matcher: PhraseMatcher, *, any_pos: bool) -> None:
        from spacy.symbols import NOUN, PROPN

        self._nlp = nlp
        self._matcher = matcher
        self._any_pos = any_pos
        self._nouns = frozenset({NOUN, PROPN})
        self._keys: dict[int, int] = {}
        self._hyphens = frozenset(nlp.vocab.strings.add(mark) for mark in HYPHENS)

    def __call__(self, captions: Sequence[str]) -> list[Annotated | str]:
        """Return the concepts of each caption, or how the pipeline failed on it.

        A caption on which the pipeline fails is found by halving, so that it is lost alone.
        """
        if not captions:
            return []
        # the zone frees new words: without it spaCy's string store grows with the corpus
        with self._nlp.memory_zone():
            try:
                docs = [self._nlp.make_doc(caption) for caption in captions]
                tagged = docs if self._any_pos else self._nlp.pipe(docs, batch_size=SPACY_BATCH)
                return [self._match(doc) for doc in tagged]
            except Exception as error:  # noqa: BLE001 -- any pipeline may fail on any caption
                if len(captions) == 1:
                    return [f"{type(error).__name__}: {error}"]
        half = len(captions) // 2
        return [*self(captions[:half]), *self(captions[half:])]

    def _match(self, doc: Doc) -> Annotated:
        from spacy.attrs import LEMMA, ORTH, POS

        surfaces: list[int] = []
        lemmas: list[int] = []
        nouns: list[bool] = []
        places: list[int] = []
        for place, (orth, lemma, pos) in enumerate(doc.to_array([ORTH, LEMMA, POS]).tolist()):
            if orth in self._hyphens:
                continue
            surface = self._key(orth)
            surfaces.append(surface)
            lemmas.append(self._key(lemma) if lemma and lemma != orth else surface)
            nouns.append(self._any_pos or pos in self._nouns)
            places.append(place)
        alike = self._matcher.find(surfaces, lemmas, [True] * len(nouns))
        if not alike:
            return NOTHING
        named = self._matcher.find(surfaces, lemmas, nouns)
        accepted = {(match.start, match.stop, match.concept_id) for match in named}
        place_of = _placer(doc, places)
        return Annotated(
            tuple(map(place_of, named)),
            tuple(
                place_of(match)
                for match in alike
                if (match.start, match.stop, match.concept_id) not in accepted
            ),
        )

    def _key(self, word: int) -> int:
        key = self._keys.get(word)
        if key is None:
            if len(self._keys) >= MAX_CACHED_WORDS:
                self._keys.clear()
            key = self._matcher.key(normalize(self._nlp.vocab.strings[word]))
            self._keys[word] = key
        return key


def _placer(doc: Doc, places: Sequence[int]) -> Callable[[Match], Mention]:
    def place_of(match: Match) -> Mention:
        last = doc[places[match.stop - 1]]
        start = doc[places[match.start]].idx
        return Mention(match.concept_id, start, last.idx + len(last.text))

    return place_of
