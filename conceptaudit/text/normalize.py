"""One normaliser for captions and concept names.

The published pipeline normalised its index and its queries by two different functions, so that a
proper noun could never match. Here both go through `normalize`, and `NORMALIZER` is part of every
digest: results made with another normaliser are never mixed.
"""

import html
import re
import unicodedata
from collections.abc import Iterable, Sequence

import numpy as np

NORMALIZER = "nfkc-casefold-latin-3"
"""Name and version of what this module does; change it whenever a result could change."""

LONGEST_RUN = 200
"""Characters without white space after which marks are set apart.

spaCy peels marks off a run one by one, in time quadratic in its length: ten thousand emoji in a row
took 16 seconds.
"""

_LONG_RUN = re.compile(rf"\S{{{LONGEST_RUN},}}")
_MARK = re.compile(r"(\W)")
_HTML_TAG = re.compile(r"</?[a-zA-Z][^<>]{0,300}>")
_FILE_ENDING = re.compile(
    r"\.(?:jpe?g|png|gif|webp|bmp|tiff?|svg|heic|avif)(?![\w?&/#=%+-])", re.IGNORECASE
)
_APOSTROPHES = str.maketrans(dict.fromkeys("\u2018\u2019\u02bc\u00b4\u0060\u2032", "'"))
_QUALIFIER = re.compile(r"\s*\([^()]*\)\s*$")
_SEPARATORS = re.compile(r"[\s_]+")
_LATIN_ACCENTS = re.compile(r"([a-z])[\u0300-\u036f]+")

_UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff]"
)
"""Letters of Thai, Lao, Burmese, Khmer, Japanese and Chinese."""

# Before NFKC, which would make a space with an accent of the acute that stands for an apostrophe.
# The soft hyphen, zero-width space and byte order mark divide no words; the bidirectional controls
# and variation selectors change how a word looks, not which it is. Joiners are kept: emoji and
# Persian need them.
_INVISIBLE = dict.fromkeys(
    (
        0xAD,
        0x200B,
        0x2060,
        0xFEFF,
        0xFE0E,
        0xFE0F,
        0x200E,
        0x200F,
        *range(0x202A, 0x202F),
        *range(0x2066, 0x206A),
    )
)
_SPELLED = str.maketrans(
    {
        "\u00b4": "'",
        "\u02bc": "'",
        "\u2010": "-",
        "\u2011": "-",
        "\u2212": "-",
        # trade marks are no letters, as NFKC has it: "Cup\u2122" is no "CupTM"
        **dict.fromkeys("\u2122\u2120\u00ae\u00a9", " "),
    }
)
_BREAK, _DOT, _TELLING = 1, 2, 3
_SPACE = 32
_CLASS_OF = np.zeros(256, dtype=np.uint8)
"""Of each byte of UTF-8: whether `caption_text` may have something to do where it stands."""
_CLASS_OF[:32] = _CLASS_OF[127:] = _CLASS_OF[list(b"&<_")] = _TELLING
_CLASS_OF[10], _CLASS_OF[ord(".")] = _BREAK, _DOT
_OPENS_ENDING = np.isin(np.arange(256), list(b"jpgwbtshaJPGWBTSHA"))
_CONTROLS = {"Cc": " ", "Zl": " ", "Zp": " ", "Cs": "\ufffd"}


def caption_text(caption: str) -> str:
    """Prepare a caption for the pipeline.

    HTML's entities are read and its tags become spaces. Unicode is composed (NFKC); invisible
    characters go, control characters become spaces and lone surrogates U+FFFD. A file's name
    becomes words, as web captions often are one: underscores and the ending go. The marks within
    a run of more than `LONGEST_RUN` characters without white space are set apart. White space is
    single spaces between words.

    >>> caption_text("cafe" + chr(0x301)) == "caf" + chr(0xE9), caption_text("a" + chr(0) + "b")
    (True, 'a b')
    >>> caption_text("red_fox-2.jpg"), caption_text("t" + chr(0x2011) + "shirt")
    ('red fox-2', 't-shirt')
    >>> caption_text("Salt &amp; <b>pepper</b>")
    'Salt & pepper'
    """
    if "&" in caption and ";" in caption:
        caption = html.unescape(caption)
    if "<" in caption:
        caption = _HTML_TAG.sub(" ", caption)
    if not caption.isascii():
        caption = _plain(caption)
    if not caption.isprintable():
        caption = _printable(caption)
    if "_" in caption:
        caption = caption.replace("_", " ")
    if "." in caption:
        caption = _FILE_ENDING.sub(" ", caption)
    if "  " in caption or caption[:1] == " " or caption[-1:] == " ":
        caption = " ".join(caption.split())
    if len(caption) >= LONGEST_RUN:
        caption = _LONG_RUN.sub(_set_apart, caption)
    return caption


