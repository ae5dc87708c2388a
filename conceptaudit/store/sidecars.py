"""Reading the head of a shard's record without parsing what it holds.

A record of a vocabulary of many concepts is a long list of numbers. Whether it is whole, what it
was made from and which files belong to it can be told from its bytes, ten times as fast.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass

_HEX = 64
_BEGIN = b'{"digest":"'
_FILES = b'","files":'
_SUM = b'"sha256":"'


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordHead:
    """What a record says of itself."""

    digest: str  # of what it was made from
    files: dict[str, str]  # digests of the files beside it, by name


def read_head(data: bytes) -> RecordHead | None:
    """Read the head of a record that was written as canonical JSON and matches its checksum.

    Examples
    --------
    >>> body = b'{"digest":"%s","files":{},"result":[1],"shard":"0"}' % (64 * b"a")
    >>> own = b'"sha256":"%s",' % hashlib.sha256(body).hexdigest().encode()
    >>> read_head(body[:-11] + own + body[-11:]).files
    {}
    >>> read_head(body)
    """
    # the keys are sorted, so the checksum stands between the result and the shard's name
    at = data.rfind(_SUM)
    stop = at + len(_SUM) + _HEX
    if not data.startswith(_BEGIN) or at < 0 or data[stop : stop + 2] != b'",':
        return None
    summed = hashlib.sha256(data[:at])
    summed.update(data[stop + 2 :].rstrip(b"\n"))
    if summed.hexdigest().encode() != data[at + len(_SUM) : stop]:
        return None
    end = len(_BEGIN) + _HEX
    if data[end : end + len(_FILES)] != _FILES:
        return None
    # the object of files is text alone: names and digests
    begin = end + len(_FILES)
    close = data.find(b"}", begin) + 1
    try:
        files = json.loads(data[begin:close])
    except ValueError:
        return None
    if not isinstance(files, dict):
        return None
    return RecordHead(digest=data[len(_BEGIN) : end].decode("ascii", "replace"), files=files)
