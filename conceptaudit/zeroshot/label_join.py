"""Every image of an evaluation set accounted for among the embeddings: what is on one side only.

An image without an embedding is in no number, an embedding of no image of the set is left out, and
both are counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from conceptaudit.artifacts import Json
from conceptaudit.datasets import IMAGE
from conceptaudit.display import quantity
from conceptaudit.reading import read_parquet
from conceptaudit.records import Drop
from conceptaudit.tagtable import SAMPLE, check_account, part_account
from conceptaudit.zeroshot.answers import UNKNOWN_CLASS, answer_notes
from conceptaudit.zeroshot.embedded import NOT_IN_SET
from conceptaudit.zeroshot.labels import SetLabels, image_drop

NO_EMBEDDING = "no_embedding"
AMBIGUOUS_KEY = "ambiguous_key"
"""Why an image of the set is in no number: nothing, or two different things, under its key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledPredictions:
    """What became of the images of a set among embeddings."""

    guesses: pd.DataFrame  # A row per image that is in the numbers, in the set's order
    account: Json  # of the set's images, as evaluating the images gives it
    drops: tuple[Drop, ...]  # images that are in no number
    notes: tuple[str, ...]


def join_labels(
    labels: SetLabels,
    join: str,
    tables: Sequence[pd.DataFrame],
    summaries: Sequence[Json],
    dropped: Sequence[pd.DataFrame],
) -> LabelledPredictions:
    """Put the shards' guesses together, and account for every image of the set."""
    empty = labels.table.iloc[:0].assign(guess_1=0)
    rows = pd.concat([*tables, empty.astype({"guess_1": "int32"})], ignore_index=True)
    # a key twice among the embeddings is no fault while both are guessed alike
    rows = rows.drop_duplicates()
    shared = labels.table.loc[labels.table[join].duplicated(keep=False), "key"]
    unclear = {*rows.loc[rows["sample_id"].duplicated(keep=False), "key"], *shared}
    guesses = rows[~rows["key"].isin(unclear)].sort_values("sample_id", ignore_index=True)
    missing = labels.table[~labels.table["sample_id"].isin(guesses["sample_id"])]
    why = {
        str(key): str(reason)
        for table in dropped
        for key, reason in zip(table["key"], table["reason"], strict=True)
    }
    drops = [
        image_drop(sample, key, AMBIGUOUS_KEY if key in unclear else why.get(key, NO_EMBEDDING))
        for sample, key in zip(missing["sample_id"].tolist(), missing["key"].tolist(), strict=True)
    ]
    drops = [*labels.drops, *drops]
    account = part_account(labels.n_rows, drops, part=IMAGE)
    check_account(account, len(guesses), "the evaluation set's images")
    return LabelledPredictions(
        guesses=guesses,
        account=account,
        drops=tuple(drops),
        notes=tuple(_notes(summaries, drops)),
    )


def _notes(summaries: Sequence[Json], drops: Sequence[Drop]) -> Iterator[str]:
    reasons = Counter(drop.reason for drop in drops)
    unknown = [drop.detail for drop in drops if drop.reason == UNKNOWN_CLASS]
    yield from answer_notes(sum(one["n_tied"] for one in summaries), unknown)
    n_extra = sum(one["dropped"].get(f"{IMAGE}:{NOT_IN_SET}", 0) for one in summaries)
    n_close = sum(one["n_close"] for one in summaries)
    if n_extra:
        yield f"Left out, being of no image of the set: {quantity(n_extra, 'embedding')}."
    if reasons[NO_EMBEDDING]:
        yield (
            f"In no number, having no embedding: {quantity(reasons[NO_EMBEDDING], 'image')} of the "
            "set."
        )
    if reasons[AMBIGUOUS_KEY]:
        yield (
            "In no number, having a key that another image has too: "
            f"{quantity(reasons[AMBIGUOUS_KEY], 'image')} of the set."
        )
    if n_close:
        yield (
            f"For {quantity(n_close, 'image')} the two best classes are closer than the rounding "
            "of stored vectors (float16): the images may put them in the other order."
        )


def embedding_drops(location: str | Path) -> pd.DataFrame:
    """List what an embedding folder of ours says could not be embedded: ``key, reason``."""
    files = sorted(Path(location).glob("dropped/*.parquet"))
    tables = [read_parquet(file, columns=["key", "part", "reason"]) for file in files]
    none = pd.DataFrame({"key": [], "part": [], "reason": []}, dtype="str")
    table = pd.concat([none, *tables], ignore_index=True)
    return table.loc[table["part"].isin([SAMPLE, IMAGE]), ["key", "reason"]]
