"""Which parts of speech an English surface form can be, and the lemma it has as each of them.

The knowledge is a table of Open English WordNet lemmas with their irregular inflections; regular
inflections are undone by suffix rules (the detachment rules of WordNet's ``morphy(7WN)``). A short
list of exceptions, learnt from Universal Dependencies English-EWT, corrects both.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache, cached_property, lru_cache
from pathlib import Path

FACTORY = "conceptaudit_noun_lexicon"
"""Name of the bundled pipeline's component that decides by these forms (`noun_lexicon`)."""

NOUN_SINGULAR, NOUN_PLURAL = 1, 2
VERB_BASE, VERB_S, VERB_PAST, VERB_ING = 4, 8, 16, 32
ADJECTIVE, COMPARED, ADVERB = 64, 128, 256
MOSTLY_NOUN, SELDOM_NOUN, NEARLY_NOUN, ANIMATE = 512, 1024, 2048, 4096
ANY_NOUN = NOUN_SINGULAR | NOUN_PLURAL
ANY_OTHER = VERB_BASE | VERB_S | VERB_PAST | VERB_ING | ADJECTIVE | COMPARED | ADVERB

_POS_NAMES = {"NOUN": "n", "PROPN": "n", "VERB": "v", "AUX": "v", "ADJ": "a", "ADV": "r"}
# (suffix, replacement, inflection bit): WordNet's detachment rules.
_RULES = {
    "n": (
        ("s", "", NOUN_PLURAL),
        ("ses", "s", NOUN_PLURAL),
        ("xes", "x", NOUN_PLURAL),
        ("zes", "z", NOUN_PLURAL),
        ("ches", "ch", NOUN_PLURAL),
        ("shes", "sh", NOUN_PLURAL),
        ("men", "man", NOUN_PLURAL),
        ("ies", "y", NOUN_PLURAL),
    ),
    "v": (
        ("s", "", VERB_S),
        ("ies", "y", VERB_S),
        ("es", "e", VERB_S),
        ("es", "", VERB_S),
        ("ed", "e", VERB_PAST),
        ("ed", "", VERB_PAST),
        ("ied", "y", VERB_PAST),
        ("ing", "e", VERB_ING),
        ("ing", "", VERB_ING),
    ),
    "a": (
        ("er", "", COMPARED),
        ("est", "", COMPARED),
        ("er", "e", COMPARED),
        ("est", "e", COMPARED),
        ("ier", "y", COMPARED),
        ("iest", "y", COMPARED),
    ),
    "r": (),
}
_LAST_LETTERS = {pos: {suffix[-1] for suffix, _, _ in rules} for pos, rules in _RULES.items()}
_BASE = {"n": NOUN_SINGULAR, "v": VERB_BASE, "a": ADJECTIVE, "r": ADVERB}
CAPTION_NOUNS = frozenset({"t"})
"""Nouns in captions that web text uses otherwise: the t of "t-shirt", which is "don t" there."""

_ANIMATE_MARK = "*"
_MIN_STEM = 3  # of nouns: "gas" is no plural of the chemical symbol "Ga"
_NOT_PLURAL = ("ss", "us", "is", "os")  # endings of singulars: grass, bus, tennis, cosmos


@dataclass(frozen=True, slots=True, kw_only=True)
class LexiconEntry:
    """One lemma of the lexicon."""

    senses: Mapping[str, int]  # number of senses by part of speech: ``n``, ``v``, ``a`` or ``r``
    irregular: Mapping[str, tuple[str, ...]]  # irregular inflected forms by part of speech
    animate: bool = False  # whether it is mostly a person, an animal or a group of them, as a noun


