"""Captions and documents to the concepts that they name: rules first, a tagger for the rest."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import numpy.typing as npt

from conceptaudit.records import ConceptVocabulary
from conceptaudit.text.matching import CaptionMatcher, Matches
from conceptaudit.text.mentions import NO_MENTIONS, Annotated, Found, Mention
from conceptaudit.text.normalize import caption_text, caption_texts
from conceptaudit.text.other_languages import WholeCaptions
from conceptaudit.text.phrases import PhraseTrie, english_spellings
from conceptaudit.text.rules import ACCEPT, REJECT, UNDECIDED
from conceptaudit.text.sampling import Pairs, pairs_of
from conceptaudit.text.token_table import Words, split_words
from conceptaudit.text.windows import NounAsker
from conceptaudit.text.word_forms import english_head_forms

if TYPE_CHECKING:
    from spacy.language import Language


ZONE_CAPTIONS = 16_384
"""Captions worked on at a time: each distinct word of them is looked up once."""

MAX_DISTINCT = 400_000
"""Distinct words remembered; a corpus's vocabulary is unbounded, memory is not."""


class CaptionAnnotator:
    """Finds the concepts that captions name; one per process and tagger.

    In English a phrase counts where its head is a noun, which is decided by the phrase itself (a
    word that is only ever a noun, a phrase of several words), else by the rules of
    `conceptaudit.text.rules`, else by the pipeline. In other languages the pipeline decides all.
    """

    def __init__(
        self,
        nlp: Language,
        vocabulary: ConceptVocabulary,
        *,
        any_pos: bool,
        nested: bool,
        windows: bool = True,
    ) -> None:
        self.n_concepts = len(vocabulary)
        self._names = vocabulary.names
        self._nested = nested
        self._whole: WholeCaptions | None = None
        if nlp.lang != "en":
            self._whole = WholeCaptions(nlp, vocabulary, any_pos=any_pos, nested=nested)
            self.unmatchable = self._whole.unmatchable
            return
        trie = PhraseTrie(
            vocabulary,
            split=lambda phrase: [word for word, _ in split_words(phrase)],
            head_forms=english_head_forms,
            spellings=english_spellings,
        )
        self.unmatchable = trie.unmatchable
        self._matcher = CaptionMatcher(trie, any_pos=any_pos)
        self._ask = NounAsker(nlp, windows=windows)

    @property
    def can_sample(self) -> bool:
        """Whether pairs of caption and concept can be found before anything is tagged."""
        return self._whole is None

    def tag(self, captions: Sequence[str]) -> list[Annotated | str]:
        """Return the concepts of each caption, or how the pipeline failed on it."""
        annotated: list[Annotated | str] = []
        for start in range(0, len(captions), ZONE_CAPTIONS):
            zone = caption_texts(captions[start : start + ZONE_CAPTIONS])
            found = self.find(zone)
            here: list[Annotated | str] = [NO_MENTIONS] * len(zone)
            for caption, concepts in found.by_caption():
                here[caption] = concepts
            for caption, failure in found.failures.items():
                here[caption] = failure
            annotated += here
        return annotated

    def find(self, captions: Sequence[str], wanted: npt.NDArray[np.int64] | None = None) -> Found:
        """Find the mentions in captions."""
        # `wanted` holds caption * n_concepts + concept of the pairs to decide; others are left out
        if self._whole is not None:
            found = self._whole(captions)
            return found if wanted is None else found.select(self._is_wanted(found, wanted))
        words, matches = self._matches(captions)
        asked = matches.undecided
        if wanted is not None:
            several = matches.first != matches.last
            asked &= self._is_wanted(matches, wanted) | several
        verdicts, failures = self._asked(captions, words, matches, asked)
        accepted = verdicts == ACCEPT
        if not self._nested:
            alike = ~matches.shadowed(np.ones(len(matches), dtype=bool))
            accepted &= ~matches.shadowed(accepted)
            keep = accepted | alike
        else:
            keep = np.ones(len(matches), dtype=bool)
        if wanted is not None:
            keep &= self._is_wanted(matches, wanted)
        if failures:
            keep &= ~np.isin(matches.captions, list(failures))
        found = Found(
            captions=matches.captions.astype(np.int32),
            concepts=matches.concepts.astype(np.int32),
            aliases=matches.aliases.astype(np.int32),
            starts=words.starts[matches.first],
            stops=words.stops[matches.last],
            accepted=accepted,
            asked=asked,
            failures=failures,
        )
        return found.select(keep)

    def pairs(self, captions: Sequence[str]) -> Pairs:
        """Find which captions name which concepts as far as that needs no tagger."""
        words, matches = self._matches(captions)
        matches = matches.select(matches.verdicts != REJECT)
        if not self._nested:
            # what a phrase that is undecided might hide is as uncertain as the phrase
            several = matches.undecided & (matches.first != matches.last)
            hidden = matches.shadowed(~several) & ~matches.shadowed(~several, spare=several)
            matches = replace(
                matches, verdicts=np.where(hidden, UNDECIDED, matches.verdicts).astype(np.int8)
            )
        return pairs_of(words, matches, self._matcher, self._names)

    def _matches(self, captions: Sequence[str]) -> tuple[Words, Matches]:
        """Find the phrases, those hidden by longer ones left out, and decide by rules."""
        if len(self._matcher) > MAX_DISTINCT:
            self._matcher.forget()
        words = self._matcher.split(captions)
        matches = self._matcher(words)
        if not self._nested:
            several = matches.undecided & (matches.first != matches.last)
            matches = matches.select(~matches.shadowed(~matches.undecided, spare=several))
        return words, self._matcher.by_rules(words, matches)

    def _asked(
        self,
        captions: Sequence[str],
        words: Words,
        matches: Matches,
        asked: npt.NDArray[np.bool_],
    ) -> tuple[npt.NDArray[np.int8], dict[int, str]]:
        """Ask the pipeline about matches; return all verdicts, and failures by caption."""
        verdicts = matches.verdicts.copy()
        failures: dict[int, str] = {}
        heads, at = np.unique(matches.heads[asked], return_inverse=True)
        if not len(heads):
            return verdicts, failures
        places = zip(words.captions[heads].tolist(), words.starts[heads].tolist(), strict=True)
        where = list(places)
        answers = self._ask(captions, where)
        for (caption, _), answer in zip(where, answers, strict=True):
            if isinstance(answer, str):
                failures[caption] = answer
        nouns = np.array([answer is True for answer in answers], dtype=bool)
        verdicts[asked] = np.where(nouns[at], ACCEPT, REJECT)
        return verdicts, failures

    def _is_wanted(
        self, rows: Matches | Found, wanted: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.bool_]:
        pairs = rows.captions.astype(np.int64) * self.n_concepts + rows.concepts
        return np.isin(pairs, wanted)


