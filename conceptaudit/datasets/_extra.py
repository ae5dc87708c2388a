"""What a row says of its image besides caption and key: URL, licence, safety, scores, size.

Each of them is asked for under one name here, whatever the column is called: `EXTRA_ALIASES`.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from conceptaudit.datasets._columns import URL_ALIASES, first_column

URL, LICENSE, NSFW, UNSAFE_SCORE, WATERMARK_SCORE = "url", "license", "nsfw", "unsafe", "watermark"
DIGEST, SIMILARITY, AESTHETIC, WIDTH, HEIGHT = (
    "digest", "similarity", "aesthetic", "width", "height",
)  # fmt: skip

EXTRA_ALIASES: Mapping[str, Sequence[str]] = MappingProxyType(
    {
        URL: URL_ALIASES,
        LICENSE: ("license", "licence", "license_name", "license_url", "rights"),
        NSFW: ("nsfw",),
        UNSAFE_SCORE: (
            "punsafe", "p_unsafe", "nsfw_score_opennsfw2", "nsfw_score_gantman", "nsfw_score",
        ),
        DIGEST: ("image_digest",),
        WATERMARK_SCORE: ("pwatermark", "p_watermark", "watermark_score"),
        SIMILARITY: (
            "similarity", "clip_l14_similarity_score", "clip_b32_similarity_score",
            "clip_similarity_vitl14", "clip_similarity_vitb32",
        ),
        AESTHETIC: ("aesthetic", "aesthetic_score", "aesthetic_score_laion_v2"),
        WIDTH: ("original_width", "width"),
        HEIGHT: ("original_height", "height"),
    }
)  # fmt: skip
"""LAION-400M has NSFW (a word) and LICENSE, LAION-5B punsafe and pwatermark, COYO the scores; our
own embedding folders have the digest of the file that was embedded."""


def extra_columns(names: Sequence[str]) -> dict[str, str]:
    """Find the columns of a table (or the fields of a record) that say more of an image.

    Examples
    --------
    >>> extra_columns(["SAMPLE_ID", "URL", "LICENSE", "NSFW"])
    {'url': 'URL', 'license': 'LICENSE', 'nsfw': 'NSFW'}
    """
    found = {name: first_column(aliases, names) for name, aliases in EXTRA_ALIASES.items()}
    return {name: column for name, column in found.items() if column is not None}


def extra_of_records(records: Sequence[Any]) -> dict[str, list[Any]]:
    """Lay out what the JSON records of samples say, as columns of equal length.

    Examples
    --------
    >>> extra_of_records([{"punsafe": 0.9}, None])
    {'unsafe': [0.9, None]}
    """
    columns: dict[str, list[Any]] = {}
    for i, record in enumerate(records):
        if not isinstance(record, Mapping):
            continue
        for name, field in extra_columns([str(key) for key in record]).items():
            columns.setdefault(name, [None] * len(records))[i] = record.get(field)
    return columns
