"""The list of concepts: searched, filtered, sorted and paged by the server."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import numpy as np
import pandas as pd

from conceptaudit.report.concept_data import EXTRA, FULL, MEANINGS, extra_columns
from conceptaudit.report.formatting import SIDES

if TYPE_CHECKING:
    from conceptaudit.explore.opened import OpenRun

PAGE = 50

MORE = {
    "n_text_kinds": ("captions, kinds too", "Captions that name it or a kind of it."),
    "text_rejected_share": ("rejected", "Share of the mentions of its words that are no noun."),
    "text_undecided_share": (
        "left to tagger",
        "Share of the mentions that neither words nor rules decide.",
    ),
    "n_image_judged": ("images, judged", "Images that show it, from a judged sample."),
    "n_joint_judged": ("both, judged", "Samples with it on both sides, from a judged sample."),
    "n_text_judged": ("captions, judged", "Captions that mean it, from a judged sample."),
    "tag_precision": ("precision", "Expected precision of its image tags."),
    "tag_recall": ("recall", "Expected recall of its image tags."),
    "auc": ("AUC", "How well its scores tell images whose captions name it from others."),
}
"""Columns beside `EXTRA` that are shown on demand, with name and meaning."""

SHARES = ("text_rejected_share", "text_undecided_share", "tag_precision", "tag_recall", "auc")


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column that may be shown."""

    id: str
    name: str
    meaning: str = ""
    share: bool = False  # shown as per cent


@dataclass(frozen=True, slots=True, kw_only=True)
class ConceptQuery:
    """What the address of the list says; an empty text is no condition."""

    q: str = ""
    of: str = ""
    min: str = ""
    max: str = ""
    tier: str = ""
    ambiguous: str = ""
    agree: str = ""
    identified: str = ""
    kind: str = ""
    sort: str = ""
    dir: str = ""
    cols: str = ""
    page: str = ""

    @classmethod
    def of_address(cls, values: Mapping[str, str]) -> ConceptQuery:
        """Read the part of an address that is behind the question mark."""
        known = {field.name for field in fields(cls)}
        return cls(**{name: value[:200] for name, value in values.items() if name in known})

    def address(self, **changes: str | int) -> str:
        """Write the address with some changes; what is as by default is left out."""
        values = {**asdict(self), **{name: str(value) for name, value in changes.items()}}
        return urlencode({name: value for name, value in values.items() if value})

    @property
    def chosen(self) -> tuple[str, ...]:
        """Ids of the columns that were chosen."""
        return tuple(name for name in self.cols.split(",") if name)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConceptPage:
    """One page of the list."""

    rows: list[dict[str, Any]]  # `id`, `name`, `tier`, `rank` and `cells`
    n: int  # that meet the conditions
    page: int
    pages: int
    columns: tuple[Column, ...]


def columns_of(run: OpenRun) -> tuple[tuple[Column, ...], tuple[Column, ...]]:
    """Columns that are always shown, and those that may be."""
    fixed = [Column(id=name, name=SIDES[name][0]) for name in run.record.counted]
    if run.has_text and run.has_images:
        fixed.append(
            Column(
                id="agree",
                name="agree",
                share=True,
                meaning="Share of the captions naming it whose image shows it too.",
            )
        )
    more = [
        Column(id=name, name=EXTRA[name], meaning=MEANINGS[name])
        for name in extra_columns(run.table)
    ]
    more += [
        Column(id=name, name=title, meaning=meaning, share=name in SHARES)
        for name, (title, meaning) in MORE.items()
        if name in run.table and bool(run.table[name].notna().any())
    ]
    return tuple(fixed), tuple(more)


def agreement(table: pd.DataFrame) -> np.ndarray:
    """Share of captions naming each concept whose image shows it; NaN where none names it."""
    if not {"n_text", "n_joint"} <= set(table):
        return np.full(len(table), np.nan)
    text, joint = (table[name].to_numpy(np.float64, na_value=0.0) for name in ("n_text", "n_joint"))
    shares = np.full(len(text), np.nan)
    np.divide(joint, text, out=shares, where=text > 0)
    return shares


