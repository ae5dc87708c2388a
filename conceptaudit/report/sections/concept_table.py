"""The frequency curve, and the table of all concepts with search and sort."""

from __future__ import annotations

from typing import Any

import numpy as np

from conceptaudit.report.figures import frequency_chart
from conceptaudit.report.inputs import RunRecord
from conceptaudit.report.markup import Markup, data_script, el, join, shown
from conceptaudit.report.sections.base import Section
from conceptaudit.report.wording import NBSP, SIDES, count, level_name

WITHOUT_SCRIPT = 50
"""Rows in the page itself, for readers without scripts and for print."""


def frequency_section(run: RunRecord) -> Section:
    """Build the frequency curve."""
    body = [
        el(
            "p",
            "A few concepts are everywhere and most are rare. That matters: CLIP models were "
            "found to learn with the logarithm of how often they saw a concept (arXiv 2404.04125): "
            "each equal step up in accuracy costs ten times the data.",
        ),
        frequency_chart(run),
    ]
    return Section(
        identifier="frequencies",
        title="How often each concept occurs",
        short="Frequencies",
        body=join(body),
    )


def concept_section(run: RunRecord) -> Section:
    """Build the table of all concepts."""
    data = _data(run)
    body = [
        el(
            "p",
            "The small numbers are ",
            f"{level_name(run.level)}s: how often the concept would be expected in "
            "another sample of this size from the same source. They do not cover mistakes of the "
            "tagger. ",
            "“Agree” is the share of captions naming the concept whose image shows it too."
            if data["share"]
            else None,
        ),
        _controls(data),
        _table(data),
        el(
            "nav",
            el("button", "← previous", type="button", id="page-back"),
            el("span", id="page-now", role="status"),
            el("button", "next →", type="button", id="page-on"),
            class_="pager",
            aria_label="Pages of the table",
            hidden=True,
        ),
        data_script("concept-data", data),
    ]
    return Section(
        identifier="concepts", title="All concepts", short="All concepts", body=join(body)
    )


def _data(run: RunRecord) -> dict[str, Any]:
    """Lay the table out in columns, most frequent first, as the page's script reads it."""
    table = run.table.sort_values(
        [run.strictest, *run.counted, "concept"],
        ascending=[False, *([False] * len(run.counted)), True],
        kind="stable",
    )
    sides = []
    for column in run.counted:
        low, high = (
            table[f"{column}_{end}"].to_numpy(dtype=np.float64).round(1).tolist()
            if f"{column}_{end}" in table
            else None
            for end in ("low", "high")
        )
        sides.append(
            {
                "id": column,
                "name": SIDES[column][0],
                "n": table[column].to_numpy(dtype=np.int64).tolist(),
                "low": low,
                "high": high,
            }
        )
    share = None
    if {"n_text", "n_joint"} <= set(run.counted):
        text, joint = (table[name].to_numpy(dtype=np.float64) for name in ("n_text", "n_joint"))
        ratio = np.divide(joint, text, out=np.full(len(text), -1.0), where=text > 0)
        share = [None if value < 0 else round(value, 4) for value in ratio.tolist()]
    return {
        "names": [shown(str(name)) for name in table["concept"]],
        "sides": sides,
        "share": share,
    }


def _controls(data: dict[str, Any]) -> Markup:
    options = [("", "all concepts")]
    options += [(f"never_{s['id']}", f"never found: {s['name']}") for s in data["sides"]]
    options.append(("found", "found somewhere"))
    return el(
        "form",
        el(
            "label",
            "Search ",
            el("input", type="search", id="q", autocomplete="off", spellcheck="false"),
        ),
        el(
            "label",
            "Show ",
            el("select", [el("option", text, value=value) for value, text in options], id="only"),
        ),
        class_="controls",
        role="search",
        id="controls",
        hidden=True,
    )


def _table(data: dict[str, Any]) -> Markup:
    headers = [("concept", "concept"), *((s["id"], s["name"]) for s in data["sides"])]
    if data["share"] is not None:
        headers.append(("share", "agree"))
    head = [
        el(
            "th",
            el("button", name, type="button", data_sort=key),
            scope="col",
            class_=None if key == "concept" else "num",
        )
        for key, name in headers
    ]
    rows = [_row(data, i) for i in range(min(WITHOUT_SCRIPT, len(data["names"])))]
    n = len(data["names"])
    caption = f"{count(n)} concepts" + (
        f"; without scripts the first {WITHOUT_SCRIPT} are shown" if n > WITHOUT_SCRIPT else ""
    )
    inner = el(
        "table",
        el("caption", caption, id="concept-caption"),
        el("thead", el("tr", head)),
        el("tbody", rows, id="concept-rows"),
        id="concept-table",
    )
    return el(
        "div", inner, class_="scroll", role="region", aria_label="Table of concepts", tabindex="0"
    )


def _row(data: dict[str, Any], i: int) -> Markup:
    cells = []
    for side in data["sides"]:
        bounds = None
        if side["low"] is not None:
            bounds = el("small", f"{count(side['low'][i])}–{count(side['high'][i])}")
        cells.append(el("td", f"{side['n'][i]:,}", bounds, class_="num"))
    if data["share"] is not None:
        value = data["share"][i]
        cells.append(el("td", "–" if value is None else f"{100 * value:.0f}{NBSP}%", class_="num"))
    return el("tr", el("th", data["names"][i], scope="row"), cells)
