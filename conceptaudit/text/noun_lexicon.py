"""The two spaCy parts of the bundled tagger that know a lexicon.

``conceptaudit.LexiconEmbed.v1`` is an embedding layer that tells the network which parts of speech
a word can be, beside its letters; ``conceptaudit_noun_lexicon`` is a component that runs after the
morphologizer, makes nouns of words that can be nothing else, and sets every lemma. Both are
registered by importing this module, which has to happen before ``spacy.load``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import srsly  # type: ignore[import-untyped] # ships no types
from numpy.typing import NDArray
from spacy.language import Language
from spacy.pipeline import Pipe
from spacy.strings import hash_string  # type: ignore[attr-defined] # a compiled module
from spacy.tokens import Doc
from spacy.util import registry
from spacy.vocab import Vocab
from thinc.api import HashEmbed, Maxout, Model, chain, concatenate

from conceptaudit.text.word_forms import (
    ANIMATE,
    ANY_NOUN,
    FACTORY,
    NOUN_PLURAL,
    NOUN_SINGULAR,
    WordForms,
    parse_forms,
)

EMBED_LAYER = "lexicon_embed"
N_FEATURES = 6
_FORMS_FILE = "word_forms.txt.gz"
_MAX_CACHED = 200_000  # distinct words whose features or lemmas are kept; web text never ends


def word_features(word: str, forms: WordForms) -> tuple[int, ...]:
    """Hashed features of one word.

    Returns ``N_FEATURES`` unsigned 64-bit hashes: lower-cased word, first three letters, last two,
    last four, shape, readings in the lexicon.
    """
    lower = word.lower()
    shape = ""
    for c in word[:12]:
        mark = "X" if c.isupper() else "x" if c.islower() else "d" if c.isdigit() else c
        if not shape.endswith(mark * 2):
            shape += mark
    # who is animate did not help the network, which has too few rows for twice the codes
    code = f"c{forms.code(lower) & ~ANIMATE}{lower in forms.not_nouns}"
    names = (lower, f"p{lower[:3]}", f"s{lower[-2:]}", f"S{lower[-4:]}", shape, code)
    return tuple(hash_string(name) for name in names)


class _WordEmbedder:
    """Forward pass of the embedding layer; remembers the features of words seen before."""

    def __init__(self) -> None:
        self._data = b""
        self._cache: dict[int, tuple[int, ...]] = {}

    def __call__(
        self,
        model: Model[list[Doc], list[Any]],
        docs: list[Doc],
        is_train: bool,
    ) -> tuple[list[Any], Callable[[list[Any]], list[Doc]]]:
        data = model.attrs["word_forms"]
        if data is not self._data:
            self._data, self._cache = data, {}
        lengths = [len(doc) for doc in docs]
        none = np.zeros(0, dtype="uint64")
        orths = np.concatenate([none, *(doc.to_array(["ORTH"]).ravel() for doc in docs)])
        if is_train:
            vectors, backprop = model.layers[0](self._rows(orths, docs), is_train)
        else:
            # No context yet: each distinct word of the batch is embedded once.
            distinct, places = np.unique(orths, return_inverse=True)
            vectors, backprop = model.layers[0](self._rows(distinct, docs), is_train)
            vectors = vectors[places]

        def finish(d_vectors: list[Any]) -> list[Doc]:
            backprop(model.ops.flatten(d_vectors))
            return docs

        return model.ops.unflatten(vectors, model.ops.asarray1i(lengths)), finish

    def _rows(self, orths: NDArray[Any], docs: list[Doc]) -> NDArray[np.uint64]:
        words = orths.tolist()
        cache = self._cache
        if len(cache) > _MAX_CACHED:
            cache.clear()
        new = [orth for orth in dict.fromkeys(words) if orth not in cache]
        if new:
            forms, strings = parse_forms(self._data), docs[0].vocab.strings
            cache.update((orth, word_features(strings[orth], forms)) for orth in new)
        rows = [cache[orth] for orth in words]
        return np.array(rows, dtype="uint64").reshape(len(rows), N_FEATURES)


def _initialize_embed(
    model: Model[list[Doc], list[Any]],
    X: list[Doc] | None = None,  # noqa: ARG001, N803 -- thinc calls it so
    Y: list[Any] | None = None,  # noqa: ARG001, N803 -- thinc calls it so
) -> None:
    model.layers[0].initialize(X=np.zeros((1, N_FEATURES), dtype="uint64"))


def build_lexicon_embed(width: int, rows: list[int]) -> Model[list[Doc], list[Any]]:
    """Embed words by their letters and their readings in a lexicon."""
    tables: list[Model[Any, Any]] = [
        HashEmbed(width, n, column=i, seed=7 + i, dropout=0.0) for i, n in enumerate(rows)
    ]
    mix: Model[Any, Any] = Maxout(width, width * len(rows), nP=3, dropout=0.0, normalize=True)
    return Model(
        EMBED_LAYER,
        _WordEmbedder(),
        init=_initialize_embed,
        layers=[chain(concatenate(*tables), mix)],
        attrs={"word_forms": b""},
        dims={"nO": width},
    )


registry.architectures.register("conceptaudit.LexiconEmbed.v1", func=build_lexicon_embed)


class NounLexicon(Pipe):
    """Make nouns of words that can be nothing else, and set every token's lemma.

    A token is made a ``NOUN`` if all readings of its form in the lexicon are nouns and running text
    does not use the form otherwise. A capitalised common noun that opens a text is no proper noun.
    Tokens that the tagger takes for nouns and every other tag stay as they are.
    """

    def __init__(self, vocab: Vocab, name: str = FACTORY) -> None:
        self.vocab = vocab
        self.name = name
        self._data = b""
        self._forms: WordForms | None = None
        self._cache: dict[tuple[int, int, int], tuple[str | None, str]] = {}

    @property
    def forms(self) -> WordForms:
        """The lexicon in use."""
        # kept here: finding it by its bytes compares half a megabyte, for every new word
        if self._forms is None:
            self._forms = parse_forms(self._data)
        return self._forms

    def set_forms(self, data: bytes) -> None:
        """Use the lexicon that ``WordForms.to_bytes`` wrote."""
        self._data, self._forms = data, None
        self._cache = {}

    def __call__(self, doc: Doc) -> Doc:
        """Correct the tags of a tagged document and set its lemmas."""
        if not len(doc) or not self._data:
            return doc
        self._open_with_common_noun(doc)
        cache, add_string = self._cache, self.vocab.strings.add
        for token, key in zip(doc, doc.to_array(["ORTH", "POS", "MORPH"]).tolist(), strict=True):
            decision = cache.get(tuple(key))
            if decision is None:
                if len(cache) >= _MAX_CACHED:
                    cache.clear()
                decision = cache[tuple(key)] = self._decide(
                    token.text, token.pos_, plural="Number=Plur" in str(token.morph)
                )
            number, lemma = decision
            # not cached as a hash: a memory zone forgets the string that it stands for
            token.lemma = add_string(lemma)
            if number is not None:
                token.pos_ = "NOUN"
                token.set_morph(f"Number={number}")  # type: ignore[attr-defined] # not in spaCy's stubs
        return doc

    def _decide(self, word: str, pos: str, *, plural: bool) -> tuple[str | None, str]:
        """Return the number to give a token that has to become a noun, and the lemma."""
        forms = self.forms
        forced = None if pos in {"NOUN", "PROPN"} else _forced_number(forms, word)
        return forced, _lemma(forms, word, pos, plural=plural, forced=forced)

    def _open_with_common_noun(self, doc: Doc) -> None:
        first = doc[0]
        if first.pos_ != "PROPN" or not first.text.istitle() or len(first.text) < 2:
            return
        in_name = len(doc) > 1 and (doc[1].pos_ == "PROPN" or doc[1].text[:1].isupper())
        if not in_name and self.forms.is_noun_only(first.text):
            plural = not self.forms.code(first.text) & NOUN_SINGULAR
            first.pos_ = "NOUN"
            number = "Plur" if plural else "Sing"
            first.set_morph(f"Number={number}")  # type: ignore[attr-defined] # not in spaCy's stubs

    def to_bytes(self, *, exclude: Iterable[str] = ()) -> bytes:  # noqa: ARG002 -- spaCy passes it
        """Serialise the lexicon."""
        packed: bytes = srsly.msgpack_dumps({"word_forms": self._data})
        return packed

    def from_bytes(self, data: bytes, *, exclude: Iterable[str] = ()) -> NounLexicon:  # noqa: ARG002 -- spaCy passes it
        """Read what ``to_bytes`` wrote."""
        self.set_forms(srsly.msgpack_loads(data)["word_forms"])
        return self

    def to_disk(self, path: str | Path, *, exclude: Iterable[str] = ()) -> None:  # noqa: ARG002 -- spaCy passes it
        """Write the lexicon into a folder."""
        folder = Path(path)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / _FORMS_FILE).write_bytes(self._data)

    def from_disk(self, path: str | Path, *, exclude: Iterable[str] = ()) -> NounLexicon:  # noqa: ARG002 -- spaCy passes it
        """Read what ``to_disk`` wrote."""
        self.set_forms((Path(path) / _FORMS_FILE).read_bytes())
        return self


@Language.factory(
    FACTORY, assigns=["token.pos", "token.morph", "token.lemma"], requires=["token.pos"]
)
def make_noun_lexicon(nlp: Language, name: str) -> NounLexicon:
    """Build an empty component; its lexicon comes with the pipeline's data."""
    return NounLexicon(nlp.vocab, name)


def _forced_number(forms: WordForms, word: str) -> str | None:
    """Return the number of a word that can be nothing but a noun, else None."""
    if not forms.is_noun_only(word):
        return None
    return "Plur" if forms.code(word) & ANY_NOUN == NOUN_PLURAL else "Sing"


def _lemma(forms: WordForms, word: str, pos: str, *, plural: bool, forced: str | None) -> str:
    if forced is not None:
        pos, plural = "NOUN", forced == "Plur"
    lemma = forms.lemma(word, pos, plural=plural)
    return _recase(lemma, word) if pos == "PROPN" else lemma


def _recase(lemma: str, word: str) -> str:
    if word.islower():
        return lemma
    if lemma == word.lower():
        return word
    if word.isupper() and len(word) > 1:
        return lemma.upper()
    return lemma[:1].upper() + lemma[1:] if word[:1].isupper() else lemma