class WordForms:
    """Parts of speech and lemmas of English surface forms.

    >>> entry = LexiconEntry(senses={"n": 2}, irregular={})
    >>> forms = WordForms(entries={"helmet": entry}, lemma_exceptions={}, not_nouns=[])
    >>> forms.is_noun_only("Helmets"), forms.lemma("Helmets", "NOUN")
    (True, 'helmet')
    """

    def __init__(
        self,
        *,
        entries: Mapping[str, LexiconEntry],
        lemma_exceptions: Mapping[tuple[str, str], str],
        not_nouns: Iterable[str],
        rare: Iterable[tuple[str, str]] = (),
    ) -> None:
        self.entries = dict(entries)
        # by (lower-cased form, universal part of speech), where the rules would say otherwise
        self.lemma_exceptions = dict(lemma_exceptions)
        # nouns only by the lexicon, which running text uses otherwise: "are", "at", "us"
        self.not_nouns = frozenset(not_nouns)
        # (lemma, part of speech) that running text hardly ever has: "table" as a verb
        self.rare = frozenset(rare)

    @cached_property
    def _irregular(self) -> dict[str, list[tuple[str, str]]]:
        table: dict[str, list[tuple[str, str]]] = {}
        for lemma, entry in self.entries.items():
            for pos, forms in entry.irregular.items():
                for form in forms:
                    if form != lemma:
                        table.setdefault(form, []).append((pos, lemma))
        return table

    def _has(self, lemma: str, pos: str) -> bool:
        entry = self.entries.get(lemma)
        return entry is not None and pos in entry.senses

    def _regular(self, form: str, pos: str) -> list[tuple[str, int]]:
        found: list[tuple[str, int]] = []
        if form[-1:] not in _LAST_LETTERS[pos]:
            return found
        for suffix, replacement, bit in _RULES[pos]:
            if form.endswith(suffix) and not (suffix == "s" and form.endswith("ss")):
                stem = form[: -len(suffix)] + replacement
                if (pos != "n" or len(stem) >= _MIN_STEM) and self._has(stem, pos):
                    found.append((stem, bit))
        return found

    def analyses(self, form: str) -> list[tuple[str, str, int]]:
        """All readings of a surface form.

        Returns part of speech (``n``, ``v``, ``a``, ``r``), lemma, and the inflection as one of
        this module's bits.
        """
        form = form.lower()
        readings = [(pos, form, bit) for pos, bit in _BASE.items() if self._has(form, pos)]
        for pos, lemma in self._irregular.get(form, ()):
            bit = {"n": NOUN_PLURAL, "a": COMPARED, "r": COMPARED}.get(pos)
            if bit is None:
                bit = VERB_ING if form.endswith("ing") else VERB_PAST
            readings.append((pos, lemma, bit))
        for pos in _RULES:
            readings += [(pos, lemma, bit) for lemma, bit in self._regular(form, pos)]
        return readings

    def code(self, form: str) -> int:
        """Bit set of all readings of a form, 0 for a form outside the lexicon."""
        readings = self.analyses(form)
        bits = 0
        nouns: dict[str, int] = {}
        others: dict[tuple[str, str], int] = {}
        for pos, lemma, bit in readings:
            bits |= bit
            n_senses = self.entries[lemma].senses.get(pos, 0)
            if pos == "n":
                nouns[lemma] = n_senses
            else:
                others[pos, lemma] = n_senses
        n_noun, n_other = sum(nouns.values()), sum(others.values())
        # Twice as many senses: a coarse prior, since the lexicon carries no frequencies.
        if nouns and others and n_noun >= 2 * n_other:
            bits |= MOSTLY_NOUN
        elif nouns and others and n_other >= 2 * n_noun:
            bits |= SELDOM_NOUN
        # "a table" may be "to table a motion", which captions hardly ever say, and then plainly
        if self.rare and nouns and others and all((w, pos) in self.rare for pos, w in others):
            bits |= NEARLY_NOUN
        if any(self.entries[lemma].animate for lemma in nouns):
            bits |= ANIMATE
        return bits

    def is_noun_only(self, form: str, code: int | None = None) -> bool:
        """Whether every reading of a form, over all lemmas it may inflect from, is a noun."""
        if form.lower() in CAPTION_NOUNS:
            return True
        if form.lower() in self.not_nouns:
            return False
        code = self.code(form) if code is None else code
        return bool(code & ANY_NOUN) and not code & ANY_OTHER

    def lemma(self, form: str, pos: str, *, plural: bool | None = None) -> str:
        """Lower-cased lemma of a form used as a given part of speech."""
        form = form.lower()
        known = self.lemma_exceptions.get((form, pos))
        if known is not None:
            return known
        wn_pos = _POS_NAMES.get(pos)
        if wn_pos is None or (pos == "PROPN" and not plural):
            return form  # "James" and "Paris" are no plurals
        if wn_pos == "n":
            return self._noun_lemma(form, pos, plural)
        irregular = [lemma for p, lemma in self._irregular.get(form, ()) if p == wn_pos]
        if irregular:
            return irregular[0]
        if self._has(form, wn_pos):
            return form
        regular = self._regular(form, wn_pos)
        return regular[0][0] if regular else form

    def _noun_lemma(self, form: str, pos: str, plural: bool | None) -> str:
        if form.endswith(("'s", "’s")):
            return self.lemma(form[:-2], pos)
        known = self._has(form, "n")
        irregular = [lemma for p, lemma in self._irregular.get(form, ()) if p == "n"]
        regular = self._regular(form, "n")
        # "cola" is a drink before it is several colons; "bases" are of base before of basis.
        if irregular and not known and not (irregular[0].endswith("is") and regular):
            return irregular[0]
        if regular and not (known and form.endswith(_NOT_PLURAL)):
            return regular[0][0]
        if known or not plural:
            return form
        if pos == "NOUN" and (form, "PROPN") in self.lemma_exceptions:
            return self.lemma_exceptions[form, "PROPN"]
        return strip_plural(form)

    def to_bytes(self) -> bytes:
        """Serialise to gzip'd text; equal tables give equal bytes."""
        lines = []
        for lemma, entry in sorted(self.entries.items()):
            senses = "".join(f"{pos}{n}" for pos, n in sorted(entry.senses.items()))
            irregular = ",".join(f"{p}{f}" for p, fs in sorted(entry.irregular.items()) for f in fs)
            animate = _ANIMATE_MARK if entry.animate else ""
            lines.append(f"{lemma}\t{senses}{animate}\t{irregular}".rstrip())
        for (form, pos), lemma in sorted(self.lemma_exceptions.items()):
            lines.append(f"!{pos}\t{form}\t{lemma}")
        lines += [f"-{form}" for form in sorted(self.not_nouns)]
        lines += [f"+{pos}\t{lemma}" for lemma, pos in sorted(self.rare)]
        return gzip.compress("\n".join(lines).encode(), compresslevel=9, mtime=0)

    @classmethod
    def from_bytes(cls, data: bytes) -> WordForms:
        """Read what ``to_bytes`` wrote."""
        entries: dict[str, LexiconEntry] = {}
        exceptions: dict[tuple[str, str], str] = {}
        not_nouns: list[str] = []
        rare: list[tuple[str, str]] = []
        # most lemmas share their few kinds of entry, each of which is parsed once
        kinds: dict[str, LexiconEntry] = {}
        for line in gzip.decompress(data).decode().split("\n"):
            lemma, _, rest = line.partition("\t")
            if lemma[:1] == "!":
                form, _, exception = rest.partition("\t")
                exceptions[form, lemma[1:]] = exception
            elif lemma[:1] == "-":
                not_nouns.append(line[1:])
            elif lemma[:1] == "+":
                rare.append((rest, lemma[1:]))
            elif rest:
                entry = kinds.get(rest)
                if entry is None:
                    entry = kinds[rest] = _parse_entry(*rest.partition("\t")[::2])
                entries[lemma] = entry
        return cls(entries=entries, lemma_exceptions=exceptions, not_nouns=not_nouns, rare=rare)