PASSAGE_CHARS = 4_000
"""Longest passage: some 700 words, small enough to keep a batch of them in little memory."""

_PASSAGES_AT_ONCE = 512
_SENTENCE_END = re.compile(r"[.!?][\"')\]]*\s|[\u3002\uff01\uff1f]")
_SPACE = re.compile(r"\s")

Value = TypeVar("Value")


def passages(text: str, longest: int = PASSAGE_CHARS) -> Iterator[tuple[int, int]]:
    """Cut a text into passages of at most `longest` characters.

    >>> text = "A dog barks. A cat sleeps."
    >>> [text[start:stop] for start, stop in passages(text, 14)]
    ['A dog barks. ', 'A cat sleeps.']
    """
    start = 0
    while len(text) - start > longest:
        low, high = start + longest // 2, start + longest
        stop = text.rfind("\n", low, high) + 1
        if stop == 0:
            for end in (_SENTENCE_END, _SPACE):
                stops = [found.end() for found in end.finditer(text, low, high)]
                if stops:
                    stop = stops[-1]
                    break
        start, before = stop or high, start
        yield before, start
    if start < len(text) or not text:
        yield start, len(text)


def by_passage(
    read: Callable[[Sequence[str]], Sequence[Value]], documents: Sequence[str]
) -> Iterator[list[tuple[int, Value]]]:
    """Read documents passage by passage.

    Yields per document: where each passage starts in ``caption_text(document)`` and what was made
    of it.
    """
    waiting: list[tuple[str, list[tuple[int, int]]]] = []
    n_waiting = 0
    for document in documents:
        text = caption_text(document)
        spans = list(passages(text))
        waiting.append((text, spans))
        n_waiting += len(spans)
        if n_waiting >= _PASSAGES_AT_ONCE:
            yield from _read(read, waiting)
            waiting, n_waiting = [], 0
    yield from _read(read, waiting)


def _read(
    read: Callable[[Sequence[str]], Sequence[Value]],
    waiting: Sequence[tuple[str, list[tuple[int, int]]]],
) -> Iterator[list[tuple[int, Value]]]:
    pieces = [text[start:stop] for text, spans in waiting for start, stop in spans]
    found: list[Value] = []
    for first in range(0, len(pieces), _PASSAGES_AT_ONCE):
        found.extend(read(pieces[first : first + _PASSAGES_AT_ONCE]))
    results = iter(found)
    for _, spans in waiting:
        yield [(start, next(results)) for start, _ in spans]


def tag_documents(
    tag: Callable[[Sequence[str]], Sequence[Annotated | str]], documents: Sequence[str]
) -> list[Annotated | str]:
    """Tag documents of any length.

    Returns what each document names, with offsets into ``caption_text(document)``; how the pipeline
    failed where it failed on any passage.
    """
    return [_joined(parts) for parts in by_passage(tag, documents)]


def _joined(parts: Sequence[tuple[int, Annotated | str]]) -> Annotated | str:
    mentions: list[Mention] = []
    rejected: list[Mention] = []
    for offset, found in parts:
        if isinstance(found, str):
            return found
        for source, target in ((found.mentions, mentions), (found.rejected, rejected)):
            target.extend(Mention(m.concept_id, m.start + offset, m.stop + offset) for m in source)
    return Annotated(tuple(mentions), tuple(rejected)) if mentions or rejected else NO_MENTIONS
