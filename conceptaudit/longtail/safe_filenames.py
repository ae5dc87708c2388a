"""Names that are safe on every file system, in tables and in images."""

import hashlib
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence

# Longest folder or key part: leaves room for the rest of a path on every file system.
MAX_NAME = 80

# Device names that Windows reserves in every folder, whatever the extension.
_RESERVED = frozenset(
    {"con", "prn", "aux", "nul", *(f"{port}{i}" for port in ("com", "lpt") for i in range(10))}
)

_UNSAFE = re.compile(r"[^A-Za-z0-9_-]+")
_FORMULA = re.compile(r"^['\s]*[=+\-@＝＋－＠]")


def safe_part(text: str, *, limit: int = MAX_NAME) -> str:
    """Turn any text into one path component of ASCII letters, digits, ``_`` and ``-``.

    Not unique: see `folder_names`. Never empty, never reserved, never longer than `limit`, and
    free of separators and dots, so that it cannot lead out of its folder.

    >>> safe_part("Saint Bernard/../x"), safe_part("crêpe"), safe_part("nul")
    ('Saint_Bernard-x', 'crepe', 'nul_')
    """
    plain = unicodedata.normalize("NFKD", text)
    plain = "".join(char for char in plain if not unicodedata.combining(char))
    plain = re.sub(r"[\s.]*\.[\s.]*|\s+", "_", plain.strip().strip("."))
    plain = re.sub(r"_*-[_-]*", "-", _UNSAFE.sub("-", plain))
    plain = plain.strip("-_")[:limit].rstrip("-_") or "unnamed"
    return f"{plain[: limit - 1]}_" if plain.casefold() in _RESERVED else plain


def folder_names(names: Sequence[str]) -> tuple[str, ...]:
    """Give each name a folder name of its own.

    Names that would share a folder on a case-insensitive file system, that are cut, or whose
    letters ASCII cannot hold (so that look-alikes stay apart) carry a digest of the full name.

    >>> folder_names(["dog", "great dane"])
    ('dog', 'great_dane')
    >>> folder_names(["Dog", "dog"]) == folder_names(["dog", "Dog"])[::-1]
    True
    """
    parts = [safe_part(name) for name in names]
    shared = Counter(part.casefold() for part in parts)
    kept = [
        shared[part.casefold()] == 1 and _is_told(name)
        for name, part in zip(names, parts, strict=True)
    ]
    for digits in (8, 16, 64):
        folders = tuple(
            part
            if keep
            else f"{part[: MAX_NAME - digits - 1].rstrip('-_')}-{_digest(name, digits)}"
            for name, part, keep in zip(names, parts, kept, strict=True)
        )
        if len({folder.casefold() for folder in folders}) == len(folders):
            return folders
    raise AssertionError("distinct names have distinct SHA-256 digests")


def _is_told(name: str) -> bool:
    """Whether `safe_part` leaves a name that a reader would recognise as this one only."""
    return name.isascii() and len(name) <= MAX_NAME and any(char.isalnum() for char in name)


def _digest(name: str, digits: int) -> str:
    return hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:digits]


def plain_text(text: str) -> str:
    r"""Put text on one line without control, format (such as bidirectional) or broken characters.

    >>> plain_text("a\tb\x1b[31m")
    'a b�[31m'
    """
    if text.isascii() and text.isprintable():
        return text
    text = re.sub(r"[\t\r\n\v\f\x85\u2028\u2029]+", " ", text)
    return "".join("\ufffd" if _is_unshown(char) else char for char in text)


def _is_unshown(char: str) -> bool:
    # the two joiners are part of how Persian, Hindi and emoji are written
    return unicodedata.category(char) in {"Cc", "Cf", "Cs"} and char not in "\u200c\u200d"


def csv_text(text: str) -> str:
    """Make text inert in a spreadsheet: one line, and never a formula.

    >>> csv_text("=1+1"), csv_text("a cat")
    ("'=1+1", 'a cat')
    """
    text = plain_text(text)
    return f"'{text}" if _FORMULA.match(text) else text
