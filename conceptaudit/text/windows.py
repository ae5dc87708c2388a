"""Asking a spaCy pipeline whether words are nouns, by no more words around them than it can see.

A convolutional tagger sees a fixed number of words to either side: the same word among the same
words gets the same tag, whatever caption it stands in. So only that window is tagged, and equal
windows once. Where the reach cannot be read off the pipeline (transformers, components we do not
know), it gets whole captions, each distinct one once.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from conceptaudit.text.word_forms import FACTORY

if TYPE_CHECKING:
    from spacy.language import Language
    from spacy.tokens import Doc, Token

WINDOWS_PER_BATCH = 256
CAPTIONS_PER_BATCH = 256
"""Texts per forward pass; more gained nothing in measurements and costs memory."""

_MAX_CACHED = 500_000
_NOUN_TAGS = frozenset({"NN", "NNS", "NNP", "NNPS"})
"""Of the Penn Treebank, for pipelines whose tagger sets no universal part of speech."""

_WORD_BY_WORD = frozenset(
    {
        *("dropout", "extract_features", "hashembed", "ints-getitem", "layernorm", "lexicon_embed"),
        *("linear", "list2ragged", "maxout", "mish", "ragged2list", "relu", "softmax"),
        *("softmax_v2", "static_vectors", "tok2vec-listener"),
    }
)
"""Layers of thinc and spaCy that look at one word at a time."""

_TAGGERS = frozenset({"tok2vec", "tagger", "morphologizer"})
_LEMMATIZERS = frozenset({"lemmatizer", "trainable_lemmatizer"})


_Window = tuple[tuple[str, ...], tuple[bool, ...], int]
"""Words, whether a space follows each, and the place of the one that is asked about."""


class NounAsker:
    """Tells of words in captions whether a pipeline takes them for nouns."""

    def __init__(self, nlp: Language, *, windows: bool = True) -> None:
        self._nlp = nlp
        # whole captions are slower and give the same, which tests use; a tokenizer that is not
        # spaCy's own may split a run differently where others stand around it
        self.reach = reach_of(nlp) if windows and splits_at_spaces(nlp) else None
        needless = {
            name for name in nlp.pipe_names if nlp.get_pipe_meta(name).factory in _LEMMATIZERS
        }
        if self.reach is not None:
            # ours makes nouns of words that are only nouns, about which nobody is asked
            needless |= {n for n in nlp.pipe_names if nlp.get_pipe_meta(n).factory == FACTORY}
        self._rulers = _rulers(nlp) if self.reach is not None else ()
        self._needless = [*needless, *self._rulers]
        tokenizer: Any = nlp.tokenizer
        self._special = frozenset(getattr(tokenizer, "rules", None) or ())
        # a corpus repeats its words
        self._split_run = lru_cache(maxsize=_MAX_CACHED)(self._words_of)
        self._is_ruled_noun = lru_cache(maxsize=_MAX_CACHED)(self._ruled)

    def __call__(self, captions: Sequence[str], words: Sequence[tuple[int, int]]) -> list[Any]:
        """Ask about words."""
        # the zone frees new words: without it spaCy's string store grows with the corpus
        with self._nlp.memory_zone(), self._only_what_is_needed():
            return (
                self._by_caption(captions, words)
                if self.reach is None
                else self._by_window(captions, words)
            )

    def _only_what_is_needed(self) -> AbstractContextManager[Any]:
        return self._nlp.select_pipes(disable=self._needless)

    def _by_caption(self, captions: Sequence[str], words: Sequence[tuple[int, int]]) -> list[Any]:
        asked: dict[str, list[tuple[int, int]]] = {}
        for number, (caption, start) in enumerate(words):
            asked.setdefault(captions[caption], []).append((number, start))
        answers: list[Any] = [False] * len(words)
        texts = list(asked)
        for text, doc in zip(texts, self._tagged(texts, CAPTIONS_PER_BATCH), strict=True):
            for number, start in asked[text]:
                answers[number] = doc if isinstance(doc, str) else self._at(doc, start)
        return answers

    def _at(self, doc: Doc, start: int) -> bool:
        token = _token_at(doc, start)
        return token is not None and self._is_noun(token)

    def _by_window(self, captions: Sequence[str], words: Sequence[tuple[int, int]]) -> list[Any]:
        reach = self.reach or 0
        windows: dict[_Window, list[int]] = {}
        answers: list[Any] = [False] * len(words)
        for number, (caption, start) in enumerate(words):
            try:
                window = self._cut(captions[caption], start, reach)
            except Exception as error:  # noqa: BLE001 -- any tokenizer may fail on any caption
                answers[number] = f"{type(error).__name__}: {error}"
            else:
                windows.setdefault(window, []).append(number)
        asked = list(windows)
        for window, tagged in zip(asked, self._tagged(asked, WINDOWS_PER_BATCH), strict=True):
            answer = tagged if isinstance(tagged, str) else self._is_noun(tagged[window[2]])
            for number in windows[window]:
                answers[number] = answer
        return answers

    def _cut(self, caption: str, start: int, reach: int) -> _Window:
        """Cut a window: runs of characters between single spaces are split alone."""
        runs = caption.split(" ")
        here = caption.count(" ", 0, start)
        own, places = self._split_run(runs[here])
        within = start - (caption.rfind(" ", 0, start) + 1)
        middle = max(bisect_right(places, within) - 1, 0)
        last = len(runs) - 1
        words = list(own)
        spaces = [False] * (len(own) - 1) + [here < last]
        at, end = here, here
        while middle < reach and at:
            at -= 1
            before = self._split_run(runs[at])[0]
            words[:0] = before
            spaces[:0] = [False] * (len(before) - 1) + [True]
            middle += len(before)
        while len(words) <= middle + reach and end < last:
            end += 1
            after = self._split_run(runs[end])[0]
            words += after
            spaces += [False] * (len(after) - 1) + [end < last]
        low, high = max(0, middle - reach), middle + reach + 1
        return tuple(words[low:high]), tuple(spaces[low:high]), middle - low

    def _words_of(self, run: str) -> tuple[list[str], list[int]]:
        """Split a run of characters; return words and the places where they start."""
        if self._is_one_word(run):
            return [run], [0]
        doc = self._nlp.make_doc(run)
        return [token.text for token in doc], [token.idx for token in doc]

    def _is_one_word(self, run: str) -> bool:
        """Tell that the tokenizer would find nothing to split off: far cheaper than splitting."""
        tokenizer: Any = self._nlp.tokenizer
        searches = (tokenizer.prefix_search, tokenizer.suffix_search)
        return (
            run != ""
            and run not in self._special
            and not any(search is not None and search(run) for search in searches)
            and (tokenizer.infix_finditer is None or not any(tokenizer.infix_finditer(run)))
        )

    def _tagged(self, texts: Sequence[Any], batch_size: int) -> Iterator[Doc | str]:
        """Yield each text tagged, or how that failed, which is found by halving."""
        for start in range(0, len(texts), 4 * batch_size):
            yield from self._block(texts[start : start + 4 * batch_size], batch_size)

    def _block(self, texts: Sequence[Any], batch_size: int) -> list[Doc | str]:
        from spacy.tokens import Doc

        vocab = self._nlp.vocab
        try:
            docs = [
                self._nlp.make_doc(text)
                if isinstance(text, str)
                else Doc(vocab, words=list(text[0]), spaces=list(text[1]))
                for text in texts
            ]
            return list(self._nlp.pipe(docs, batch_size=batch_size))
        except Exception as error:  # noqa: BLE001 -- any pipeline may fail on any caption
            if len(texts) == 1:
                return [f"{type(error).__name__}: {error}"]
        half = len(texts) // 2
        return [*self._block(texts[:half], batch_size), *self._block(texts[half:], batch_size)]

    def _is_noun(self, token: Token) -> bool:
        if not self._rulers:
            return _has_noun_tag(token)
        # the rulers' rules are about single words, so a word and its tag are asked about once
        return self._is_ruled_noun(token.text, token.tag_, bool(token.whitespace_))

    def _ruled(self, text: str, tag: str, space: bool) -> bool:
        from spacy.tokens import Doc

        doc = Doc(self._nlp.vocab, words=[text], spaces=[space])
        doc[0].tag_ = tag
        for name in self._rulers:
            ruler: Any = self._nlp.get_pipe(name)
            doc = ruler(doc)
        return _has_noun_tag(doc[0])


def reach_of(nlp: Language) -> int | None:
    """Return how many words to either side a pipeline's part of speech depends on.

    >>> from conceptaudit.text.pipeline import load_bundled
    >>> reach_of(load_bundled())
    6
    """
    reach = 0
    for name in nlp.pipe_names:
        component: Any = nlp.get_pipe(name)
        factory = nlp.get_pipe_meta(name).factory
        if factory in _TAGGERS:
            for layer in component.model.walk():
                if layer.name == "expand_window":
                    reach += layer.attrs["window_size"]
                elif not layer.layers and layer.name not in _WORD_BY_WORD:
                    return None
        elif factory == "attribute_ruler":
            if name not in _rulers(nlp):
                return None
        elif factory not in _LEMMATIZERS and factory != FACTORY:
            return None
    return reach


def _rulers(nlp: Language) -> tuple[str, ...]:
    """Return the attribute rulers whose rules about parts of speech are about single words."""
    found = []
    for name in nlp.pipe_names:
        if nlp.get_pipe_meta(name).factory != "attribute_ruler":
            continue
        component: Any = nlp.get_pipe(name)
        rules = [
            {"patterns": [tokens for tokens in rule["patterns"] if not any(map(_never, tokens))]}
            for rule in component.patterns
            if {"POS", "TAG", "MORPH"} & set(rule["attrs"])
        ]
        asked = {key for r in rules for tokens in r["patterns"] for word in tokens for key in word}
        single = all(len(tokens) == 1 for rule in rules for tokens in rule["patterns"])
        if single and asked <= {"TAG", "LOWER", "ORTH", "TEXT", "NORM", "IS_SPACE", "SHAPE"}:
            found.append(name)
    return tuple(found)


def _never(token: dict[str, Any]) -> bool:
    """Tell whether a rule asks for a dependency, which nothing sets: no parser is run."""
    asked = token.get("DEP", {})
    if isinstance(asked, str):
        return asked != ""
    return "" not in asked.get("IN", [""]) or "" in asked.get("NOT_IN", ())


def splits_at_spaces(nlp: Language) -> bool:
    """Tell whether a pipeline's tokenizer is spaCy's own, which splits by white space first."""
    tokenizer: Any = nlp.tokenizer
    kind = type(tokenizer)
    if (kind.__module__, kind.__name__) != ("spacy.tokenizer", "Tokenizer"):
        return False
    return not any(len(rule.split()) > 1 for rule in tokenizer.rules or ())


def _has_noun_tag(token: Token) -> bool:
    return token.pos_ in {"NOUN", "PROPN"} or (not token.pos and token.tag_ in _NOUN_TAGS)


def _token_at(doc: Doc, start: int) -> Token | None:
    """Return the token that a character belongs to."""
    low, high = 0, len(doc)
    while low < high:
        middle = (low + high) // 2
        if doc[middle].idx + len(doc[middle].text) <= start:
            low = middle + 1
        else:
            high = middle
    return doc[low] if low < len(doc) and doc[low].idx <= start else None
