"""Forms of English head words, from the bundled lexicon."""

from functools import cache, lru_cache

from conceptaudit.text.word_forms import WordForms, parse_forms

LEXICON_FILE = "conceptaudit_noun_lexicon/word_forms.txt.gz"

_HISSING = ("s", "x", "z", "ch", "sh")
_VOWELS = "aeiou"
_SHORTEST_PLURAL = 3


@cache
def english_lexicon() -> WordForms:
    """Return the bundled lexicon of English forms."""
    from conceptaudit.text.bundled import bundled_path

    return parse_forms((bundled_path() / LEXICON_FILE).read_bytes())


def _is_noun(word: str) -> bool:
    entry = english_lexicon().entries.get(word)
    return entry is not None and "n" in entry.senses


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
    if word in _OWN_PLURALS or (_is_noun(word) and len(word) <= _SHORTEST_PLURAL):
        return word
    return english_lexicon().lemma(word, "NOUN")


@lru_cache(maxsize=100_000)
def common_singular(word: str) -> str:
    """Return the singular of a plural that is no word of its own, else the word itself.

    >>> common_singular("photos"), common_singular("shoes"), common_singular("paris")
    ('photo', 'shoes', 'paris')
    """
    return word if _is_noun(word) else english_lexicon().lemma(word, "NOUN")


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

    >>> english_head_forms("wood", True), english_head_forms("shoe", True)
    (('wood',), ('shoe', 'shoes'))
    >>> english_head_forms("apples", True), english_head_forms("jean", True)
    (('apples', 'apple'), ('jean', 'jeans'))
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


def unchanged(word: str, alone: bool) -> tuple[str, ...]:  # noqa: ARG001 -- a `HeadForms`
    """Return the word alone: for languages whose inflections only the pipeline knows."""
    return (word,)
