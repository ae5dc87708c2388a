"""Spellings of class names: what is the same name in two lists."""

import re
import unicodedata

_SEPARATORS = re.compile(r"[\s_\-\u2010-\u2015]+")


def normalise_name(name: str) -> str:
    """Fold what differs between two spellings of one class name.

    Unicode compatibility forms and case are folded; runs of spaces, underscores and hyphens
    become one space.

    Examples
    --------
    >>> normalise_name("Golden_Retriever") == normalise_name("golden-retriever ")
    True
    """
    folded = unicodedata.normalize("NFKC", name).casefold()
    return _SEPARATORS.sub(" ", unicodedata.normalize("NFC", folded)).strip()
