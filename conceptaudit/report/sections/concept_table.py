"""The frequency curve, and the table of all concepts with search and sort."""

from __future__ import annotations

from typing import Any

from conceptaudit.display import quantity
from conceptaudit.report.concept_data import EXTRA, MEANINGS, concept_data
from conceptaudit.report.figures import frequency_chart
from conceptaudit.report.inputs import RunRecord
from conceptaudit.report.markup import Markup, data_script, el, join
from conceptaudit.report.sections.base import Section, folded
from conceptaudit.report.wording import NBSP, count, level_name

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
    data = concept_data(run)
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
        _switch(data),
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


def _switch(data: dict[str, Any]) -> Markup | None:
    """Offer the columns that are not shown at first; the style sheet does it, without a script."""
    if not data["extra"]:
        return None
    told = [column["id"] for column in data["extra"]]
    meanings = [[el("dt", EXTRA[name]), el("dd", MEANINGS[name])] for name in told]
    return join(
        [
            el(
                "p",
                el(
                    "label",
                    el("input", type="checkbox", id="all-columns", autocomplete="off"),
                    f" More columns: {', '.join(column['name'] for column in data['extra'])}",
                ),
                class_="switch",
            ),
            folded("What these columns mean", el("dl", meanings, class_="terms")),
        ]
    )


def _table(data: dict[str, Any]) -> Markup:
    headers: list[tuple[str, str, str | None]] = [("concept", "concept", None)]
    headers += [(side["id"], side["name"], "num") for side in data["sides"]]
    if data["share"] is not None:
        headers.append(("share", "agree", "num"))
    headers += [(column["id"], column["name"], "num extra") for column in data["extra"]]
    head = [
        el("th", el("button", name, type="button", data_sort=key), scope="col", class_=kind)
        for key, name, kind in headers
    ]
    rows = [_row(data, i) for i in range(min(WITHOUT_SCRIPT, len(data["names"])))]
    n = len(data["names"])
    caption = f"{quantity(n, 'concept')}" + (
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
    cells = [_cell(side, i, "num") for side in data["sides"]]
    if data["share"] is not None:
        value = data["share"][i]
        cells.append(el("td", "–" if value is None else f"{100 * value:.0f}{NBSP}%", class_="num"))
    cells += [_cell(column, i, "num extra") for column in data["extra"]]
    return el("tr", el("th", data["names"][i], scope="row"), cells)


def _cell(column: dict[str, Any], i: int, kind: str) -> Markup:
    if column["n"][i] is None:
        return el("td", "–", class_=kind)
    bounds = None
    if column["low"] is not None and column["low"][i] is not None:
        bounds = el("small", f"{count(column['low'][i])}–{count(column['high'][i])}")
    return el("td", f"{column['n'][i]:,}", bounds, class_=kind)