def values_of(run: OpenRun, column: str) -> np.ndarray:
    """Return a column as numbers, NaN where it is not known."""
    if column == "agree":
        return agreement(run.table)
    name = "n_text" if column == FULL else column
    return pd.to_numeric(run.table[name], errors="coerce").to_numpy(np.float64, na_value=np.nan)


def _conditions(run: OpenRun, query: ConceptQuery) -> Iterator[np.ndarray]:
    table = run.table
    if text := query.q.strip().casefold():
        yield run.folded_names.str.contains(text, regex=False).to_numpy(bool)
    known = {column.id for part in columns_of(run) for column in part}
    of = query.of if query.of in known else run.record.strictest
    for end, keeps in ((query.min, np.greater_equal), (query.max, np.less_equal)):
        limit = _number(end)
        if limit is not None:
            with np.errstate(invalid="ignore"):
                yield keeps(values_of(run, of), limit)
    if query.tier:
        yield run.tiers == query.tier
    if query.ambiguous in ("yes", "no") and "n_senses" in table:
        yield (values_of(run, "n_senses") > 1) == (query.ambiguous == "yes")
    if query.agree in ("low", "high"):
        shares = agreement(table)
        with np.errstate(invalid="ignore"):
            yield shares < 0.2 if query.agree == "low" else shares >= 0.5
    if query.identified in ("yes", "no") and "n_image_corrected" in table:
        yield table["n_image_corrected"].notna().to_numpy() == (query.identified == "yes")
    if kind := query.kind.strip():
        yield run.of_kind(kind)


def _number(text: str) -> float | None:
    try:
        value = float(text.replace(",", "").replace("%", ""))
    except ValueError:
        return None
    return value if np.isfinite(value) else None


def matching(run: OpenRun, query: ConceptQuery) -> np.ndarray:
    """Rows of the table that meet a query's conditions, in its order."""
    keep = np.ones(len(run.table), dtype=bool)
    for condition in _conditions(run, query):
        keep &= condition
    rows = np.flatnonzero(keep)
    if query.sort == "concept":
        names = run.folded_names.to_numpy(object)[rows]
        order = np.argsort(names, kind="stable")
        return rows[order[::-1] if query.dir == "desc" else order]
    known = {column.id for part in columns_of(run) for column in part}
    if query.sort not in known:
        return rows[np.argsort(run.ranks[rows], kind="stable")]
    values = values_of(run, query.sort)[rows]
    turned = values if query.dir == "asc" else -values
    # what is not known stays at the end in both directions
    return rows[np.lexsort((run.ranks[rows], turned, np.isnan(values)))]


def concept_page(run: OpenRun, query: ConceptQuery) -> ConceptPage:
    """Find one page of the concepts that meet a query."""
    rows = matching(run, query)
    pages = max(1, -(-len(rows) // PAGE))
    page = min(max(1, int(_number(query.page) or 1)), pages)
    fixed, more = columns_of(run)
    columns = (*fixed, *(column for column in more if column.id in query.chosen))
    shown = rows[(page - 1) * PAGE : page * PAGE]
    part = run.table.iloc[shown]
    shares = agreement(part)
    return ConceptPage(
        rows=[
            {
                "id": run.ids[str(row["concept"])],
                "name": str(row["concept"]),
                "rank": int(run.ranks[place]),
                "tier": run.tiers[place],
                "cells": [_cell(row, column, share) for column in columns],
            }
            for place, row, share in zip(
                shown.tolist(), part.to_dict("records"), shares.tolist(), strict=True
            )
        ],
        n=len(rows),
        page=page,
        pages=pages,
        columns=columns,
    )


def _cell(row: Mapping[Any, Any], column: Column, agree: float) -> dict[str, float | None]:
    name = "n_text" if column.id == FULL else column.id
    value = agree if column.id == "agree" else row[name]
    ends = [row.get(f"{column.id}_{end}") for end in ("low", "high")]
    low, high = (None if end is None or pd.isna(end) else float(end) for end in ends)
    return {"n": None if pd.isna(value) else float(value), "low": low, "high": high}


def concepts_csv(run: OpenRun, query: ConceptQuery) -> pd.DataFrame:
    """Return all columns of the concepts that meet a query, as a file would hold them."""
    return run.table.iloc[matching(run, query)].reset_index(drop=True)
