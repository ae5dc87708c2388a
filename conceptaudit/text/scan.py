"""Counts of any words in captions, now: strings in all their forms, without a tagger.

A phrase is looked for in the spellings and plurals that an audit looks for ("blue cats",
"blue-cat"); what its words mean, and whether they are nouns, nobody asks. So counts are those of
``audit --pos any``. Words that stand apart ("the cat is blue") are found by asking for all of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from conceptaudit.datasets.base import CAPTION, Dataset, Shard
from conceptaudit.engine import open_engine
from conceptaudit.errors import ConfigError
from conceptaudit.options.engine import EngineChoice
from conceptaudit.progress import Progress, SilentProgress
from conceptaudit.records import SampleBatch
from conceptaudit.text.normalize import caption_text, normalize, phrase_text
from conceptaudit.text.phrases import AFTER_WHICH_NO_DOT, english_spellings, head_of, mark_of
from conceptaudit.text.word_forms import english_head_forms

_WORD = re.compile(r"[^\W_]+")
_BETWEEN = r"(?:\s+|\s*[-\x{2010}-\x{2015}']\s*)"
_LEFT, _RIGHT = r"(?:^|[^\pL\pN\pM])", r"(?:$|[^\pL\pN\pM']|'(?:$|[^t]))"
"""Around a match: no letter or digit; and the "can" of "can't" is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """What a caption must hold to be counted."""

    name: str
    phrases: tuple[str, ...]  # all must be in the caption
    # words from the first to the last of them, at most; None for anywhere in the caption
    near: int | None = None
    # whether only the words as they are given count, without plurals and other spellings
    exact: bool = False

    @property
    def forms(self) -> tuple[tuple[tuple[str, ...], ...], ...]:
        """The forms of each phrase, as words."""
        return tuple(phrase_forms(phrase, exact=self.exact) for phrase in self.phrases)


def phrase_forms(phrase: str, *, exact: bool = False) -> tuple[tuple[str, ...], ...]:
    """Return the forms of a phrase that captions may hold, as normalised words.

    >>> phrase_forms("blue cat")[:3]
    (('blue', 'cat'), ('blue', 'cats'), ('bluecat',))
    """
    text = phrase_text(phrase)
    forms: dict[tuple[str, ...], None] = {}
    for spelled in (text,) if exact else english_spellings(text):
        words = tuple(_WORD.findall(normalize(spelled)))
        if not words:
            continue
        head = head_of(words)
        heads = (words[head],) if exact else english_head_forms(words[head], len(words) == 1)
        for form in (words[head], *heads):
            forms[(*words[:head], form, *words[head + 1 :])] = None
    if not forms:
        raise ConfigError(f"{phrase!r} holds no word that could be counted.")
    return tuple(forms)


def pattern_of(forms: Iterable[Sequence[str]]) -> str:
    """Write forms as a regular expression of RE2, which takes linear time on any text."""
    written = []
    for words in forms:
        parts = [re.escape(words[0])]
        for before, word in pairwise(words):
            dot = r"\.?" if mark_of(before) == AFTER_WHICH_NO_DOT else ""
            parts.append(f"{dot}{_BETWEEN}{re.escape(word)}")
        written.append("".join(parts))
    return f"{_LEFT}(?:{'|'.join(written)}){_RIGHT}"


@dataclass(slots=True)
class Counted:
    """What a scan found; adds up."""

    # captions read, and samples without one
    n_captions: int = 0
    n_missing: int = 0
    counts: list[int] = field(default_factory=list)  # by query
    # by query, the first in the dataset's order
    examples: list[list[tuple[str, str]]] = field(default_factory=list)

    def add(self, other: Counted, n_examples: int) -> None:
        """Add what a later shard holds."""
        self.n_captions += other.n_captions
        self.n_missing += other.n_missing
        for i, n in enumerate(other.counts):
            self.counts[i] += n
            room = n_examples - len(self.examples[i])
            self.examples[i] += other.examples[i][:room]


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanShard:
    """Counts queries in the captions of one shard."""

    dataset: Dataset
    queries: tuple[Query, ...]
    n_examples: int = 5  # captions kept of each query

    def empty(self) -> Counted:
        """Return a count of nothing."""
        return Counted(counts=[0] * len(self.queries), examples=[[] for _ in self.queries])

    def __call__(self, shard: Shard) -> Counted:
        """Count a shard."""
        forms = [query.forms for query in self.queries]
        patterns = [[pattern_of(one) for one in each] for each in forms]
        total = self.empty()
        blocks: list[tuple[Sequence[str], Sequence[str]]] = []
        texts: list[str] = []
        for batch in self.dataset.read(shard, frozenset({CAPTION})):
            block_keys, held = _with_caption(batch)
            total.n_missing += len(batch) - len(held)
            total.n_captions += len(held)
            blocks.append((block_keys, held))
            texts += folded(held)
        ends = np.cumsum([len(captions) for _, captions in blocks])
        # all at once: RE2 builds its automaton anew for every call
        for i, query in enumerate(self.queries if texts else ()):
            hits = _hits(texts, patterns[i])
            if query.near is not None:
                near = [_are_near(texts[row], forms[i], query.near) for row in hits.tolist()]
                hits = hits[np.asarray(near, dtype=bool)]
            total.counts[i] += len(hits)
            for row in hits[: self.n_examples].tolist():
                block = int(np.searchsorted(ends, row, side="right"))
                keys, captions = blocks[block]
                at = row - int(ends[block])  # from the end
                total.examples[i].append((keys[at], captions[at]))
        return total


