"""Damage done to files on purpose, one function per kind of image fault, and to captions."""

import struct

WEB_PAGE = (
    b"<!DOCTYPE html>\n<html><head><title>404 Not Found</title></head>\n"
    b"<body><h1>Not Found</h1><p>The picture has moved.</p></body></html>\n"
)
"""What many servers send instead of a picture that is gone."""

BOMB_SIDE = 65_000
"""Pixels per side that a bomb claims: 4.2 billion, 12 GB once decoded. JPEG's limit is 65,535."""

LATIN_1_TAIL = b" caf\xe9"
"""One Latin-1 letter makes the whole caption invalid as UTF-8."""

_FRAME_HEADERS = (b"\xff\xc0", b"\xff\xc1", b"\xff\xc2")


def damage_image(content: bytes, kind: str) -> bytes | None:
    """Damage a JPEG file.

    Parameters
    ----------
    content : bytes
        A valid JPEG file.
    kind : str
        A corruption kind; kinds that do not concern images leave it as it is.

    Returns
    -------
    bytes or None
        The damaged file; None where it is missing.

    Examples
    --------
    >>> damage_image(b"0123456789", "truncated"), damage_image(b"0", "missing_image")
    (b'01234', None)
    """
    if kind == "truncated":
        return content[: len(content) // 2]
    if kind == "wrong_magic":
        return WEB_PAGE
    if kind == "bomb":
        return _claim_size(content, BOMB_SIDE)
    return None if kind == "missing_image" else content


def damage_caption(caption: str, kind: str) -> bytes | None:
    r"""Encode a caption as UTF-8 and damage it.

    Examples
    --------
    >>> damage_caption("a dog", "bad_utf8"), damage_caption("a dog", "empty_caption")
    (b'a dog caf\xe9', b'')
    """
    if kind == "bad_utf8":
        return caption.encode() + LATIN_1_TAIL
    if kind == "empty_caption":
        return b""
    return None if kind == "missing_caption" else caption.encode()


def _claim_size(content: bytes, side: int) -> bytes:
    """Write another height and width into a JPEG file's frame header (ITU-T T.81, B.2.2)."""
    position = 2
    while content[position : position + 2] not in _FRAME_HEADERS:
        (length,) = struct.unpack(">H", content[position + 2 : position + 4])
        position += 2 + length
    # Marker (2 bytes), length (2), precision (1), then height and width.
    size = struct.pack(">HH", side, side)
    return content[: position + 5] + size + content[position + 9 :]
