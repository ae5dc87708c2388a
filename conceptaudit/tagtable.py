"""The tables and accounts that text and image stages write for one shard."""

from collections import Counter
from collections.abc import Sequence
from functools import lru_cache

import pandas as pd

from conceptaudit.artifacts import Json
from conceptaudit.display import quantity
from conceptaudit.errors import AccountError
from conceptaudit.records import Drop, Tags

TAG_COLUMNS = ("sample_id", "key", "concept_id", "modality", "score")
DROP_COLUMNS = ("sample_id", "key", "part", "reason", "detail")

SAMPLE = "sample"
NOTE = "note"


def tag_table(tags: Tags, *, modality: str) -> pd.DataFrame:
    """Lay tags out as the table that is written per shard."""
    return pd.DataFrame(
        {
            "sample_id": tags.sample_ids,
            "key": pd.Series(list(tags.keys), dtype="str"),
            "concept_id": tags.concept_ids,
            "modality": pd.Series([modality] * len(tags), dtype="str"),
            "score": tags.scores,
        }
    )


def drop_table(drops: Sequence[Drop]) -> pd.DataFrame:
    """Lay drops out as the table that is written per shard, in sample order."""
    if not drops:  # as nearly always
        return _no_drops()
    ordered = sorted(drops, key=lambda d: (d.sample_id, d.part, d.reason, d.key))
    return pd.DataFrame(
        [(d.sample_id, d.key, d.part, d.reason, d.detail) for d in ordered],
        columns=list(DROP_COLUMNS),
    )


@lru_cache(maxsize=1)
def _no_drops() -> pd.DataFrame:
    return pd.DataFrame([], columns=list(DROP_COLUMNS))


def part_account(n_rows: int, drops: Sequence[Drop], *, part: str) -> Json:
    """Account for one part (captions or images) of a shard's samples."""
    dropped = Counter(f"{d.part}:{d.reason}" for d in drops if d.part in (SAMPLE, part))
    n_sample_drops = sum(1 for d in drops if d.part == SAMPLE)
    return {
        "n_samples": n_rows + n_sample_drops,
        "n_used": n_rows + n_sample_drops - sum(dropped.values()),
        "dropped": dict(sorted(dropped.items())),
        "noted": dict(sorted(Counter(d.reason for d in drops if d.part == NOTE).items())),
    }


def check_account(account: Json, n_used: int, where: str) -> None:
    """Check that every sample is either used or dropped for a reason."""
    if account["n_used"] != n_used:
        raise AccountError(
            f"The account of {where} does not add up: {quantity(account['n_samples'], 'sample')}, "
            f"{sum(account['dropped'].values()):,} dropped, but {n_used:,} used. "
            "This is a defect of the reader; please report it."
        )
