"""Long documents in passages that a pipeline can hold, put together again afterwards.

A document counts once for a concept, however often and wherever it names it; nothing of it is cut
off. Passages end at a line's end where there is one, else at a sentence's, else between words.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from conceptaudit.text.mentions import NO_MENTIONS, Annotated, Mention
from conceptaudit.text.normalize import caption_text

PASSAGE_CHARS = 4_000
"""Longest passage: some 700 words, small enough to keep a batch of them in little memory."""

_PASSAGES_AT_ONCE = 512
_SENTENCE_END = re.compile(r"[.!?][\"')\]]*\s|[\u3002\uff01\uff1f]")
_SPACE = re.compile(r"\s")

Found = TypeVar("Found")


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
    read: Callable[[Sequence[str]], Sequence[Found]], documents: Sequence[str]
) -> Iterator[list[tuple[int, Found]]]:
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
    read: Callable[[Sequence[str]], Sequence[Found]],
    waiting: Sequence[tuple[str, list[tuple[int, int]]]],
) -> Iterator[list[tuple[int, Found]]]:
    pieces = [text[start:stop] for text, spans in waiting for start, stop in spans]
    found: list[Found] = []
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
