"""``conceptaudit predict``: accuracy from frequency."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from conceptaudit.cli.console import emit_json, say, say_table

if TYPE_CHECKING:
    import pandas as pd

SHOWN = 10
"""Rows shown from each end of the predictions."""


def predict(
    curve: Annotated[
        Path, typer.Argument(metavar="CURVE", help="Folder of `conceptaudit fit`, or curve.json.")
    ],
    *,
    frequencies: Annotated[
        list[str],
        typer.Option(
            "--frequencies",
            "-f",
            help="Audit folder, table with 'concept' and the count that the curve was fitted on, "
            "or the paper's *_search_counts.json. Repeat for more count files.",
        ),
    ],
    model: Annotated[
        str | None, typer.Option(help="Model of the curve; all of them by default.")
    ] = None,
    level: Annotated[
        float, typer.Option(help="Share of concepts an interval is meant to hold, in (0, 1).")
    ] = 0.9,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="CSV file to write all predictions to.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print all predictions as JSON.")] = False,
) -> None:
    """Predict zero-shot accuracy, concept by concept, with an interval.

    The 'basis' of a prediction says what its interval rests on, or why there is none.

    \u0008
    Example:
      conceptaudit predict curves/ours --frequencies runs/other -o predictions.csv
    """
    from conceptaudit.artifacts import write_csv
    from conceptaudit.curves import Curve
    from conceptaudit.curves import predict as predict_accuracy
    from conceptaudit.frequency.readers import read_frequencies

    table = predict_accuracy(
        Curve.load(curve), read_frequencies(frequencies), level=level, model=model
    )
    if out is not None:
        write_csv(out, table)
    if as_json:
        emit_json({"level": level, "predictions": table.to_dict("records")})
    else:
        _show(table, level, out)


def _show(table: pd.DataFrame, level: float, out: Path | None) -> None:
    predicted = table[table["accuracy"].notna()]
    ordered = predicted.sort_values("accuracy", ascending=False, kind="stable")
    rest = ordered.iloc[SHOWN:]
    shown = [("highest", ordered.head(SHOWN)), ("lowest", rest.tail(SHOWN))]
    for title, rows in shown:
        if len(rows):
            say(f"{title} predicted accuracy")
            say_table(
                ["model", "concept", "frequency", "accuracy", f"{level:.0%} interval", ""],
                [
                    [
                        row["model"],
                        row["concept"],
                        int(row["count"]),
                        float(row["accuracy"]),
                        f"{row['low']:.3f} to {row['high']:.3f}",
                        "extrapolated" if row["extrapolated"] else "",
                    ]
                    for _, row in rows.iterrows()
                ],
            )
            say()
    for reason, n in table["basis"].value_counts().head(SHOWN).items():
        say(f"{n:,} rows: {reason}")
    if out is not None:
        say(f"Written to {out}")
