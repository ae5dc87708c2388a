"""How results are shown: numbers with their nouns, a notebook's view of a table or a figure.

The rooms of numbers know nothing of pages: figures are found by name when they are asked for.
"""

from __future__ import annotations

import html
from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

ROWS = 12

FIGURES = {
    "frequency": "conceptaudit.report.figures:plot_frequencies",
    "comparison": "conceptaudit.report.figures:plot_comparison",
    "curve": "conceptaudit.report.figures:plot_curve",
    "explore": "conceptaudit.explore:explore",
}


def show(what: str, *args: Any, **options: Any) -> Any:
    """Call what draws or shows something, by its name in `FIGURES`."""
    module, _, name = FIGURES[what].partition(":")
    return getattr(import_module(module), name)(*args, **options)


def quantity(n: float, one: str, many: str | None = None) -> str:
    """Write a whole number with its noun, and with the verb that belongs to it.

    Examples
    --------
    >>> quantity(1, "class"), quantity(2000, "class"), quantity(0, "entry")
    ('1 class', '2,000 classes', '0 entries')
    >>> quantity(1, "key is", "keys are")
    '1 key is'
    """
    whole = round(n)
    return f"{whole:,} {one if whole == 1 else many or _plural(one)}"


def _plural(noun: str) -> str:
    if noun.endswith("y") and noun[-2] not in "aeiou":
        return f"{noun[:-1]}ies"
    return f"{noun}es" if noun.endswith(("s", "x", "ch", "sh")) else f"{noun}s"


def as_html(title: str, table: pd.DataFrame, notes: Sequence[str] = ()) -> str:
    """Lay out a result for a notebook: what it is, its first rows, its notes.

    Examples
    --------
    >>> import pandas as pd
    >>> "&lt;b&gt;" in as_html("1 concept", pd.DataFrame({"concept": ["<b>"]}))
    True
    """
    more = len(table) - ROWS
    rows = table.head(ROWS).to_html(index=False, escape=True, border=0)
    parts = [f"<p>{html.escape(title)}</p>", rows]
    if more > 0:
        parts.append(f"<p>and {quantity(more, 'more row')}</p>")
    parts += [f"<p><small>{html.escape(note)}</small></p>" for note in notes[:5]]
    return "\n".join(parts)
