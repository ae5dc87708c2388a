"""Singulars of English head words, from the bundled lexicon."""

from functools import cache

from conceptaudit.text.word_forms import WordForms

LEXICON_FILE = "conceptaudit_noun_lexicon/word_forms.txt.gz"


@cache
def _word_forms() -> WordForms:
    from conceptaudit.text.bundled import bundled_path

    return WordForms.from_bytes((bundled_path() / LEXICON_FILE).read_bytes())


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
    forms = _word_forms()
    entry = forms.entries.get(word)
    if entry is not None and "n" in entry.senses:
        return word
    return forms.lemma(word, "NOUN")
