"""``conceptaudit evidence``: why a concept was counted."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from conceptaudit.cli.arguments import AS_JSON
from conceptaudit.cli.console import emit_json, say, say_table
from conceptaudit.cli.generated import takes_options
from conceptaudit.options.fields import argument, flag, option

if TYPE_CHECKING:
    import pandas as pd


@takes_options
def evidence(
    run: Path = argument("Run folder of a text audit.", metavar="RUN"),
    concepts: list[str] = argument(
        "Concepts by name or another name, in any case, also in the plural.", metavar="CONCEPT..."
    ),
    *,
    n: int = option(10, "Captions shown of each kind.", flags=("-n",), within="[1, inf)"),
    together: bool = flag("Show also what is named together with the concept."),
    as_json: bool = AS_JSON,
) -> None:
    """Show captions in which a concept was counted, and some in which its words were not.

    The captions are drawn at random, by a hash of the sample and the concept.

    \u0008
    Example:
      conceptaudit evidence runs/text watch orange
    """
    from conceptaudit.auditing.outputs import name_in_run, read_run_table

    concepts = list(dict.fromkeys(name_in_run(run, name) for name in concepts))
    shown = {name: read_run_table(run, "evidence", name) for name in concepts}
    pairs = {name: read_run_table(run, "cooccurrence", name) for name in concepts if together}
    if as_json:
        emit_json(
            {
                name: {
                    "evidence": table.to_dict("records"),
                    **({"together": pairs[name].to_dict("records")} if together else {}),
                }
                for name, table in shown.items()
            }
        )
        return
    for name, table in shown.items():
        _show(name, table, n)
        if together:
            _show_partners(pairs[name].head(n))


def _show(name: str, table: pd.DataFrame, n: int) -> None:
    for kind, title in (("counted", "counted as a noun"), ("rejected", "not counted: no noun")):
        rows = table[table["kind"] == kind].head(n)
        if len(rows):
            say(f"\n{name}, {title}")
            # the marked words stand under each other
            width = max(rows["before"].str.len())
            for key, before, matched, after in zip(
                rows["key"], rows["before"], rows["matched"], rows["after"], strict=True
            ):
                say(f"  {before:>{width}}[{matched}]{after}   ({key})")
    if table.empty:
        say(f"\n{name}: no caption holds its words")


def _show_partners(rows: pd.DataFrame) -> None:
    say("\n  named together with")
    say_table(
        ["concept", "captions", "NPMI"],
        [
            [str(partner), int(n), float(npmi)]
            for partner, n, npmi in zip(rows["concept_b"], rows["n"], rows["npmi"], strict=True)
        ],
    )
