"""Counts beside the truth: how right they are, where that is known."""

from __future__ import annotations

from collections.abc import Sequence

from conceptaudit.report.count_charts import truth_chart
from conceptaudit.report.formatting import SIDES, decimal, percent
from conceptaudit.report.templating import Section
from conceptaudit.report.truth import TruthComparison

GOOD, FAIR = 0.9, 0.5
"""Share of concepts within 10 % of the truth from which counts are called good, or mixed."""


def truth_section(measured: Sequence[TruthComparison] | None) -> Section:
    """Build the comparison with the truth."""
    why = ""
    if measured is None:
        why = (
            "The true counts of this dataset are not known here, so the counts above are not "
            "checked against them. Simulated data have a truth: `--truth truth.parquet` adds it."
        )
    return Section(
        identifier="truth",
        title="Measured against truth",
        short="Truth",
        missing=why,
        values={
            "good": GOOD,
            "fair": FAIR,
            "measured": [
                (one, one.n_within_tenth / one.n_occurring if one.n_occurring else 0.0,
                 truth_chart(one))
                for one in measured or ()
            ],
            "rows": [
                [
                    SIDES[one.column][0],
                    percent(one.n_within_tenth / one.n_occurring) if one.n_occurring else "–",
                    decimal(one.typical_factor),
                    decimal(one.rank_correlation),
                    percent(one.tags.precision) if one.tags else "–",
                    percent(one.tags.recall) if one.tags else "–",
                ]
                for one in measured or ()
            ],
        },
    )  # fmt: skip
