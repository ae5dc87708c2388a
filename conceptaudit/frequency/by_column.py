"""What a dataset's columns say of its samples, over all of them and concept by concept.

Numbers (similarity, probabilities, sizes) are added up as whole parts of 2^-20 and values are
counted, so that shards merge exactly, in any order.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from conceptaudit.artifacts import ShardStore, digest_of, write_parquet
from conceptaudit.datasets._columns import (
    AESTHETIC,
    HEIGHT,
    LICENSE,
    NSFW,
    SIMILARITY,
    UNSAFE_SCORE,
    URL,
    WATERMARK_SCORE,
    WIDTH,
)
from conceptaudit.datasets.base import EXTRA, LANGUAGE, Dataset, Shard
from conceptaudit.errors import ConfigError
from conceptaudit.frequency.counting import read_tags

NAME = "columns"
AUTO_COLUMNS = "auto"
HOST, STATUS = "host", "status"
NUMBERS = (SIMILARITY, UNSAFE_SCORE, WATERMARK_SCORE, AESTHETIC, WIDTH, HEIGHT)
VALUES = (NSFW, LICENSE, LANGUAGE, HOST, STATUS)

# LAION-2B's least similarity, the limits of its aesthetic subsets for the next two, and the least
# predicted score of LAION-Aesthetics v2.
LIMITS = {SIMILARITY: 0.28, UNSAFE_SCORE: 0.5, WATERMARK_SCORE: 0.8, AESTHETIC: 4.5}
BEYOND, UNIT = ">= limit", 1 << 20
OVERALL = -1  # stands for all samples instead of a concept
TOP = 20
_COLUMNS = ("concept_id", "column", "value", "n", "total")
_HOST = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]*://(?:[^/?#@]*@)?(\[[^\]/]*\]|[^/?#:]*)")


def host_of(url: Any) -> str | None:
    """Return the host of a URL, in lower case; None for anything else."""
    match = _HOST.match(url.strip()) if isinstance(url, str) else None
    return match[1].lower() if match is not None and match[1] else None


SUMMARY_COLUMNS = (
    *("concept", "column", "n", "mean", "limit"),
    *("share_beyond", "n_values", "top", "share_top"),
)
VALUE_COLUMNS = ("concept", "column", "value", "n")


@dataclass(frozen=True, slots=True, kw_only=True)
class CountColumns:
    """Adds up the columns of one shard, over all samples and by concept."""

    dataset: Dataset  # reads the columns that were named besides the known ones
    tags: ShardStore  # of the side by which samples are grouped
    # whose list of drops says which images were lost, where images were looked at
    images: ShardStore | None
    store: ShardStore  # where the sums go: ``concept_id, column, value, n, total``
    numbers: tuple[str, ...]  # columns that hold numbers, and those whose values are counted
    values: tuple[str, ...]

    def __call__(self, shard: Shard) -> None:
        """Add up a shard and write its record."""
        columns, lost = self._read(shard)
        ids = columns["sample_id"].to_numpy(np.int64)
        tags = read_tags(self.tags, shard.name)
        order = np.argsort(ids, kind="stable")
        place = np.searchsorted(ids[order], tags["sample_id"])
        place[place == len(ids)] = 0
        there = ids[order][place] == tags["sample_id"] if len(ids) else np.zeros(len(place), bool)
        rows = np.concatenate([np.arange(len(ids)), order[place[there]]])
        concepts = np.concatenate(
            [np.full(len(ids), OVERALL), tags["concept_id"].to_numpy(np.int64)[there]]
        )
        parts = [_numbers(columns, name, rows, concepts) for name in self.numbers]
        parts += [_values(columns, name, rows, concepts) for name in self.values]
        gone = pd.DataFrame(
            [(OVERALL, STATUS, reason, n, 0) for reason, n in sorted(lost.items())],
            columns=list(_COLUMNS),
        )
        table = pd.concat([part for part in [*parts, gone] if len(part)] or [gone])
        path = self.store.path(shard.name, ".parquet")
        kinds = {"concept_id": "int64", "column": "str", "value": "str", "n": "int64"}
        write_parquet(path, table.astype({**kinds, "total": "int64"}))
        self.store.write(shard.name, shard.fingerprint, {"n": len(ids)}, {".parquet": path})

    def _read(self, shard: Shard) -> tuple[pd.DataFrame, dict[str, int]]:
        """Read the columns of a shard's samples, and why others are lost."""
        parts = frozenset({EXTRA} | ({LANGUAGE} & self.dataset.provides))
        ids: list[int] = []
        columns: dict[str, list[Any]] = {name: [] for name in (*self.numbers, *self.values)}
        lost: dict[str, int] = {}
        for batch in self.dataset.read(shard, parts):
            ids += batch.sample_ids.tolist()
            extra: Mapping[str, Sequence[Any]] = batch.extra or {}
            given: dict[str, Sequence[Any]] = {
                **extra,
                HOST: [host_of(url) for url in extra.get(URL, [None] * len(batch))],
                STATUS: ["ok"] * len(batch),
                **({} if batch.languages is None else {LANGUAGE: batch.languages}),
            }
            for name, held in columns.items():
                held.extend(given.get(name, [None] * len(batch)))
            for drop in batch.drops:
                if drop.part == "sample":
                    lost[drop.reason] = lost.get(drop.reason, 0) + 1
        table = pd.DataFrame({"sample_id": np.asarray(ids, dtype=np.int64), **columns})
        if STATUS in columns and self.images is not None:
            path = self.images.path(shard.name, ".drops.parquet")
            if path.exists():
                drops = pd.read_parquet(path, columns=["sample_id", "part", "reason"])
                reasons = drops[drops["part"] == "image"].drop_duplicates("sample_id")
                why = table["sample_id"].map(reasons.set_index("sample_id")["reason"])
                table[STATUS] = why.fillna("ok")
        return table, lost if STATUS in columns else {}


