"""The page that compares two runs, or a run and published counts."""

from __future__ import annotations

import math
import threading
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import numpy as np
import pandas as pd

from conceptaudit.display import quantity
from conceptaudit.errors import ConceptAuditError, ConfigError
from conceptaudit.explore.views import Site, download
from conceptaudit.frequency.comparing import Comparison, compare_audits
from conceptaudit.frequency.reference import registry
from conceptaudit.report.figures import ZERO
from conceptaudit.report.svg import Axis, Canvas, Chart, Point, log_ticks
from conceptaudit.report.wording import SIDES

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import Route

MOST_ROWS = 40
MOST_MARKS = 4_000


class ComparePages(Site):
    """Two sides: what differs most, and as a whole."""

    def __init__(self, session: Any) -> None:
        super().__init__(session)
        self._made: dict[tuple[str, str], Comparison] = {}
        self._lock = threading.Lock()

    def routes(self) -> list[Route]:
        """List the addresses."""
        from starlette.routing import Route

        return [Route("/compare", self.show), Route("/compare.csv", self.table)]

    def _sides(self) -> dict[str, str]:
        runs = {run.slug: f"{run.name} ({run.slug})" for run in self.session.runs}
        return runs | {f"reference:{name}": f"published: {name}" for name in registry()}

    def _asked(self, request: Request) -> tuple[str, str]:
        sides = list(self._sides())
        a = request.query_params.get("a", sides[0])
        b = request.query_params.get("b", sides[1] if len(self.session.runs) > 1 else "")
        return a, b

    def _comparison(self, a: str, b: str) -> Comparison:
        known = self._sides()
        for side in (a, b):
            if side not in known:
                raise ConfigError(f"There is no run and no reference called {side!r}.")
        with self._lock:
            if (a, b) not in self._made:
                folders = {run.slug: str(run.folder) for run in self.session.runs}
                made = compare_audits([folders.get(b, b), folders.get(a, a)])
                self._made[a, b] = made
            return self._made[a, b]

    def show(self, request: Request) -> Response:
        """Show a comparison, or ask for its sides."""
        sides = self._sides()
        a, b = self._asked(request)
        context: dict[str, Any] = {"sides": sides, "a": a, "b": b, "fault": "", "found": None}
        if not b or a == b:
            return self.page(request, "compare.html", **context)
        try:
            found = self._comparison(a, b)
        except ConceptAuditError as error:
            return self.page(request, "compare.html", **{**context, "fault": str(error)})
        counts = list(dict.fromkeys(found.concepts["count"]))
        count = request.query_params.get("count", "")
        count = count if count in counts else counts[-1]
        rows = found.concepts[found.concepts["count"] == count]
        runs = {run.slug: run for run in self.session.runs}
        whole = found.datasets[found.datasets["count"] == count].iloc[0].to_dict()
        return self.page(
            request,
            "compare.html",
            **context
            | {
                "found": found,
                "counts": [(name, SIDES[name][1] if name in SIDES else name) for name in counts],
                "count_name": count,
                "chart": comparison_chart(rows, sides[a], sides[b]),
                "more": _largest(rows, above=True),
                "less": _largest(rows, above=False),
                "whole": whole,
                "link": {
                    side: f"/r/{quote(side)}/named?concept=" if side in runs else ""
                    for side in (a, b)
                },
            },
            first=runs.get(a) or runs.get(b),
        )

    def table(self, request: Request) -> Response:
        """Send the whole table."""
        from conceptaudit.artifacts import csv_bytes

        found = self._comparison(*self._asked(request))
        return download(csv_bytes(found.concepts), "text/csv; charset=utf-8", "compared.csv")


def _largest(rows: pd.DataFrame, *, above: bool) -> list[dict[str, Any]]:
    """Concepts that differ most surely, then by most, in one direction."""
    ratio = _log_ratio(rows)
    keep = ratio > 0 if above else ratio < 0
    q = rows["q"].to_numpy(np.float64)
    sure = np.where(np.isfinite(q), q > 0.05, False)
    order = np.lexsort((-np.abs(ratio), sure))
    picked = [i for i in order if keep[i]][:MOST_ROWS]
    return [
        {str(name): value for name, value in row.items()}
        for row in rows.iloc[picked].to_dict("records")
    ]


def _log_ratio(rows: pd.DataFrame) -> np.ndarray:
    rates = [rows[name].to_numpy(np.float64) for name in ("per_million", "per_million_baseline")]
    if not all(np.isfinite(rate).all() for rate in rates):
        ranks = [rows[name].to_numpy(np.float64) for name in ("rank", "rank_baseline")]
        return np.asarray(ranks[0] - ranks[1])
    return np.asarray(np.log((rates[0] + 1e-3) / (rates[1] + 1e-3)))


def comparison_chart(rows: pd.DataFrame, a: str, b: str) -> Chart:
    """Draw a mark per concept: its rate in one dataset against that in the other."""
    known = bool(rows[["per_million", "per_million_baseline"]].notna().all().all())
    names = ("per_million_baseline", "per_million") if known else ("n_baseline", "n")
    unit = "per million samples" if known else "samples"
    values = [rows[name].to_numpy(np.float64) for name in names]
    positive = np.concatenate(values)
    positive = positive[positive > 0]
    low = math.floor(math.log10(positive.min())) if len(positive) else 0
    high = (math.log10(positive.max()) if len(positive) else 1.0) + 0.15
    zero = low + ZERO
    places = []
    for value in values:
        place = np.full(len(value), zero)
        np.log10(value, out=place, where=value > 0)
        places.append(place)
    # zeros of both would lie on one line: spread by a fixed pattern
    spread = 0.4 * (np.modf(np.arange(len(rows)) * 0.6180339887)[0] - 0.5)
    x, y = (
        np.where(place == zero, place + turn * spread, place)
        for place, turn in zip(places, (1, -1), strict=True)
    )
    ticks = ((zero, "0"), *log_ticks(low, high))

    def draw(canvas: Canvas) -> None:
        canvas.line([low, high], [low, high], "ideal")
        canvas.dots(x.tolist(), y.tolist(), "see-through small s-text")

    texts = zip(rows["concept"].astype("str"), *values, strict=True)
    points = [
        Point(
            x=float(x[i]),
            y=float(y[i]),
            text=f"{name}\n{first:,.3g} and {second:,.3g} {unit}",
            concept=name,
        )
        for i, (name, first, second) in enumerate(texts)
    ]
    points = sorted(points, key=lambda point: -abs(point.y - point.x))[:MOST_MARKS]
    return Chart(
        "compared",
        f"{quantity(len(rows), 'concept')}: how often each is in {b} and in {a}.",
        (
            Axis(low=zero - 0.35, high=high, title=f"{b}: {unit} →", ticks=ticks),
            Axis(low=zero - 0.35, high=high, title=f"↑ {a}: {unit}", ticks=ticks),
        ),
        draw,
        points=points,
        caption="On the line a concept is as frequent in both. Above it, it is more frequent in "
        f"{a}. Point at a mark, or use the arrow keys: they begin with the largest differences.",
    )
