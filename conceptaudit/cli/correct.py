"""``conceptaudit correct``: counts that rest on a judged sample."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from conceptaudit.cli.arguments import AS_JSON
from conceptaudit.cli.console import emit_json, say, say_frame, say_notes
from conceptaudit.cli.generated import takes_options
from conceptaudit.display import quantity
from conceptaudit.options.fields import argument, optional, required

if TYPE_CHECKING:
    import pandas as pd

SHOWN = 20  # concepts shown


@takes_options
def correct(
    run: Path = argument("Run folder of a finished audit.", metavar="RUN"),
    *,
    judged: Path = required(
        "What 'conceptaudit judge' wrote, filled in; or labels with key, concept[, present] of "
        "images drawn at random."
    ),
    level: float | None = optional("Coverage of the intervals; the audit's by default."),
    as_json: bool = AS_JSON,
) -> None:
    """Put counts that rest on a judged sample into an audit, without another pass over its data.

    frequencies.csv and .parquet get the columns n_image_judged, n_joint_judged or n_text_judged
    with intervals; see docs/columns.md.

    \u0008
    Example:
      conceptaudit correct runs/both --judged judge.csv
    """
    from conceptaudit.auditing.judged_run import correct as correct_run

    table, notes = correct_run(run, judged, level=level)
    if as_json:
        emit_json({"run": str(run), "n_concepts": _n_judged(table), "notes": list(notes)})
        return
    say_notes(notes)
    for side in ("image", "text"):
        column = f"n_{side}_judged"
        if column in table and table[column].notna().any():
            _show(table[table[column].notna()], column, f"n_{side}")
    say(f"\nWritten to {run}: frequencies.parquet, frequencies.csv")


def _n_judged(table: pd.DataFrame) -> dict[str, int]:
    columns = [name for name in ("n_image_judged", "n_text_judged") if name in table]
    return {name: int(table[name].notna().sum()) for name in columns}


def _show(table: pd.DataFrame, column: str, raw: str) -> None:
    say(f"\n{column}: {quantity(len(table), 'concept')}, the most frequent")
    shown = table.nlargest(SHOWN, column)
    shown = shown.assign(
        **{column: shown[column].astype(float).round(1), raw: shown[raw].where(shown[raw] >= 0)}
    )
    columns = {
        "concept": "concept",
        column: column,
        "interval": f"{{{column}_low:,.0f}} to {{{column}_high:,.0f}}",
        "judged": f"{column}_sample",
        raw: raw,
    }
    say_frame(shown, columns)
