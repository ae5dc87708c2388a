"""What a table says of its images without holding them: addresses and digests.

Used to find out whether an image stands in a table of pretraining data. Only columns that identify
the image itself are read: the ``hash`` of LAION's tables is made of the address and the caption.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from conceptaudit.datasets._rows import Cut
from conceptaudit.datasets._table_file import TableFile, open_table_file
from conceptaudit.datasets.base import DEFAULT_BATCH_ROWS, Dataset, Shard
from conceptaudit.datasets.table import TableDataset

URL = "url"
MD5, SHA256, PHASH = "md5", "sha256", "phash"
# Digest columns, by their names in any case; img2dataset and DataComp write the first two.
DIGESTS = (MD5, SHA256, PHASH)

HASH_BITS = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Identities:
    """Some rows of a table."""

    keys: list[str]  # external keys; the address, or file and row, where a table has none
    # by kind (`URL` and `DIGESTS`, those that the table has) each row's value: addresses as
    # `plain_url` gives them, digests in lower-case hex; None where a row has none
    columns: dict[str, list[str | None]]


def plain_url(url: str) -> str:
    """Fold away what does not change which file an address names.

    Scheme, fragment, a default port, the case of the host, and an empty path.

    Examples
    --------
    >>> plain_url("HTTPS://Example.ORG:443/a%20B.jpg?w=3#top")
    'example.org/a%20B.jpg?w=3'
    >>> plain_url("http://example.org") == plain_url("https://example.org/")
    True
    """
    text = url.strip()
    try:
        parts = urlsplit(text if "//" in text else f"//{text}")
        host, port = (parts.hostname or "").rstrip("."), parts.port
    except ValueError:  # a broken port or bracket: such an address can only equal itself
        return text
    where = host if port in (None, 80, 443) else f"{host}:{port}"
    query = f"?{parts.query}" if parts.query else ""
    return f"{where}{parts.path or '/'}{query}"


def is_url(text: str) -> bool:
    """Tell whether a key is an address.

    Examples
    --------
    >>> is_url("https://a.org/1.jpg"), is_url("shard-0/000017")
    (True, False)
    """
    return text.lower().startswith(("http://", "https://", "ftp://"))


def identity_kinds(dataset: Dataset) -> tuple[str, ...]:
    """Name the kinds of identity that a dataset's first shard offers; () for other layouts."""
    if not isinstance(dataset, TableDataset):
        return ()
    shards = dataset.shards()
    return tuple(_columns(dataset, shards[0])[1]) if shards else ()


def read_identities(dataset: Dataset, shard: Shard) -> Iterator[Identities]:
    """Read the identities of one shard of a table."""
    if not isinstance(dataset, TableDataset):
        return
    source, columns = _columns(dataset, shard)
    key = source.columns.identity
    key = None if key is not None and key.endswith(".path") else key
    names = list(dict.fromkeys([*columns.values(), *([key] if key else [])]))
    if not columns:
        return
    cut = Cut(start=shard.start, stop=shard.stop, offset=shard.offset)
    for rows in source.rows(cut, names, DEFAULT_BATCH_ROWS):
        keys = (
            [str(value) for value in rows.columns[key]]
            if key
            else [f"row {number}" for number in rows.numbers]
        )
        yield Identities(
            keys=keys,
            columns={
                kind: [_tidy(kind, value) for value in rows.columns[name]]
                for kind, name in columns.items()
            },
        )


def _columns(dataset: TableDataset, shard: Shard) -> tuple[TableFile, dict[str, str]]:
    source = open_table_file(shard.files[0], dataset.choice, required=False)
    lower: dict[str, str] = {}
    for name in source.names():
        lower.setdefault(name.strip().lower(), name)
    columns = {kind: lower[kind] for kind in DIGESTS if kind in lower}
    if source.columns.url is not None:
        columns = {URL: source.columns.url, **columns}
    return source, columns


def _tidy(kind: str, value: Any) -> str | None:
    if value is None or value == "":
        return None
    if kind == URL:
        return plain_url(str(value))
    if kind == PHASH and isinstance(value, int):
        return f"{value % (1 << HASH_BITS):016x}"
    return str(value).strip().lower()