@lru_cache(maxsize=4)
def parse_forms(data: bytes) -> WordForms:
    """Parse a lexicon; all who hold the same one share it, and it is parsed once."""
    return WordForms.from_bytes(data)


def strip_plural(form: str) -> str:
    """Singular of a regular plural by spelling alone."""
    if not form.endswith("s") or form.endswith(_NOT_PLURAL) or len(form) <= _MIN_STEM:
        return form
    if form.endswith("ies") and len(form) > _MIN_STEM + 1:
        return form[:-3] + "y"
    if form.endswith(("ches", "shes", "xes", "sses", "zzes")):
        return form[:-2]
    return form[:-1]


def _parse_entry(senses: str, irregular: str) -> LexiconEntry:
    counts: dict[str, int] = {}
    pos = ""
    animate = senses.endswith(_ANIMATE_MARK)
    senses = senses.removesuffix(_ANIMATE_MARK)
    for character in senses:
        if character.isdigit():
            counts[pos] = counts[pos] * 10 + int(character)
        else:
            pos = character
            counts[pos] = 0
    forms: dict[str, tuple[str, ...]] = {}
    for item in filter(None, irregular.split(",")):
        forms[item[0]] = (*forms.get(item[0], ()), item[1:])
    return LexiconEntry(senses=counts, irregular=forms, animate=animate)


BUNDLED_FOLDER = Path(__file__).parent / "models" / "en_caption_nouns"
"""The bundled pipeline with its model card and its measured accuracy."""