def caption_texts(captions: Sequence[str]) -> list[str]:
    r"""Prepare many captions; nearly all need no change and are only looked at.

    >>> caption_texts(["a dog", "red_fox.jpg", "two\nlines"])
    ['a dog', 'red fox', 'two lines']
    """
    touched: set[int] = set()
    joined = "\n".join(captions)
    if joined.count("\n") >= len(captions):
        touched = {i for i, caption in enumerate(captions) if "\n" in caption}
        joined = "\n".join("" if i in touched else text for i, text in enumerate(captions))
    data = np.frombuffer(joined.encode("utf-8", "surrogatepass"), dtype=np.uint8)
    classes = _CLASS_OF[data]
    ends = np.append(np.flatnonzero(classes == _BREAK), len(data))
    endings = np.flatnonzero((classes[:-1] == _DOT) & _OPENS_ENDING[data[1:]])
    places = np.concatenate([np.flatnonzero(classes == _TELLING), endings])
    touched.update(np.unique(np.searchsorted(ends, places)).tolist())
    touched.update(np.flatnonzero(np.diff(ends, prepend=-1) > LONGEST_RUN).tolist())
    blank = (data == _SPACE) | (classes == _BREAK)
    wide = np.flatnonzero(blank[1:] & blank[:-1])
    touched.update(np.searchsorted(ends, wide).tolist())
    touched.update(np.searchsorted(ends, wide + 1).tolist())
    touched.update((0, len(captions) - 1))
    texts = list(captions)
    for i in touched & set(range(len(texts))):
        texts[i] = caption_text(texts[i])
    return texts


def _set_apart(run: re.Match[str]) -> str:
    return " ".join(_MARK.sub(r" \1 ", run.group()).split())


def _plain(text: str) -> str:
    return unicodedata.normalize("NFKC", text.translate(_INVISIBLE).translate(_SPELLED))


def _printable(text: str) -> str:
    return "".join(_CONTROLS.get(unicodedata.category(c), c) for c in text)


def n_unspaced(captions: Iterable[str]) -> int:
    """Count captions in scripts that put no spaces between words: Chinese, Japanese, Thai ….

    >>> n_unspaced(["a dog", "一只狗", "สุนัข", "犬 dog"])
    3
    """
    return sum(1 for text in captions if not text.isascii() and _UNSPACED.search(text))


def normalize(text: str) -> str:
    """Fold a word to the form in which captions and concepts are compared.

    Unicode compatibility forms (NFKC), case and the accents of Latin letters are folded, and
    typographic apostrophes made plain; digits and every other script are kept as they are. So
    "café" and "cafe" are one word, whichever of them the concept list has.

    >>> normalize("Café"), normalize("ﬁre"), normalize("ΣΊΣΥΦΟΣ")
    ('cafe', 'fire', 'σίσυφοσ')
    """
    if text.isascii():
        return text.translate(_APOSTROPHES).casefold()
    folded = unicodedata.normalize("NFKC", text.translate(_APOSTROPHES)).casefold()
    apart = unicodedata.normalize("NFKD", folded)
    return unicodedata.normalize("NFC", _LATIN_ACCENTS.sub(r"\1", apart))


def phrase_text(name: str) -> str:
    """Turn a class name into the words that a caption would use for it.

    Underscores become spaces, and a qualifier in brackets at the end, which tells classes of the
    same name apart, is no part of the phrase.

    >>> phrase_text("hot_dog"), phrase_text("bow_(weapon)"), phrase_text("crane (bird)")
    ('hot dog', 'bow', 'crane')
    """
    name = _printable(_plain(name))
    bare = _QUALIFIER.sub("", name)
    return _SEPARATORS.sub(" ", bare or name).strip()
