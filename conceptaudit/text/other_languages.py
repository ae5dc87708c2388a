"""Concepts in captions of languages other than English: the pipeline decides everything.

A word matches by its surface or its lemma, a phrase needs a noun anywhere, as the place of a head
is not known. There are no rules; what is spared is captions that cannot match: where a pipeline's
lemmas can be looked up (or it has none), those without any word that a phrase begins with are not
tagged, and equal captions are tagged once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from conceptaudit.records import ConceptVocabulary
from conceptaudit.text.matching import Matches
from conceptaudit.text.mentions import Found
from conceptaudit.text.phrases import PhraseTrie, hyphenations, is_skipped
from conceptaudit.text.pipeline import map_docs
from conceptaudit.text.rules import ACCEPT, REJECT
from conceptaudit.text.token_table import word_key
from conceptaudit.text.windows import splits_at_spaces

if TYPE_CHECKING:
    from spacy.language import Language
    from spacy.tokens import Doc

_MAX_CACHED = 500_000

_Row = tuple[int, int, int, int, bool]
"""Concept, alias, first and last character, whether some word of it is a noun."""


class WholeCaptions:
    """Runs a pipeline over captions and finds concepts by surfaces and lemmas."""

    def __init__(
        self, nlp: Language, vocabulary: ConceptVocabulary, *, any_pos: bool, nested: bool
    ) -> None:
        self._nlp = nlp
        self._any_pos = any_pos
        self._nested = nested
        self._trie = PhraseTrie(
            vocabulary,
            split=lambda phrase: [token.text for token in nlp.make_doc(phrase)],
            # inflections are known to the pipeline alone
            head_forms=lambda word, _alone: (word,),
            spellings=hyphenations,
        )
        self.unmatchable = self._trie.unmatchable
        self._lemmas = _lemma_table(nlp)
        # a corpus repeats its words
        self._may_match = lru_cache(maxsize=_MAX_CACHED)(self._run_may_match)

    def __call__(self, captions: Sequence[str]) -> Found:
        """Find the mentions in captions that have gone through ``caption_text``."""
        failures: dict[int, str] = {}
        numbers = [i for i, caption in enumerate(captions) if self._passes(caption)]
        texts = [captions[i] for i in numbers]
        disabled = self._nlp.pipe_names if self._any_pos else []
        rows: list[tuple[int, ...]] = []
        with self._nlp.select_pipes(disable=disabled):
            for i, found in zip(numbers, map_docs(self._nlp, texts, self._match), strict=True):
                if isinstance(found, Exception):
                    failures[i] = f"{type(found).__name__}: {found}"
                else:
                    rows += [(i, *row) for row in found]
        table = np.array(rows, dtype=np.int32).reshape(-1, 6)
        caption, concept, alias, start, stop, noun = table.T
        return Found(
            captions=caption,
            concepts=concept,
            aliases=alias,
            starts=start,
            stops=stop,
            accepted=noun.astype(bool),
            asked=np.full(len(rows), not self._any_pos),
            failures=failures,
        )

    def _passes(self, caption: str) -> bool:
        """Tell whether any word of a caption begins a phrase, as itself or by its lemma."""
        return self._lemmas is None or any(map(self._may_match, caption.split(" ")))

    def _run_may_match(self, run: str) -> bool:
        words = [token.text for token in self._nlp.make_doc(run)]
        lemmas = self._lemmas or _no_lemmas
        return any(
            _key(form) in self._trie.root for word in words for form in (word, *lemmas(word))
        )

    def _match(self, doc: Doc) -> list[_Row]:
        words = [(token, _key(token.text)) for token in doc]
        words = [
            (token, key)
            for (token, key), before in zip(words, ["", *(key for _, key in words)], strict=False)
            if key and not is_skipped(before, key)
        ]
        forms = [
            (key,) if not token.lemma or token.lemma == token.orth else (key, _key(token.lemma_))
            for token, key in words
        ]
        nouns = [self._any_pos or token.pos_ in {"NOUN", "PROPN"} for token, _ in words]
        found = [match for start in range(len(words)) for match in self._trie.walk(forms, start)]
        if not found:
            return []
        named = [m.ending.certain or any(nouns[m.start : m.stop]) for m in found]
        columns = np.array([(m.start, m.stop - 1, m.ending.concept_id) for m in found]).T
        matches = Matches(
            captions=np.zeros(len(found), dtype=np.int64),
            concepts=columns[2],
            aliases=columns[2],
            first=columns[0],
            last=columns[1],
            heads=columns[0],
            verdicts=np.where(named, ACCEPT, REJECT).astype(np.int8),
        )
        accepted = np.array(named)
        alike = np.ones(len(found), dtype=bool)
        if not self._nested:
            alike = ~matches.shadowed(alike)
            accepted &= ~matches.shadowed(accepted)
        rows = []
        for i in np.flatnonzero(accepted | alike).tolist():
            first, last = words[found[i].start][0], words[found[i].stop - 1][0]
            ending = found[i].ending
            stop = last.idx + len(last.text)
            rows.append((ending.concept_id, ending.alias, first.idx, stop, bool(accepted[i])))
        return sorted(rows, key=lambda row: (row[2], row[3], row[0]))


@lru_cache(maxsize=_MAX_CACHED)
def _key(word: str) -> str:
    return word_key(word).strip()


def _no_lemmas(word: str) -> Iterable[str]:  # noqa: ARG001 -- as a table gives them
    return ()


def _lemma_table(nlp: Language) -> Callable[[str], Iterable[str]] | None:
    """Return what gives every lemma that a word can get, or None where only the context tells."""
    if not splits_at_spaces(nlp):
        return None
    setters = [
        nlp.get_pipe(name)
        for name in nlp.pipe_names
        if "token.lemma" in nlp.get_pipe_meta(name).assigns
    ]
    known = {"tok2vec", "tagger", "morphologizer", "lemmatizer"}
    if not {nlp.get_pipe_meta(name).factory for name in nlp.pipe_names} <= known:
        return None
    if not setters:
        return _no_lemmas
    component: Any = setters[-1]
    if len(setters) > 1 or getattr(component, "mode", None) != "lookup":
        return None
    table = component.lookups.get_table("lemma_lookup")
    return lambda word: (table.get(word, word), table.get(word.lower(), word))