def _numbers(
    table: pd.DataFrame, name: str, rows: np.ndarray[Any, Any], concepts: np.ndarray[Any, Any]
) -> pd.DataFrame:
    """Add up a column of numbers: of each concept n and sum, and how many reach the limit."""
    numbers = pd.to_numeric(table[name], errors="coerce").to_numpy(np.float64)[rows]
    known = np.isfinite(numbers) & (np.abs(numbers) < 1 << 30)
    frame = pd.DataFrame(
        {
            "concept_id": concepts[known],
            "n": 1,
            "total": np.rint(numbers[known] * UNIT).astype(np.int64),
        }
    )
    sums: pd.DataFrame = frame.groupby("concept_id", as_index=False).sum()
    sums = sums.assign(column=name, value="")
    if name not in LIMITS:
        return sums[list(_COLUMNS)]
    reached = frame[numbers[known] >= LIMITS[name]].assign(total=0)
    beyond = reached.groupby("concept_id", as_index=False).sum().assign(column=name, value=BEYOND)
    both: pd.DataFrame = pd.concat([sums, beyond])[list(_COLUMNS)]
    return both


def _values(
    table: pd.DataFrame, name: str, rows: np.ndarray[Any, Any], concepts: np.ndarray[Any, Any]
) -> pd.DataFrame:
    """Count the values of a column, of each concept."""
    values = table[name]
    texts = values.where(values.isna(), values.astype("str"))
    frame = pd.DataFrame({"concept_id": concepts, "value": texts.to_numpy()[rows]})
    frame = frame[frame["value"].notna() & (frame["value"] != "")]
    counts = pd.DataFrame(frame.groupby(["concept_id", "value"], as_index=False).size())
    table = counts.rename(columns={"size": "n"}).assign(column=name, total=0)
    return pd.DataFrame(table[list(_COLUMNS)])