LEXICON_FILE = "conceptaudit_noun_lexicon/word_forms.txt.gz"

_HISSING = ("s", "x", "z", "ch", "sh")
_VOWELS = "aeiou"
_SHORTEST_PLURAL = 3


@cache
def english_lexicon() -> WordForms:
    """Return the bundled lexicon of English forms."""
    return parse_forms((BUNDLED_FOLDER / LEXICON_FILE).read_bytes())


def lexicon_noun_senses(word: str) -> int:
    """Return the number of noun senses of a lower-case word in the lexicon; 0 for no noun.

    >>> lexicon_noun_senses("xylophone"), lexicon_noun_senses("quickly")
    (1, 0)
    """
    entry = english_lexicon().entries.get(word)
    return 0 if entry is None else entry.senses.get("n", 0)


def is_english_word(form: str) -> bool:
    """Tell whether the lexicon has a form, inflected or not, as any part of speech.

    >>> is_english_word("blackbirds"), is_english_word("poloshirt")
    (True, False)
    """
    return bool(english_lexicon().analyses(form))


_OTHER = """
as aas abs ans bs cola corps customs das diva divas dos genus genera ins kansas lei means mrs ms
opera premises res sos species spectacles trivia vas woods
"""
_OWN = """
arms blues boxers brakes briefs clothes contents drawers glasses goggles goods grounds hives jeans
letters manners maths minutes news overalls pants pliers rails savings scissors shears shorts slacks
spirits stays tights tongs trousers trunks waters works
"""
OTHER_PLURALS = frozenset(_OTHER.split())
"""Look like the plural of another noun, and are hardly ever meant as that: woods are no wood."""

_OWN_PLURALS = OTHER_PLURALS | frozenset(_OWN.split())
"""Things of their own, whose singular is another word in captions: "short" is no pair of shorts."""


@lru_cache(maxsize=100_000)
def english_singular(word: str) -> str:
    """Return the singular of a regular or irregular English plural, else the word itself.

    A plural that is a thing of its own is left alone: "glasses" as a concept means spectacles, and
    must not count every glass.

    >>> [english_singular(word) for word in ("apples", "mice", "shoes", "glasses", "bus")]
    ['apple', 'mouse', 'shoe', 'glasses', 'bus']
    """
    if word in _OWN_PLURALS or (lexicon_noun_senses(word) and len(word) <= _SHORTEST_PLURAL):
        return word
    return english_lexicon().lemma(word, "NOUN")


@lru_cache(maxsize=100_000)
def common_singular(word: str) -> str:
    """Return the singular of a plural that is no word of its own, else the word itself.

    >>> common_singular("photos"), common_singular("shoes"), common_singular("paris")
    ('photo', 'shoes', 'paris')
    """
    return word if lexicon_noun_senses(word) else english_lexicon().lemma(word, "NOUN")


@lru_cache(maxsize=100_000)
def english_plurals(word: str) -> tuple[str, ...]:
    """Return the plurals that an English noun may have, the lexicon's irregular ones first.

    >>> english_plurals("knife"), english_plurals("berry"), english_plurals("glass")
    (('knives', 'knifes'), ('berries',), ('glasses',))
    """
    entry = english_lexicon().entries.get(word)
    irregular = entry.irregular.get("n", ()) if entry is not None else ()
    if word.endswith(_HISSING):
        regular = f"{word}es"
    elif word.endswith("y") and word[-2:-1] not in _VOWELS:
        regular = f"{word[:-1]}ies"
    else:
        regular = f"{word}s"
    return tuple(dict.fromkeys((*irregular, regular)))


def english_head_forms(word: str, alone: bool) -> tuple[str, ...]:
    """Return the forms in which a caption may hold a phrase's head word.

    >>> [english_head_forms(word, True) for word in ("wood", "shoe", "apples")]
    [('wood',), ('shoe', 'shoes'), ('apples', 'apple')]
    """
    # a single letter is a name: an "iPhone Xs" is no "iPhone X"
    if len(word) < 2:
        return (word,)
    singular = english_singular(word)
    plurals = english_plurals(singular) if singular == word and word not in _OWN_PLURALS else ()
    # a plural with a meaning of its own is no form: "woods" is not counted for "wood". (Of
    # "glasses" the words around decide, see `conceptaudit.text.phrases`.)
    if alone:
        plurals = tuple(plural for plural in plurals if plural not in OTHER_PLURALS)
    return tuple(dict.fromkeys((word, singular, *plurals)))
