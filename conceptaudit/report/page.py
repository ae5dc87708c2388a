"""Sections to one HTML file that needs nothing else."""

from __future__ import annotations

from collections.abc import Sequence

from conceptaudit.report.markup import Markup
from conceptaudit.report.sections.base import Section
from conceptaudit.report.templating import asset, render

POLICY = (
    "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
    "base-uri 'none'; form-action 'none'"
)
"""The browser itself refuses to fetch anything, whatever a caption may say."""


def page(title: str, lead: Markup, sections: Sequence[Section], *, version: str) -> str:
    """Lay the page out."""
    return render(
        "report.html",
        title=title,
        lead=lead,
        sections=sections,
        version=version,
        policy=POLICY,
        style=asset("report.css"),
        script=asset("report.js"),
    )
