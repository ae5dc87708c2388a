"""``conceptaudit plan``: from a wanted accuracy to the examples that it takes."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

from conceptaudit.cli.console import emit_json, say, say_frame, say_notes, say_table
from conceptaudit.cli.generated import takes_options
from conceptaudit.cli.predict import circular, open_curve
from conceptaudit.display import quantity
from conceptaudit.options import shared
from conceptaudit.options.fields import argument, flag, option, optional, required

if TYPE_CHECKING:
    from conceptaudit.curves.planning import Plan

SHOWN = 15  # classes shown, cheapest gain first


@takes_options
def plan(
    curve: str = argument(
        "Folder of `conceptaudit fit`, or curve.json; 'reference' for published models.",
        metavar="CURVE",
    ),
    *,
    frequencies: list[str] = required(
        "Audit folder or table with 'concept' and the count of the curve.", flags=("-f",)
    ),
    target: float = required("Accuracy that each class is to reach, in (0, 1]."),
    cost_per_example: float | None = optional("Price of one more example, in any currency."),
    model: str | None = optional("Model of the curve; all of them by default."),
    level: float = option(0.9, "Level of the intervals, in (0, 1)."),
    sampled_from: int | None = shared.sampled_from(),
    share: float | None = shared.share(),
    out: Path | None = optional("CSV file to write all classes to.", flags=("-o",)),
    steps: Path | None = optional(
        "CSV file to write the order of spending to, a doubling at a time."
    ),
    as_json: bool = flag("Print the plan as JSON.", name="json"),
) -> None:
    """Say how many more examples each class needs for a target accuracy, cheapest gains first.

    Assumes that a class with more examples moves along the curve. Curves are fitted across classes:
    take orders of magnitude from this, and the ranking.

    \u0008
    Example:
      conceptaudit plan curves/ours --frequencies runs/both --target 0.8 --cost-per-example 0.002
    """
    from conceptaudit.artifacts import write_csv
    from conceptaudit.curves.planning import ASSUMPTION
    from conceptaudit.curves.planning import plan as make_plan
    from conceptaudit.frequency.readers import read_frequencies, with_share
    from conceptaudit.store.outputs import output_files, staged

    outputs = output_files("plan", [out, steps])
    given = with_share(read_frequencies(frequencies), sampled_from=sampled_from, share=share)
    fitted, counted, notes = open_curve(
        curve, given, pretraining="auto", count="auto", rescale=False
    )
    notes = (*notes, *circular(fitted))
    found = make_plan(
        fitted, counted, target=target, cost_per_example=cost_per_example, level=level, model=model
    )
    with staged(outputs) as files:
        files.about.update(curve=fitted.digest, target=target, level=level, notes=list(notes))
        if out is not None:
            write_csv(files[out], found.table)
        if steps is not None:
            write_csv(files[steps], found.steps)
    if as_json:
        emit_json(
            {
                "target": target,
                "level": level,
                "notes": [ASSUMPTION, *notes],
                "summary": found.summary.to_dict("records"),
                "classes": found.table.to_dict("records"),
                "steps": found.steps.to_dict("records"),
            }
        )
    else:
        _show(found, notes, [path for path in (out, steps) if path is not None])


def shown_examples(examples: float) -> str:
    """Write a number of examples to the two digits that a curve may have.

    Examples
    --------
    >>> shown_examples(10.0), shown_examples(1234.0), shown_examples(float("inf"))
    ('10 or fewer', '1,200', 'beyond the curve')
    """
    from conceptaudit.curves.planning import LEAST_EXAMPLES

    if examples <= LEAST_EXAMPLES:
        return f"{LEAST_EXAMPLES:.0f} or fewer"
    return f"{float(f'{examples:.2g}'):,.0f}" if math.isfinite(examples) else "beyond the curve"


def shown_interval(low: float, high: float) -> str:
    """Write an interval of examples.

    Examples
    --------
    >>> shown_interval(0.0, 1234.0), shown_interval(88.0, float("inf"))
    ('0 to 1,200', '88 or more')
    >>> shown_interval(float("nan"), float("nan"))
    'none: two datasets'
    """
    if math.isnan(low):
        return "none: two datasets"
    least = f"{float(f'{low:.2g}'):,.0f}"
    return f"{least} to {shown_examples(high)}" if math.isfinite(high) else f"{least} or more"


def _show(found: Plan, notes: tuple[str, ...], written: list[Path]) -> None:
    from conceptaudit.curves.planning import ASSUMPTION, CHECK_COUNT, REACHABLE

    ahead = found.table[found.table["status"] == REACHABLE]
    if len(ahead):
        say(f"cheapest gains towards an accuracy of {found.target:g}")
        ahead = ahead.sort_values("order").head(SHOWN)
        interval = map(shown_interval, ahead["examples_low"], ahead["examples_high"])
        columns = {
            "model": "model",
            "concept": "concept",
            "now": "accuracy",
            "count": "count",
            "more examples": "shown",
            f"{found.level:.0%} interval": "interval",
        }
        more = ahead["examples"].map(shown_examples)
        say_frame(ahead.assign(shown=more, interval=list(interval)), columns)
        say()
    check = found.table[found.table["status"] == CHECK_COUNT]
    if len(check):
        names = ", ".join(str(name) for name in check["concept"].head(SHOWN))
        say(
            f"check the count of {quantity(len(check), 'class')}, accurate at a count of 0: "
            f"{names}\n"
        )
    summary = found.summary
    say_table(list(summary.columns), summary.astype("object").to_numpy().tolist())
    say()
    say(f"note: {ASSUMPTION}")
    say_notes(notes)
    for path in written:
        say(f"Written to {path}")
