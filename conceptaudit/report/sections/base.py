"""What every part of the report is, and the pieces they share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from conceptaudit.report.markup import Markup, el


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """One part of the page.

    Parameters
    ----------
    identifier : str
        Anchor.
    title : str
    short : str
        Name in the table of contents.
    body : Markup
    missing : bool
        Whether the part only says why it is not there.
    """

    identifier: str
    title: str
    short: str
    body: Markup
    missing: bool = False


def absent(identifier: str, title: str, short: str, why: str) -> Section:
    """Return the one honest sentence in place of a part whose input is missing.

    What stands between backticks is shown as code.
    """
    words = [el("code", part) if i % 2 else part for i, part in enumerate(why.split("`"))]
    body = el("p", words)
    return Section(identifier=identifier, title=title, short=short, body=body, missing=True)


def table(
    headers: Sequence[str],
    rows: Sequence[Sequence[Any]],
    *,
    caption: str,
    numeric: Sequence[int] = (),
) -> Markup:
    """Build a small table; the first cell of a row names it."""

    def kind(column: int) -> str | None:
        return "num" if column in numeric else None

    head = el("tr", [el("th", name, scope="col", class_=kind(i)) for i, name in enumerate(headers)])
    body = [
        el(
            "tr",
            [
                el("th", cell, scope="row") if i == 0 else el("td", cell, class_=kind(i))
                for i, cell in enumerate(row)
            ],
        )
        for row in rows
    ]
    inner = el("table", el("caption", caption), el("thead", head), el("tbody", body))
    return el("div", inner, class_="scroll", role="region", aria_label=caption, tabindex="0")


def folded(title: str, *content: Any) -> Markup:
    """Put details behind a summary that opens without a script."""
    return el("details", el("summary", title), *content)