def _with_caption(batch: SampleBatch) -> tuple[Sequence[str], list[str]]:
    """Return keys and captions of the samples that have one."""
    given = batch.captions or []
    held = [caption for caption in given if caption is not None]
    if len(held) == len(batch):
        return batch.keys, held
    return [k for k, caption in zip(batch.keys, given, strict=True) if caption is not None], held


def folded(captions: Sequence[str]) -> list[str]:
    """Normalise captions as words are normalised; plain ones need lower case alone.

    >>> folded(["A Dog", "Caf\u00e9_au_lait.jpg"])
    ['a dog', 'cafe au lait']
    """
    joined = "\n".join(captions)
    if _is_plain(joined) and joined.count("\n") == len(captions) - 1:
        return joined.lower().split("\n")
    return [text.lower() if _is_plain(text) else normalize(caption_text(text)) for text in captions]


def _is_plain(text: str) -> bool:
    """Whether nothing is in a text that `caption_text` or `normalize` would change for a match."""
    return text.isascii() and not any(mark in text for mark in "&<_`")


def _hits(texts: Sequence[str], patterns: Sequence[str]) -> npt.NDArray[np.int64]:
    """Positions of the texts in which all patterns are found."""
    import pyarrow as pa
    import pyarrow.compute as pc

    array = pa.array(texts, type=pa.string())
    rows = np.arange(len(texts), dtype=np.int64)
    for pattern in patterns:
        inside = pc.match_substring_regex(array, pattern).to_numpy(zero_copy_only=False)
        rows, array = rows[inside], array.filter(pa.array(inside))
    return rows


def _are_near(text: str, forms: Sequence[Sequence[Sequence[str]]], near: int) -> bool:
    """Tell whether one occurrence of each phrase lies within so many words.

    >>> forms = [[("cat",)], [("blue",)]]
    >>> _are_near("the cat is blue", forms, 2), _are_near("the cat is very blue", forms, 2)
    (True, False)
    """
    words = _WORD.findall(text)
    places = [
        sorted(
            (start, start + len(form) - 1)
            for form in phrase
            for start in range(len(words) - len(form) + 1)
            if tuple(words[start : start + len(form)]) == tuple(form)
        )
        for phrase in forms
    ]
    # some phrase comes first: the others must end close enough behind its beginning
    for first in {start for phrase in places for start, _ in phrase}:
        if all(any(start >= first and stop - first <= near for start, stop in p) for p in places):
            return True
    return False


def count_queries(
    dataset: Dataset,
    queries: Sequence[Query],
    n_examples: int = 5,
    *,
    workers: int | EngineChoice | None = None,
    progress: Progress | None = None,
) -> Counted:
    """Count queries in all captions of a dataset."""
    if CAPTION not in dataset.provides:
        raise ConfigError(f"{dataset.location} has no captions to count in.")
    task = ScanShard(dataset=dataset, queries=tuple(queries), n_examples=n_examples)
    for query in queries:
        _ = query.forms  # refused before anything is read
    shards, told = dataset.shards(), progress or SilentProgress()
    told.start("count", len(shards))
    counts: dict[str, Counted] = {}
    for shard, counted in open_engine(workers, n_items=len(shards)).run(task, shards):
        counts[shard.name] = counted
        told.advance()
    told.finish()
    total = task.empty()
    for shard in shards:
        total.add(counts[shard.name], n_examples)
    return total
