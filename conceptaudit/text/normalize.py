"""One normaliser for captions and concept names.

The published pipeline normalised its index and its queries by two different functions, so that a
proper noun could never match. Here both go through `normalize`, and `NORMALIZER` is part of every
digest: results made with another normaliser are never mixed.
"""

import re
import unicodedata

NORMALIZER = "nfkc-casefold-1"
"""Name and version of what `normalize` does; change it whenever a result could change."""

LONGEST_RUN = 200
"""Characters without white space after which marks are set apart.

spaCy peels marks off a run one by one, in time quadratic in its length: ten thousand emoji in a row
took 16 seconds.
"""

_LONG_RUN = re.compile(rf"\S{{{LONGEST_RUN},}}")
_MARK = re.compile(r"(\W)")
_FILE_ENDING = re.compile(r"\.(?:jpe?g|png|gif|webp|bmp|tiff?|svg|heic|avif)\b", re.IGNORECASE)
_APOSTROPHES = str.maketrans({"\u2019": "'", "\u02bc": "'", "\u2018": "'", "\u0060": "'"})
_QUALIFIER = re.compile(r"\s*\([^()]*\)\s*$")
_SEPARATORS = re.compile(r"[\s_]+")


def caption_text(caption: str) -> str:
    """Prepare a caption for the pipeline.

    Unicode is composed (NFKC) and control characters become spaces. A file's name becomes words,
    as web captions often are one: underscores and the ending go. The marks within a run of more
    than `LONGEST_RUN` characters without white space are set apart.

    Examples
    --------
    >>> caption_text("cafe" + chr(0x301)) == "caf" + chr(0xE9), caption_text("a" + chr(0) + "b")
    (True, 'a b')
    >>> caption_text("red_fox-2.jpg")
    'red fox-2 '
    """
    if not caption.isascii():
        caption = unicodedata.normalize("NFKC", caption)
    if not caption.isprintable():
        caption = "".join(" " if unicodedata.category(c) == "Cc" else c for c in caption)
    if "_" in caption:
        caption = caption.replace("_", " ")
    if "." in caption:
        caption = _FILE_ENDING.sub(" ", caption)
    if len(caption) >= LONGEST_RUN:
        caption = _LONG_RUN.sub(lambda run: _MARK.sub(r" \1 ", run.group()), caption)
    return caption


def normalize(text: str) -> str:
    """Fold a word to the form in which captions and concepts are compared.

    Unicode compatibility forms (NFKC) and case are folded and typographic apostrophes made
    plain; accents, digits and every script are kept.

    Examples
    --------
    >>> normalize("Café"), normalize("ﬁre"), normalize("ΣΊΣΥΦΟΣ")
    ('café', 'fire', 'σίσυφοσ')
    """
    folded = unicodedata.normalize("NFKC", text.translate(_APOSTROPHES)).casefold()
    return unicodedata.normalize("NFC", folded)


def phrase_text(name: str) -> str:
    """Turn a class name into the words that a caption would use for it.

    Underscores become spaces, and a qualifier in brackets at the end, which tells classes of the
    same name apart, is no part of the phrase.

    Examples
    --------
    >>> phrase_text("hot_dog"), phrase_text("bow_(weapon)"), phrase_text("crane (bird)")
    ('hot dog', 'bow', 'crane')
    """
    bare = _QUALIFIER.sub("", name)
    return _SEPARATORS.sub(" ", bare or name).strip()
