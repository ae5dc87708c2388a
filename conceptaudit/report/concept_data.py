"""The columns of the table of concepts, as the page and its script read them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from conceptaudit.report.formatting import SIDES
from conceptaudit.report.inputs import RunRecord
from conceptaudit.report.templating import shown

FULL = "n_text_full"

EXTRA = {
    FULL: "captions in full",
    "n_image_corrected": "corrected images",
    "n_joint_corrected": "corrected both",
    "n_image_unique": "different images",
    "n_joint_unique": "different in both",
    "n_text_rejected": "not as a noun",
    "n_senses": "meanings",
}
"""Name of the columns that are shown on demand, where an audit has them."""

MEANINGS = {
    FULL: "What deciding every caption would count lies between these ends: the audit decided a "
    "random sample of the doubtful ones.",
    "n_image_corrected": "Images that show the concept, corrected for what the tagger finds "
    "wrongly and misses; the interval carries that.",
    "n_joint_corrected": "The same for samples with the concept on both sides.",
    "n_image_unique": "Images that show the concept, equal and nearly equal images counted once.",
    "n_joint_unique": "The same for samples with the concept on both sides.",
    "n_text_rejected": "Mentions of the concept's words that do not name it (“they watch”).",
    "n_senses": "Meanings that the name has as a noun; a count adds them up.",
}
"""What these columns hold."""


def concept_data(run: RunRecord) -> dict[str, Any]:
    """Lay the table out in columns, most frequent first."""
    table = run.table.sort_values(
        [run.strictest, *run.counted, "concept"],
        ascending=[False, *([False] * len(run.counted)), True],
        kind="stable",
    )
    return {
        "names": [shown(str(name)) for name in table["concept"]],
        "sides": [_column(table, column, SIDES[column][0]) for column in run.counted],
        "extra": [_column(table, column, EXTRA[column]) for column in extra_columns(table)],
        "share": _share(table) if {"n_text", "n_joint"} <= set(run.counted) else None,
    }


def extra_columns(table: pd.DataFrame) -> list[str]:
    """Name the columns of `EXTRA` that say something in this audit."""
    return [column for column in EXTRA if _says_something(table, column)]


def _says_something(table: pd.DataFrame, column: str) -> bool:
    if column != FULL:
        return column in table and bool(table[column].notna().any())
    ends = [f"{FULL}_{end}" for end in ("low", "high")]
    # without sampling the full count is the count, which is there already
    return set(ends) <= set(table) and bool((table[ends[0]] < table[ends[1]]).any())


def _column(table: pd.DataFrame, column: str, name: str) -> dict[str, Any]:
    low, high = (
        _numbers(table[f"{column}_{end}"], 1) if f"{column}_{end}" in table else None
        for end in ("low", "high")
    )
    counted = table["n_text" if column == FULL else column]
    return {"id": column, "name": name, "n": _numbers(counted, 0), "low": low, "high": high}


def _numbers(values: pd.Series[Any], digits: int) -> list[float | int | None]:
    found = pd.to_numeric(values, errors="coerce").astype("Float64")
    numbers = found.to_numpy(np.float64, na_value=np.nan)
    if digits == 0:
        return [round(one) if np.isfinite(one) else None for one in numbers.tolist()]
    return [round(one, digits) if np.isfinite(one) else None for one in numbers.tolist()]


def _share(table: pd.DataFrame) -> list[float | None]:
    text, joint = (table[name].to_numpy(dtype=np.float64) for name in ("n_text", "n_joint"))
    ratio = np.divide(joint, text, out=np.full(len(text), -1.0), where=text > 0)
    return [None if value < 0 else round(value, 4) for value in ratio.tolist()]
