"""What is known of one concept beside its samples: counts and what they rest on, the other runs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from conceptaudit.report.accuracy_chart import Classes, accuracy_chart
from conceptaudit.report.chart import Chart
from conceptaudit.report.formatting import SIDES

if TYPE_CHECKING:
    from conceptaudit.explore.opened import OpenRun
    from conceptaudit.explore.session import Session

REASONS = {
    "few_mentions": "captions of fewer than 5 images name it",
    "not_separated": "its scores do not tell images whose captions name it from others",
    "recall_unknown": "captions name too few of the images that score alike",
    "no_signal": "the model's scores tell nothing",
    "no_captions": "it was calibrated from scores alone",
}
"""Values of ``n_image_reason``."""

COUNTS = (
    *((name, f"{SIDES[name][1]}, as tagged") for name in SIDES),
    ("n_text_kinds", "named in the caption, or a kind of it is"),
    ("n_image_corrected", "images that show it, corrected for errors of tags"),
    ("n_joint_corrected", "caption and image, corrected"),
    ("n_text_judged", "captions that mean it, from a judged sample"),
    ("n_image_judged", "images that show it, from a judged sample"),
    ("n_joint_judged", "caption and image, from a judged sample"),
    ("n_image_unique", "images that show it, copies counted once"),
    ("n_joint_unique", "caption and image, copies counted once"),
)
"""Counts of a concept in the order in which its page has them."""

SHARES = (
    ("text_rejected_share", "of the mentions of its words are no noun and do not count"),
    ("text_undecided_share", "of the mentions were left to the tagger"),
    ("tag_precision", "expected precision of its image tags"),
    ("tag_recall", "expected recall of its image tags"),
)


@dataclass(slots=True, kw_only=True)
class ConceptFacts:
    """What the page of a concept says before its samples."""

    name: str
    aliases: tuple[str, ...]
    rank: int
    tier: str
    counts: list[tuple[str, dict[str, float | None]]]  # meaning; `n`, `low` and `high`
    shares: list[tuple[str, float, float | None, float | None]]  # meaning, value and interval
    reason: str  # why there is no corrected count; empty where there is one
    n_senses: int | None
    # captions by kind (counted, rejected): `before`, `matched`, `after`, `key`
    evidence: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    # the other runs that have it, with its id and row there
    elsewhere: list[tuple[OpenRun, int, dict[str, Any]]] = field(default_factory=list)


def facts_of(session: Session, run: OpenRun, concept: int) -> ConceptFacts:
    """Gather what is known of a concept."""
    row = run.row(concept)
    name = run.record.concepts[concept]
    place = int(run.row_of[concept])
    facts = ConceptFacts(
        name=name,
        aliases=run.phrases(concept)[1:],
        rank=int(run.ranks[place]),
        tier=str(run.tiers[place]),
        counts=[
            (
                meaning,
                {
                    "n": row[column],
                    "low": row.get(f"{column}_low"),
                    "high": row.get(f"{column}_high"),
                },
            )
            for column, meaning in COUNTS
            if row.get(column) is not None
        ],
        shares=[
            (meaning, float(row[column]), row.get(f"{column}_low"), row.get(f"{column}_high"))
            for column, meaning in SHARES
            if row.get(column) is not None
        ],
        reason=REASONS.get(
            str(row.get("n_image_reason") or ""), str(row.get("n_image_reason") or "")
        ),
        n_senses=None if row.get("n_senses") is None else int(row["n_senses"]),
        evidence=_evidence(run, name),
    )
    for other in session.runs:
        if other is not run and name in other.ids:
            facts.elsewhere.append((other, other.ids[name], other.row(other.ids[name])))
    return facts


def _evidence(run: OpenRun, name: str) -> dict[str, list[dict[str, Any]]]:
    table = run.side_table("evidence.parquet", "concept", name)
    if table is None or not {"kind", "before", "matched", "after"} <= set(table):
        return {}
    return {str(kind): _records(rows.head(12)) for kind, rows in table.groupby("kind", sort=True)}


def languages_of(run: OpenRun, concept: int) -> list[dict[str, Any]]:
    """Read the counts of a concept by language, where the audit has them; most first."""
    table = run.side_table(
        "frequencies_by_language.parquet", "concept", run.record.concepts[concept]
    )
    if table is None or table.empty:
        return []
    sides = [name for name in SIDES if name in table]
    order = table[sides[0]].fillna(0).to_numpy(np.float64)
    rows = table.iloc[np.argsort(-order, kind="stable")][["language", *sides]].head(20)
    return _records(rows)


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    return [
        {str(name): None if pd.isna(value) else value for name, value in row.items()}
        for row in table.to_dict("records")
    ]


def place_on_curve(
    session: Session, run: OpenRun, concept: str
) -> tuple[Chart | None, list[dict[str, Any]]]:
    """Draw the curve's first model with one concept marked, and predict it by every model."""
    curve = session.curve
    every = session.predictions(run)
    if curve is None or every is None:
        return None, []
    predicted = every[every["concept"].astype("str") == concept]
    points = curve.points[curve.points["concept"].astype("str") == concept]
    known = dict(zip(points["fit"], points["accuracy"], strict=False))
    labels = [fit.label for fit in curve.fits]
    found = []
    for number, row in enumerate(predicted.to_dict("records")):
        found.append(
            {
                "model": labels[number] if number < len(labels) else str(row.get("model", "")),
                "count": float(row["count"]),
                "accuracy": _known(row["accuracy"]),
                "low": _known(row["low"]),
                "high": _known(row["high"]),
                "observed": _known(known.get(number)),
                "extrapolated": bool(row["extrapolated"]),
                "basis": str(row["basis"]),
            }
        )
    fit = curve.fits[0]
    first = found[0]
    held = pd.DataFrame(
        [
            {
                "concept": concept,
                "count": first["count"],
                "accuracy": first["accuracy"],
                "low": first["low"],
                "high": first["high"],
                "observed": first["accuracy"] if first["observed"] is None else first["observed"],
            }
        ]
    ).astype(dict.fromkeys(("count", "accuracy", "low", "high", "observed"), "float64"))
    figure = accuracy_chart(
        "on-curve",
        Classes(fitted=curve.points_of(fit), held=held[held["count"].notna()]),
        column=curve.count,
        curve=curve,
        fit=fit,
        held_name=f"{concept}: {'measured' if first['observed'] is not None else 'predicted'}",
    )
    return figure, found


def _known(value: Any) -> float | None:
    return float(value) if value is not None and np.isfinite(value) else None
