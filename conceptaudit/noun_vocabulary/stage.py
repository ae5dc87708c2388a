"""The listing stage: a shard's captions to how often each noun and noun phrase occurs in it.

Which nouns and noun phrases a tagged caption holds.

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
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING

import pandas as pd

from conceptaudit.artifacts import Json, package_versions
from conceptaudit.datasets.base import CAPTION, CAPTION_UNIT, Shard
from conceptaudit.engine.stage import ShardResult
from conceptaudit.options.vocab import PhraseRule
from conceptaudit.records import Drop, SampleBatch
from conceptaudit.tagtable import check_account, drop_table, part_account
from conceptaudit.text.annotator import by_passage
from conceptaudit.text.normalize import NORMALIZER, caption_text, normalize
from conceptaudit.text.paper import caption_key
from conceptaudit.text.pipeline import NounPipeline, load_pipeline, map_docs
from conceptaudit.text.tagger import gather
from conceptaudit.text.word_classes import HYPHENS
from conceptaudit.text.word_forms import common_singular

if TYPE_CHECKING:
    from spacy.language import Language
    from spacy.tokens import Doc


COUNTS, PAIRS, KEYS = ".parquet", ".pairs.parquet", ".keys.parquet"
"""Tables of a shard: entries with their counts; which entry which caption of which key holds; how
many captions each key has. The last two are needed only for keys that other shards have too."""

Entry = tuple[str, str]
"""Kind and text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NounLister:
    """Lists the nouns and noun phrases of captions."""

    pipeline: NounPipeline  # splits, tags and lemmatises
    rule: PhraseRule
    # how many captions of a key are looked at, the first ones; None for all
    captions_per_image: int | None = None
    unit: str = CAPTION_UNIT  # documents are read passage by passage and count once
    name: str = field(default="nouns", init=False)
    parts: frozenset[str] = field(default=frozenset({CAPTION}), init=False)

    @property
    def settings(self) -> Json:
        """Everything that can change a shard's counts."""
        return {
            "stage": self.name,
            "pipeline": self.pipeline.digest,
            "rule": asdict(self.rule),
            "captions_per_image": self.captions_per_image,
            "unit": self.unit,
            "normalizer": NORMALIZER,
            "versions": package_versions("spacy"),
        }

    def __call__(self, shard: Shard, batches: Iterator[SampleBatch]) -> ShardResult:
        """List one shard."""
        counted = _Counted(shard.name, self.captions_per_image)
        drops: list[Drop] = []
        n_rows = n_used = 0
        for batch in gather(batches, 1):
            drops.extend(batch.drops)
            n_rows += batch.n_rows
            for i, entries in enumerate(self._entries(batch.captions)):
                if isinstance(entries, Exception):
                    drops.append(batch.failure(i, f"{type(entries).__name__}: {entries}"))
                    continue
                n_used += 1
                key = batch.keys[i]
                counted.add(key, entries, own=key == str(batch.sample_ids[i]))
        account = part_account(n_rows, drops, part=CAPTION)
        check_account(account, n_used, f"captions of shard {shard.name}")
        return ShardResult(
            summary=account, tables={**counted.tables(), ".drops.parquet": drop_table(drops)}
        )

    def _entries(self, texts: Sequence[str]) -> Iterator[frozenset[Entry] | Exception]:
        nlp = load_pipeline(self.pipeline.name)
        find = PhraseFinder(nlp, self.rule)
        if self.unit == CAPTION_UNIT:
            yield from map_docs(nlp, [caption_text(text) for text in texts], find)
            return
        for parts in by_passage(lambda pieces: map_docs(nlp, pieces, find), texts):
            failed = [found for _, found in parts if isinstance(found, Exception)]
            sets = [found for _, found in parts if not isinstance(found, Exception)]
            yield failed[0] if failed else frozenset[Entry]().union(*sets)


class _Counted:
    """The counts of one shard."""

    def __init__(self, shard: str, limit: int | None) -> None:
        self._shard = shard
        self._limit = limit
        self._captions: Counter[Entry] = Counter()
        self._images: Counter[Entry] = Counter()
        self._of_key: dict[str, set[Entry]] = {}
        self._rank: Counter[str] = Counter()
        self._pairs: list[tuple[str, str, str, int]] = []

    def add(self, key: str, entries: frozenset[Entry], *, own: bool) -> None:
        """Count a caption; `own` says that its key is its row, which no other caption can have."""
        if own:
            self._captions.update(entries)
            self._images.update(entries)
            return
        rank = self._rank[key]
        self._rank[key] = rank + 1
        if self._limit is not None and rank >= self._limit:
            return
        self._captions.update(entries)
        known = self._of_key.setdefault(key, set())
        self._images.update(entries - known)
        known |= entries
        self._pairs.extend((kind, text, key, rank) for kind, text in sorted(entries))

    def tables(self) -> dict[str, pd.DataFrame]:
        """Lay the counts out as tables, in an order that depends on nothing but the shard."""
        counts = pd.DataFrame(
            [
                (kind, text, n, self._images[kind, text])
                for (kind, text), n in sorted(self._captions.items())
            ],
            columns=["kind", "text", "n_captions", "n_images"],
        )
        pairs = pd.DataFrame(self._pairs, columns=["kind", "text", "key", "rank"])
        keys = pd.DataFrame(list(self._rank.items()), columns=["key", "n"])
        return {
            COUNTS: counts,
            PAIRS: pairs.assign(shard=self._shard),
            KEYS: keys.assign(shard=self._shard),
        }


WORD = "word"
PHRASE = "phrase"

_MAX_CACHED = 500_000


class PhraseFinder:
    """Finds the words and phrases of tagged captions.

    >>> from conceptaudit.text.pipeline import load_bundled
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
        # a corpus repeats its words
        self._spell = lru_cache(maxsize=_MAX_CACHED)(self._normalized)

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

    def _normalized(self, word: int) -> str:
        text = self._strings[word]
        if self._rule.as_published:
            spelled = caption_key(text).lower()
        else:
            spelled = " ".join(normalize(text).translate(_SPACES).split())
        categories = map(unicodedata.category, spelled)
        return spelled if any(c[0] in "LN" or c == "So" for c in categories) else ""


_SPACES = str.maketrans(dict.fromkeys(HYPHENS, " "))
