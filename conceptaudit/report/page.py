"""Sections to one HTML file that needs nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources

from conceptaudit.report.markup import Markup, el, join, raw
from conceptaudit.report.sections.base import Section

POLICY = (
    "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
    "base-uri 'none'; form-action 'none'"
)
"""The browser itself refuses to fetch anything, whatever a caption may say."""


def page(title: str, lead: Markup, sections: Sequence[Section], *, version: str) -> str:
    """Lay the page out."""
    head = el(
        "head",
        el("meta", charset="utf-8"),
        el("meta", http_equiv="Content-Security-Policy", content=POLICY),
        el("meta", name="viewport", content="width=device-width, initial-scale=1"),
        el("meta", name="color-scheme", content="light dark"),
        el("meta", name="referrer", content="no-referrer"),
        el("title", title),
        el("style", raw(_asset("report.css"))),
    )
    contents = [el("li", el("a", one.short, href=f"#{one.identifier}")) for one in sections]
    body = el(
        "body",
        el("a", "Skip to the report", href="#overview", class_="skip"),
        el(
            "header",
            el("p", "Concept audit", class_="kind"),
            el("h1", title),
            lead,
            el("nav", el("ol", contents), aria_label="Contents"),
        ),
        el("main", [one.html() for one in sections]),
        el(
            "footer",
            el("p", f"Made by conceptaudit {version}. This page loads nothing from anywhere."),
        ),
        el("script", raw(_asset("report.js"))),
    )
    return f"<!doctype html>\n{el('html', join([head, body]), lang='en')}\n"


def _asset(name: str) -> str:
    return resources.files("conceptaudit.report").joinpath("assets", name).read_text("utf-8")
