"""What a notebook shows of a result: a table of its first rows, its figure, the explorer.

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
    "frequency": "conceptaudit.report.plots:plot_frequencies",
    "comparison": "conceptaudit.report.plots:plot_comparison",
    "curve": "conceptaudit.report.plots:plot_curve",
    "explore": "conceptaudit.explore:explore",
}


def show(what: str, *args: Any, **options: Any) -> Any:
    """Call what draws or shows something, by its name in `FIGURES`."""
    module, _, name = FIGURES[what].partition(":")
    return getattr(import_module(module), name)(*args, **options)


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
        parts.append(f"<p>and {more:,} more rows</p>")
    parts += [f"<p><small>{html.escape(note)}</small></p>" for note in notes[:5]]
    return "\n".join(parts)
