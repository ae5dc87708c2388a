"""Where one concept lies on a curve, and what the curve predicts for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from conceptaudit.report.accuracy_chart import Classes, accuracy_chart
from conceptaudit.report.chart import Chart

if TYPE_CHECKING:
    from conceptaudit.explore.opened import OpenRun
    from conceptaudit.explore.session import Session


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
