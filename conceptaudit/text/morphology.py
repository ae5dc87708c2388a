"""Forms of English head words, from the bundled lexicon."""

from functools import cache

from conceptaudit.text.word_forms import WordForms, parse_forms

LEXICON_FILE = "conceptaudit_noun_lexicon/word_forms.txt.gz"

_HISSING = ("s", "x", "z", "ch", "sh")
_VOWELS = "aeiou"


@cache
def _word_forms() -> WordForms:
    from conceptaudit.text.bundled import bundled_path

    return parse_forms((bundled_path() / LEXICON_FILE).read_bytes())


def _is_noun(word: str) -> bool:
    entry = _word_forms().entries.get(word)
    return entry is not None and "n" in entry.senses


def lexicon_noun_senses(word: str) -> int:
    """Return the number of noun senses of a lower-case word in the lexicon; 0 for no noun.

    Examples
    --------
    >>> lexicon_noun_senses("xylophone"), lexicon_noun_senses("quickly")
    (1, 0)
    """
    entry = _word_forms().entries.get(word)
    return 0 if entry is None else entry.senses.get("n", 0)


def is_english_word(form: str) -> bool:
    """Tell whether the lexicon has a form, inflected or not, as any part of speech.

    Examples
    --------
    >>> is_english_word("blackbirds"), is_english_word("poloshirt")
    (True, False)
    """
    return bool(_word_forms().analyses(form))


def english_singular(word: str) -> str:
    """Return the singular of a regular or irregular English plural, else the word itself.

    A plural that is a word of its own is left alone: "glasses" as a concept means spectacles, and
    must not count every glass.

    Parameters
    ----------
    word : str
        One lower-case word.

    Examples
    --------
    >>> [english_singular(word) for word in ("apples", "mice", "glasses", "bus")]
    ['apple', 'mouse', 'glasses', 'bus']
    """
    return word if _is_noun(word) else _word_forms().lemma(word, "NOUN")


def english_plurals(word: str) -> tuple[str, ...]:
    """Return the plurals that an English noun may have, the lexicon's irregular ones first.

    Examples
    --------
    >>> english_plurals("knife"), english_plurals("berry"), english_plurals("glass")
    (('knives', 'knifes'), ('berries',), ('glasses',))
    """
    entry = _word_forms().entries.get(word)
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

    Parameters
    ----------
    word : str
        The head word, lower-case, as the concept list has it.
    alone : bool
        Whether it is the whole phrase. Then a plural that is a word of its own is no form of it:
        "glasses" is not counted for "glass", but "wine glasses" is for "wine glass".

    Examples
    --------
    >>> english_head_forms("glass", True), english_head_forms("glass", False)
    (('glass',), ('glass', 'glasses'))
    >>> english_head_forms("apples", True)
    ('apples', 'apple')
    """
    singular = english_singular(word)
    plurals = english_plurals(singular) if singular == word else ()
    if alone:
        plurals = tuple(plural for plural in plurals if not _is_noun(plural))
    return tuple(dict.fromkeys((word, singular, *plurals)))


def unchanged(word: str, alone: bool) -> tuple[str, ...]:  # noqa: ARG001 -- a `HeadForms`
    """Return the word alone: for languages whose inflections only the pipeline knows."""
    return (word,)
