"""The page that compares two runs, or a run and published counts."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pandas as pd

from conceptaudit.errors import ConceptAuditError, ConfigError
from conceptaudit.explore.views import Site, download
from conceptaudit.frequency.comparing import Comparison, compare_audits
from conceptaudit.frequency.reference import registry
from conceptaudit.report.count_charts import comparison_chart, largest_differences
from conceptaudit.report.formatting import SIDES

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import Route

MOST_ROWS = 40


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
                "more": _records(largest_differences(rows, above=True, most=MOST_ROWS)),
                "less": _records(largest_differences(rows, above=False, most=MOST_ROWS)),
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


def _records(rows: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(name): value for name, value in row.items()} for row in rows.to_dict("records")]
