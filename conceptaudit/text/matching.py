"""Phrases in many captions at once, and which of them can be told for nouns without context."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, fields, replace

import numpy as np
import numpy.typing as npt
import pandas as pd

from conceptaudit.text.phrases import (
    AFTER_WHICH_NO_DOT,
    ENDINGS,
    FULL_STOP,
    JOINT,
    Match,
    PhraseTrie,
    mark_of,
)
from conceptaudit.text.rules import ACCEPT, UNDECIDED, decide
from conceptaudit.text.token_table import Words, WordSplitter, ragged, without_tone, word_key
from conceptaudit.text.word_classes import CAPITAL, KNOWN, NOUN_ONLY, Around, listed, word_class
from conceptaudit.text.word_forms import VERB_ING, VERB_PAST

Mask = npt.NDArray[np.bool_]
Int32 = npt.NDArray[np.int32]
Int64 = npt.NDArray[np.int64]

_UNKNOWN = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class Matches:
    """Phrases found in captions, as columns of shape (n,); in order of their first word."""

    # the caption, the concept, and which of its phrases it is (0: its name)
    captions: Int64
    concepts: Int64
    aliases: Int64
    # places of the first and last word in `Words`
    first: Int64
    last: Int64
    heads: Int64  # place of the word that has to be a noun
    # `ACCEPT`, `REJECT`, or `UNDECIDED` where a tagger has to be asked
    verdicts: npt.NDArray[np.int8]

    def __len__(self) -> int:
        return len(self.captions)

    def select(self, chosen: npt.NDArray[np.bool_] | Int64) -> Matches:
        """Return some of them."""
        return Matches(
            **{column.name: getattr(self, column.name)[chosen] for column in fields(self)}
        )

    @property
    def undecided(self) -> Mask:
        """Which need a tagger."""
        undecided: Mask = self.verdicts == UNDECIDED
        return undecided

    def shadowed(self, accepted: Mask, *, spare: Mask | None = None) -> Mask:
        """Tell which matches an accepted match hides that is longer, or as long and earlier.

        `accepted` and `spare` have the shape (n,).
        """
        hidden = np.zeros(len(self), dtype=bool)
        for group in self._groups:
            # what overlaps with a match to spare may yet turn out otherwise, and stays as it is
            if spare is not None and spare[group].any():
                continue
            spans: list[tuple[int, int]] = []
            rows = [(self.first[i] - self.last[i], self.first[i], i) for i in group.tolist()]
            for _, start, i in sorted(rows):
                stop = self.last[i]
                if any(a <= stop and start <= b and (a, b) != (start, stop) for a, b in spans):
                    hidden[i] = True
                elif accepted[i]:
                    spans.append((start, stop))
        return hidden

    @property
    def _groups(self) -> list[Int64]:
        """Groups of overlapping matches that are not all of the same words."""
        order = np.lexsort((self.last, self.first))
        first, last = self.first[order], self.last[order]
        reach = np.maximum.accumulate(last) if len(last) else last
        begins = np.flatnonzero(np.append(True, first[1:] > reach[:-1]))
        sizes = np.diff(begins, append=len(order))
        several = begins[sizes > 1], sizes[sizes > 1]
        groups = [order[a : a + n] for a, n in zip(*several, strict=True)]
        return [
            group
            for group in groups
            if (self.first[group] != self.first[group[0]]).any()
            or (self.last[group] != self.last[group[0]]).any()
        ]


class CaptionMatcher:
    """Finds phrases in captions; remembers each distinct word."""

    def __init__(self, trie: PhraseTrie, *, any_pos: bool = False) -> None:
        self._trie = trie
        self._any_pos = any_pos
        self.forget()

    def forget(self) -> None:
        """Start with empty tables."""
        self.split = WordSplitter(self._learn)
        self.texts: list[str] = []
        """Each distinct word as captions have it."""
        self._forms: list[tuple[str, ...]] = []
        # of each word: its class, found when a rule wants it, and whether phrases skip it
        self._classes = _Rows(1, np.int64)
        self._marks = _Rows(1, np.int8)
        self._openings = _Rows(3, np.int32)  # first row of its endings, their number, if longer
        self._endings = _Rows(4, np.int32)  # concept, alias, verdict, guarded
        self._pairs: dict[int, bool] = {}

    def __len__(self) -> int:
        return len(self.split)

    def classes(self, ids: Int32) -> Int64:
        """Return the classes of words by number, shape (n,)."""
        classes: Int64 = self._classes.rows[ids, 0]
        unknown = np.unique(ids[classes == _UNKNOWN])
        for word in unknown.tolist():
            capital = CAPITAL if self.texts[word][:1].isupper() else 0
            self._classes.rows[word] = word_class(self._forms[word][0]) | capital
        return self._classes.rows[ids, 0] if len(unknown) else classes

    def key(self, word: int) -> str:
        """Return the form in which a distinct word is compared."""
        return self._forms[word][0]

    def __call__(self, words: Words) -> Matches:
        """Find the phrases in captions and decide where the word itself, or a rule, decides."""
        kept = np.flatnonzero(~_skipped(self._marks.rows[words.ids, 0], words.captions))
        ids = words.ids[kept]
        first, n, longer = self._openings.rows[ids].T
        rows, at = ragged(first, n)
        concept, alias, verdict, guarded = self._endings.rows[rows].T
        place = kept[at]
        columns = [place, place, place, concept, alias, verdict, guarded]
        begins = np.flatnonzero(longer[:-1])
        several = self._several(ids, words.captions[kept], begins)
        if len(several):
            several[:, :3] = kept[several[:, :3]]
            columns = [np.concatenate(pair) for pair in zip(columns, several.T, strict=True)]
        order = np.lexsort((columns[3], columns[1], columns[0]))
        start, last, head, concept, alias, verdict, guarded = (
            column[order].astype(np.int64) for column in columns
        )
        matches = Matches(
            captions=words.captions[start].astype(np.int64),
            concepts=concept,
            aliases=alias,
            first=start,
            last=last,
            heads=head,
            verdicts=verdict.astype(np.int8),
        )
        if not guarded.any():
            return matches
        around = self.around(words, matches.captions, start)
        is_drinkware = around.has(-1, listed("number")) | around.has(1, listed("drinkware_follows"))
        return matches.select((guarded == 0) | is_drinkware)

    def around(self, words: Words, captions: Int64, places: Int64) -> Around:
        """Return what stands around words at places of given captions."""
        is_near = np.zeros(int(words.captions[-1]) + 1 if len(words.captions) else 0, dtype=bool)
        is_near[captions] = True
        near = np.flatnonzero(is_near[words.captions])
        classes = self.classes(words.ids[near])
        return Around(classes, words.captions[near], np.searchsorted(near, places))

    def by_rules(self, words: Words, matches: Matches) -> Matches:
        """Decide what the rules decide."""
        asked = np.flatnonzero(matches.undecided)
        if not len(asked):
            return matches
        heads, at = np.unique(matches.heads[asked], return_inverse=True)
        verdicts = matches.verdicts.copy()
        verdicts[asked] = decide(self.around(words, matches.captions[asked], heads))[at]
        return replace(matches, verdicts=verdicts)

    def _several(self, ids: Int32, captions: Int32, begins: Int64) -> Int64:
        """Find phrases of several words; rows of first, last, head, concept … as places here."""
        begins = begins[captions[begins] == captions[begins + 1]]
        pairs = ids[begins].astype(np.int64) << 32 | ids[begins + 1]
        at, distinct = pd.factorize(pairs)
        leads = np.array([self._leads_on(pair) for pair in distinct.tolist()], dtype=bool)
        rows: list[tuple[int, ...]] = []
        ends = np.searchsorted(captions, captions, side="right") if len(begins) else captions
        for start in begins[leads[at]].tolist() if len(begins) else ():
            stop = min(int(ends[start]), start + self._trie.longest)
            forms = [self._forms[word] for word in ids[start:stop].tolist()]
            rows += [
                self._row(match, start, int(ids[start + match.ending.head]))
                for match in self._trie.walk(forms, 0)
                if match.stop > 1
            ]
        return np.array(rows, dtype=np.int64).reshape(-1, 7)

    def _row(self, match: Match, start: int, head_word: int) -> tuple[int, ...]:
        ending, head = match.ending, start + match.ending.head
        of_head = word_class(self._forms[head_word][0])
        perhaps_verb = of_head & (VERB_ING | VERB_PAST) and not of_head & NOUN_ONLY
        certain = self._any_pos or ending.certain or not perhaps_verb
        verdict = ACCEPT if certain else UNDECIDED
        return start, start + match.stop - 1, head, ending.concept_id, ending.alias, verdict, 0

    def _leads_on(self, pair: int) -> bool:
        known = self._pairs.get(pair)
        if known is None:
            forms = self._forms[pair >> 32], self._forms[pair & 0xFFFFFFFF]
            nodes = (self._trie.root.get(form, {}) for form in forms[0])
            known = self._pairs[pair] = any(
                second in node for node, second in itertools.product(nodes, forms[1])
            )
        return known

    def _learn(self, text: str) -> None:
        """Look a distinct word up."""
        key = word_key(text)
        plain = without_tone(key)
        forms = (key,) if plain == key else (key, plain)
        self.texts.append(text)
        self._forms.append(forms)
        self._classes.append(_UNKNOWN)
        self._marks.append(mark_of(key))
        nodes = [node for form in forms if (node := self._trie.root.get(form)) is not None]
        endings = dict.fromkeys(e for node in nodes for e in node.get(ENDINGS, ()))
        longer = any(len(node) > (ENDINGS in node) for node in nodes)
        bits = word_class(key) if endings else 0
        noun = bits & NOUN_ONLY or not bits & KNOWN
        self._openings.append(len(self._endings), len(endings), int(longer))
        for ending in endings:
            certain = self._any_pos or ending.certain or noun
            verdict = ACCEPT if certain else UNDECIDED
            self._endings.append(ending.concept_id, ending.alias, verdict, int(ending.guarded))


def _skipped(marks: npt.NDArray[np.integer], captions: Int32) -> Mask:
    """Tell which words do not count as such within phrases; see `phrases.is_skipped`."""
    shortened = np.zeros(len(marks), dtype=bool)
    shortened[1:] = (marks[:-1] == AFTER_WHICH_NO_DOT) & (captions[1:] == captions[:-1])
    skipped: Mask = (marks == JOINT) | ((marks == FULL_STOP) & shortened)
    return skipped


class _Rows:
    """Rows of integers that grow."""

    def __init__(self, width: int, kind: type[np.signedinteger]) -> None:
        self._array = np.zeros((0, width), dtype=kind)
        self._new: list[tuple[int, ...]] = []

    def __len__(self) -> int:
        return len(self._array) + len(self._new)

    @property
    def rows(self) -> npt.NDArray[np.signedinteger]:
        """What was appended."""
        if self._new:
            new = np.array(self._new, dtype=self._array.dtype)
            self._array = np.concatenate([self._array, new])
            self._new = []
        return self._array

    def append(self, *row: int) -> None:
        """Add a row."""
        self._new.append(row)
