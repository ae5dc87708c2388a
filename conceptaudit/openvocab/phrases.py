"""Which nouns and noun phrases a tagged caption holds.

A *word* is the lemma of a noun or proper noun. A *phrase* is a longest run of adjectives and nouns
that ends in a noun, as in Justeson and Katz [1]_ without their prepositions: "two old red wine
bottles on a table" holds the phrase "old red wine bottle". Its head is lemmatised, words before
it stand as written; a run of more than N words gives its last N. A hyphen without spaces around it
joins words and is written as a space, so that "T-shirt" and "t shirt" are one entry. Everything
goes through the normaliser that audits use.

References
----------
.. [1] J. Justeson and S. Katz, "Technical terminology: some linguistic properties and an algorithm
   for identification in text", Natural Language Engineering 1(1), 1995.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from conceptaudit.options.vocab import PhraseRule
from conceptaudit.text.morphology import common_singular
from conceptaudit.text.normalize import normalize
from conceptaudit.text.paper import caption_key
from conceptaudit.text.word_classes import HYPHENS

if TYPE_CHECKING:
    from spacy.language import Language
    from spacy.tokens import Doc

WORD = "word"
PHRASE = "phrase"

_MAX_CACHED = 500_000


class PhraseFinder:
    """Finds the words and phrases of tagged captions.

    Parameters
    ----------
    nlp : spacy.language.Language
        The pipeline that tags the captions.
    rule : PhraseRule

    Examples
    --------
    >>> from conceptaudit.text.bundled import load_bundled
    >>> nlp = load_bundled()
    >>> find = PhraseFinder(nlp, PhraseRule())
    >>> sorted(find(nlp("two old wine bottles on a table")))
    [('phrase', 'old wine bottle'), ('word', 'bottle'), ('word', 'table'), ('word', 'wine')]
    """

    def __init__(self, nlp: Language, rule: PhraseRule) -> None:
        from spacy.symbols import ADJ, NOUN, PROPN

        self._rule = rule
        self._strings = nlp.vocab.strings
        self._nouns = frozenset({NOUN, PROPN})
        self._adjective = ADJ
        self._hyphens = frozenset(nlp.vocab.strings.add(mark) for mark in HYPHENS)
        self._english = nlp.lang == "en" and not rule.as_published
        self._spelled: dict[int, str] = {}

    def __call__(self, doc: Doc) -> frozenset[tuple[str, str]]:
        """Return a caption's distinct (kind, text) pairs."""
        found: set[tuple[str, str]] = set()
        for run in self._runs(doc):
            nouns = [i for i, (_, _, noun) in enumerate(run) if noun]
            if self._rule.words:
                found.update((WORD, self._noun(run[i][1])) for i in nouns)
            if self._rule.phrases and nouns:
                found.add((PHRASE, self._phrase(run[: nouns[-1] + 1])))
        return frozenset((kind, text) for kind, text in found if text)

    def _runs(self, doc: Doc) -> Iterator[list[tuple[int, int, bool]]]:
        """Longest runs of adjectives and nouns: (text, lemma, whether a noun) per word."""
        from spacy.attrs import LEMMA, ORTH, POS, SPACY

        run: list[tuple[int, int, bool]] = []
        apart = True
        for text, lemma, pos, spaced in doc.to_array([ORTH, LEMMA, POS, SPACY]).tolist():
            joins = text in self._hyphens and not apart and not spaced
            if not joins and (pos in self._nouns or pos == self._adjective):
                run.append((text, lemma or text, pos in self._nouns))
            elif run and not joins:
                yield run
                run = []
            apart = bool(spaced)
        if run:
            yield run

    def _phrase(self, run: Sequence[tuple[int, int, bool]]) -> str:
        head = self._noun(run[-1][1])
        words = [word for text, _, _ in run[:-1] if (word := self._spell(text))]
        kept = words[1 - self._rule.max_words :]
        return " ".join([*kept, head]) if kept and head else ""

    def _noun(self, lemma: int) -> str:
        spelled = self._spell(lemma)
        # some pipelines leave capitalised plurals as they are: "Photos" beside "photo"
        return common_singular(spelled) if self._english else spelled

    def _spell(self, word: int) -> str:
        spelled = self._spelled.get(word)
        if spelled is None:
            if len(self._spelled) >= _MAX_CACHED:
                self._spelled.clear()
            text = self._strings[word]
            if self._rule.as_published:
                spelled = caption_key(text).lower()
            else:
                spelled = " ".join(normalize(text).translate(_SPACES).split())
            if not any(
                unicodedata.category(c)[0] in "LN" or unicodedata.category(c) == "So"
                for c in spelled
            ):
                spelled = ""
            self._spelled[word] = spelled
        return spelled


_SPACES = str.maketrans(dict.fromkeys(HYPHENS, " "))
