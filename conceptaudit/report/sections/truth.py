"""Measured against truth: how right the counts are, where that is known."""

from __future__ import annotations

import math
from collections.abc import Sequence

from conceptaudit.display import quantity
from conceptaudit.report.figures import truth_chart
from conceptaudit.report.markup import Markup, el, join
from conceptaudit.report.measured import Measured
from conceptaudit.report.sections.base import Section, absent, table
from conceptaudit.report.wording import NBSP, SIDES, count, decimal, percent

TITLE = "Measured against truth"

GOOD, FAIR = 0.9, 0.5
"""Share of concepts within 10 % of the truth from which counts are called good, or mixed."""


def truth_section(measured: Sequence[Measured] | None) -> Section:
    """Build the comparison with the truth."""
    if measured is None:
        why = (
            "The true counts of this dataset are not known here, so the counts above are not "
            "checked against them. Simulated data have a truth: `--truth truth.parquet` adds it."
        )
        return absent("truth", TITLE, "Truth", why)
    intro = el(
        "p",
        "This dataset was simulated, so it is known what every caption names and every picture "
        "shows. Each dot is a concept: where it lies on the line, the count is right. Counts are "
        f"called good where at least {100 * GOOD:.0f}{NBSP}% of the concepts are counted to within "
        f"10{NBSP}% of the truth, mixed from {100 * FAIR:.0f}{NBSP}%, and poor below.",
    )
    parts = [join([el("h3", _heading(one)), _said(one), truth_chart(one)]) for one in measured]
    body = [intro, _table(measured), el("div", [el("div", part) for part in parts], class_="trio")]
    return Section(identifier="truth", title=TITLE, short="Truth", body=join(body))


def _heading(one: Measured) -> str:
    share = one.n_within_tenth / one.n_occurring if one.n_occurring else 0.0
    verdict = "good" if share >= GOOD else "mixed" if share >= FAIR else "poor"
    names = {"n_text": "Caption counts", "n_image": "Image counts", "n_joint": "Joint counts"}
    return f"{names[one.column]} are {verdict}"


def _said(one: Measured) -> Markup:
    share = one.n_within_tenth / one.n_occurring if one.n_occurring else float("nan")
    sentences = [
        (
            f"{count(one.n_within_tenth)} of {quantity(one.n_occurring, 'concept')} that occur "
            f"({percent(share)}) are counted to within 10{NBSP}% of the truth."
        )
    ]
    factor = one.typical_factor
    if math.isfinite(factor):
        exact = "At least half of the counts are exact." if factor == 1.0 else ""
        sentences.append(exact or f"A typical count is off by a factor of {decimal(factor)}.")
    sentences.append(
        f"{quantity(one.n_missed, 'concept')} that occur were never counted, and "
        f"{count(one.n_invented)} that never occur were."
    )
    if share < FAIR:
        sentences.append("Do not read these counts as numbers; at most their order says something.")
    return el("p", " ".join(sentences))


def _table(measured: Sequence[Measured]) -> Markup:
    rows = [
        [
            SIDES[one.column][0],
            percent(one.n_within_tenth / one.n_occurring) if one.n_occurring else "–",
            decimal(one.typical_factor),
            decimal(one.rank_correlation),
            percent(one.tags.precision) if one.tags else "–",
            percent(one.tags.recall) if one.tags else "–",
        ]
        for one in measured
    ]
    return table(
        [
            "",
            f"within 10{NBSP}%",
            "typical factor",
            "rank correlation",
            "tags right",
            "truth found",
        ],
        rows,
        caption="“Tags right” is the share of tags that are true (precision), “truth found” the "
        "share of true pairs that were tagged (recall)",
        numeric=(1, 2, 3, 4, 5),
    )
