"""``conceptaudit curate``: weighted subsets and mixtures of audited data, and what they change."""

from __future__ import annotations

from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Any

from conceptaudit.cli.arguments import (
    AS_JSON,
    CROISSANT,
    OVERWRITE,
    RESUME,
    check_croissant,
    put_croissant,
)
from conceptaudit.cli.console import (
    emit_json,
    logged_progress,
    progress_bar,
    say,
    say_frame,
    say_notes,
    say_table,
)
from conceptaudit.cli.generated import takes_options
from conceptaudit.display import quantity
from conceptaudit.options.curate import CurateOptions
from conceptaudit.options.engine import EngineChoice
from conceptaudit.options.fields import argument, flag, optional

if TYPE_CHECKING:
    from conceptaudit.curate import Curated
    from conceptaudit.curves import Curve

SHOWN = 10  # concepts shown from each end


@takes_options
def curate(
    runs: list[str] = argument(
        "Run folders of finished audits; of several, the share of the result that each is. Runs "
        "without a share divide the rest equally.",
        metavar="RUN[=SHARE]...",
    ),
    *,
    out: Path | None = optional("Folder to write; new, empty or its own.", flags=("-o",)),
    dry_run: bool = flag("Say what would be, and write nothing."),
    best_mixture: bool = flag(
        "Say which shares of the runs the --curve predicts the best tail accuracy of, in a set of "
        "--size; write nothing."
    ),
    options: CurateOptions,
    scores: str | None = optional("Table with a key column and scores that --keep may name."),
    curve: str | None = optional(
        "Curve ('conceptaudit fit') that predicts accuracies before and after."
    ),
    dataset: str | None = optional("Where the run's dataset lies now, if it was moved."),
    workers: EngineChoice,
    resume: bool = RESUME,
    overwrite: bool = OVERWRITE,
    croissant: Path | None = CROISSANT,
    as_json: bool = AS_JSON,
) -> None:
    """Choose and weigh the samples of audited data for training, with an account of every step.

    Steps, in this order: --keep, --exclude, repeats of earlier runs, --drop-copies,
    --prototype-prune; what is left is counted; then --density and --temper weigh, --cap and
    --size draw. docs/curate.md says what is written.

    \u0008
    Example:
      conceptaudit curate runs/both --tail-share 0.06 --dry-run --curve curves/ours
      conceptaudit curate runs/both --keep 'similarity >= 0.28' --cap 20000 -o curated
      conceptaudit curate runs/a=0.7 runs/b=0.3 --size 1000000 -o mixed
    """
    from conceptaudit.curate import curate as curate_runs
    from conceptaudit.curate import parse_run
    from conceptaudit.curves import Curve
    from conceptaudit.errors import ConfigError

    if best_mixture:
        if curve is None or options.size is None or out is not None:
            raise ConfigError("--best-mixture needs --curve and --size, and writes nothing.")
        named = [parse_run(run)[0] for run in runs]
        _show_best(named, Curve.load(Path(curve)), options.size, as_json=as_json)
        return
    if (out is None) is not dry_run:
        raise ConfigError(
            "Either name a folder to write (-o OUT), or ask what would be (--dry-run)."
        )
    check_croissant(croissant)
    more: dict[str, Any] = {
        "options": options,
        "scores": scores,
        "curve": None if curve is None else Curve.load(Path(curve)),
        "dataset": dataset,
        "workers": workers,
    }
    asked = [parse_run(run) for run in runs]
    if out is None:
        with progress_bar() as progress:
            made = curate_runs(asked, None, progress=progress, **more)
    else:
        with logged_progress(out, "curation") as progress:
            made = curate_runs(
                asked, out, progress=progress, resume=resume, overwrite=overwrite, **more
            )
    if out is not None:
        put_croissant(out, croissant)
    if as_json:
        emit_json(made.as_json())
    else:
        _show(made, options.level)


def _show_best(runs: list[str], curve: Curve, size: int, *, as_json: bool) -> None:
    from conceptaudit.curate.best_mixture import NEARLY, best_mixture
    from conceptaudit.curate.predicted import CAVEAT

    found = best_mixture(runs, curve, size)
    if as_json:
        rows = found.table.to_dict("records")
        emit_json({"tail": found.tail, "tail_equal": found.tail_equal, "runs": rows})
        return
    say(f"note: {CAVEAT}")
    say(
        f"predicted mean accuracy of {quantity(found.n_tail, 'tail concept')} in "
        f"{quantity(size, 'sample')}: {found.tail:.3f}; with equal shares {found.tail_equal:.3f}"
    )
    columns = {
        "run": "run",
        "share": "share",
        f"within {NEARLY} of it": "{share_low:.2f} to {share_high:.2f}",
        "tail, it alone": "tail_alone",
    }
    say_frame(found.table, columns)


def _show(made: Curated, level: float) -> None:
    say_notes(made.notes)
    for name, about in made.about["runs"].items():
        if "cap" in about:
            say(
                f"{name}: T = {about['cap']:,.6g} by {about['count']}; {about['n_capped']:,} "
                f"concepts are above it, those below hold {about['tail_share']:.1%} of matches"
            )
    say()
    several = made.account["run"].nunique() > 1
    heads = {"run": "run", "step": "step", "": "reason", "samples": "n"}
    say_frame(made.account, heads if several else dict(list(heads.items())[1:]))
    say()
    whole = {"": "what", "before": "before", "after": "after", "random subset": "random"}
    say_frame(made.summary, whole)
    table = made.concepts[made.concepts["n_before"] > 0]
    ordered = table.sort_values("n_before", ascending=False, kind="stable")
    ends = [("most frequent", ordered.head(SHOWN)), ("rarest", ordered.iloc[SHOWN:].tail(SHOWN))]
    expected = {
        "concept": "concept",
        "before": "n_before",
        "after": "n_after",
        f"{level:.0%} interval": "{n_after_low:,.1f} to {n_after_high:,.1f}",
        "random subset": "n_random",
    }
    for title, part in ends:
        if len(part):
            say(f"\n{title}, expected {made.about['count']}")
            say_frame(part, expected)
    if made.prediction is not None:
        _show_prediction(made.prediction.means)
    if made.folder is not None:
        say(f"\nWritten to {made.folder}: kept.parquet, account.csv, expected.csv, summary.csv")


def _ends(row: Any, kind: str) -> str:
    low, high = row[f"{kind}_low"], row[f"{kind}_high"]
    return "" if isnan(low) else f" ({low:.3f} to {high:.3f})"


def _show_prediction(means: Any) -> None:
    say("\npredicted mean accuracy")
    say_table(
        ["model", "classes", "n", "before", "after", "random", "change", "by the slope alone"],
        [
            [
                row["model"],
                row["group"],
                int(row["n_classes"]),
                *(f"{row[k]:.3f}{_ends(row, k)}" for k in ("before", "after", "random")),
                f"{row['change']:+.3f}",
                f"{row['change_low']:+.3f} to {row['change_high']:+.3f}",
            ]
            for _, row in means.iterrows()
        ],
    )
    if means["before_low"].isna().all():
        say("No interval of means: the curve was fitted on a single dataset.")