def columns_of(
    dataset: Dataset, asked: Sequence[str], shards: Sequence[Shard]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Decide which columns hold numbers and which values, by a look at the first samples.

    Returns `numbers, values`.
    """
    present: dict[str, list[Any]] = {}
    for shard in shards[:1]:
        for batch in dataset.read(shard, frozenset({EXTRA})):
            present = {name: list(values) for name, values in (batch.extra or {}).items()}
            break
    known = [name for name in (*NUMBERS, *VALUES) if name in present]
    known += [HOST] if URL in present else []
    known += [LANGUAGE] if LANGUAGE in dataset.provides else []
    wanted = dict.fromkeys(known if AUTO_COLUMNS in asked else [])
    wanted |= dict.fromkeys(name for name in asked if name != AUTO_COLUMNS)
    missing = [n for n in wanted if n not in present and n not in (HOST, LANGUAGE, STATUS)]
    if missing:
        raise ConfigError(
            f"--columns names {missing[0]!r}, which {dataset.location} does not have. There are "
            f"{sorted({*present, *known}) or 'none that are known'}."
        )
    numbers = [n for n in wanted if n in NUMBERS or (n not in VALUES and _is_number(present[n]))]
    values = [name for name in wanted if name not in numbers]
    return tuple(numbers), (*values, *([] if STATUS in values else [STATUS]))


def _is_number(values: Sequence[Any]) -> bool:
    known = [value for value in values if value is not None]
    plain = [isinstance(v, int | float) and not isinstance(v, bool) for v in known]
    return bool(known) and all(plain)


def column_store(folder: Path, *rests_on: Any) -> ShardStore:
    """Return the store of a run's columns."""
    return ShardStore(folder=folder / NAME, digest=digest_of([NAME, *rests_on]))


def column_tables(
    store: ShardStore, shards: Sequence[Shard], names: Sequence[str]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Merge the columns of all shards.

    Returns `summary`: `SUMMARY_COLUMNS`, a row per column and concept, all samples first (concept
    ``""``); `values`: `VALUE_COLUMNS`: the `TOP` most frequent values of each; all of all samples.
    """
    import duckdb

    paths = [str(store.path(shard.name, ".parquet")) for shard in shards]
    with duckdb.connect() as database:
        database.execute("SET threads = 1")
        merged = database.execute(
            'SELECT concept_id, "column", value, sum(n)::BIGINT AS n, sum(total)::DOUBLE AS total '
            "FROM read_parquet(?) GROUP BY ALL "
            'ORDER BY concept_id, "column", n DESC, value',
            [paths],
        ).df()
    merged["concept"] = [names[i] if i >= 0 else "" for i in merged["concept_id"].tolist()]
    rows = [
        _summary(str(concept), str(column), part)
        for (concept, column), part in merged.groupby(["concept", "column"], sort=False)
    ]
    counted = merged[(merged["value"] != "") & (merged["value"] != BEYOND)]
    first = counted.groupby(["concept_id", "column"]).cumcount() < TOP
    values = counted[first | (counted["concept_id"] == OVERALL)]
    return (
        pd.DataFrame(rows, columns=list(SUMMARY_COLUMNS)),
        values[list(VALUE_COLUMNS)].reset_index(drop=True),
    )


def _summary(concept: str, column: str, part: pd.DataFrame) -> dict[str, Any]:
    row: dict[str, Any] = {"concept": concept, "column": column}
    sums = part[part["value"] == ""]
    if len(sums):
        n = int(sums["n"].sum())
        row |= {"n": n, "mean": float(sums["total"].sum()) / UNIT / n}
        if column in LIMITS:
            beyond = int(part.loc[part["value"] == BEYOND, "n"].sum())
            row |= {"limit": LIMITS[column], "share_beyond": beyond / n}
        return row
    n = int(part["n"].sum())
    first = part.iloc[0]
    return row | {
        "n": n,
        "n_values": len(part),
        "top": str(first["value"]),
        "share_top": int(first["n"]) / n,
    }
