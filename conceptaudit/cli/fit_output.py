"""What ``conceptaudit fit`` says of a curve: sentences first, then tables."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from conceptaudit.cli.console import say, say_frame, say_notes, say_table
from conceptaudit.display import quantity

if TYPE_CHECKING:
    import pandas as pd

    from conceptaudit.curves import Curve, ModelFit


SPOKEN = 5  # models whose fit is said in sentences


def show_curve(curve: Curve, *, binned: bool) -> None:
    """Print what a curve says; `binned` with the paper's own correlation."""
    from conceptaudit.curves.plain_words import fit_sentences

    for one in curve.fits[:SPOKEN]:
        head = f"{one.label}: " if len(curve.fits) > 1 else ""
        say(head + " ".join(fit_sentences(curve, one)))
    if len(curve.fits) > SPOKEN:
        say(f"(and {quantity(len(curve.fits) - SPOKEN, 'model')} more in the table)")
    say()
    if curve.scale is not None:
        say(curve.scale.sentence)
    say_notes(curve.notes)
    say()
    corrected = any(one.count_error for one in curve.fits)
    columns = [
        "model",
        "n used",
        "n zero",
        f"slope per decade [{curve.level:.0%}]",
        *(["without count error"] if corrected else []),
        "within datasets (p)",
        "datasets negative",
        "r per concept",
        "rank r",
        "overdispersion",
        *(["binned r (paper)", "binned r, shuffled"] if binned else []),
    ]
    rows = [_cells(one, corrected=corrected, binned=binned) for one in curve.fits]
    if len(rows) == 1:  # a row of so many columns is wider than a terminal
        say_table([*columns[:1], str(rows[0][0])], list(zip(columns[1:], rows[0][1:], strict=True)))
    else:
        say_table(columns, rows)
    say()
    say_notes(dict.fromkeys(note for one in curve.fits for note in one.notes))
    if corrected:
        say(
            "note: 'without count error' takes intervals wider than Poisson's as errors of the "
            "counts. Where a sample of the training data was audited, give --sampled-from or "
            "--share instead"
        )
    lacking = curve.unmatched[curve.unmatched["side"] == "accuracies"]
    for dataset, classes in lacking.groupby("dataset", sort=True):
        names = ", ".join(str(name) for name in classes["concept"].head(3))
        of = str(dataset) or "the results"
        say(f"note: no frequency for {quantity(len(classes), 'class')} of {of}, such as {names}")
    dropped = {reason for one in curve.fits for reason in one.usage.dropped}
    for reason in sorted(dropped):
        most = max(one.usage.dropped.get(reason, 0) for one in curve.fits)
        say(f"note: up to {quantity(most, 'concept')} of a model dropped: {reason}")


def _cells(fit: ModelFit, *, corrected: bool, binned: bool) -> list[object]:
    from conceptaudit.curves.plain_words import has_interval

    line, effects, error = fit.line, fit.effects, fit.count_error
    return [
        fit.label,
        fit.usage.n_used,
        fit.usage.n_zero,
        f"{line.slope:+.4f} [{line.slope_low:+.4f}, {line.slope_high:+.4f}]"
        if has_interval(line)
        else f"{line.slope:+.4f} (no interval)",
        *([f"{error.slope:+.4f}" if error else ""] if corrected else []),
        f"{effects.slope_within:+.4f} ({effects.p_within:.3f})",
        f"{effects.n_negative} of {effects.n_sloped}",
        line.r,
        line.rho,
        fit.overdispersion,
        *([fit.binned.r, fit.binned.r_shuffled] if binned else []),
    ]


def _mean(part: pd.DataFrame, column: str, shown: str, factor: float) -> str:
    """Write a mean over models; a dash where the family could not be fitted."""
    value = factor * float(part[column].mean())
    return shown.format(value) if math.isfinite(value) else "–"


def show_comparison(found: pd.DataFrame, level: float) -> None:
    """Show errors averaged over models, and how often a family could be told from the default."""
    from conceptaudit.curves.cross_validation import APART, BETTER, WORSE

    for scheme, rows in found.groupby("held_out", sort=False):
        n = rows["model"].nunique()
        say(f"\nheld-out {scheme}, {quantity(n, 'model')} (points of accuracy)")
        families = rows.groupby("family", sort=False)
        say_table(
            ["family", "MAE", "R2", "MAE - default's", "better", "worse", "cannot be told apart"],
            [
                [
                    str(family),
                    _mean(part, "mae", "{:.1f}", 100),
                    _mean(part, "r2", "{:.3f}", 1),
                    _mean(part, "difference", "{:+.2f}", 100),
                    *(
                        int((part["verdict"] == verdict).sum())
                        for verdict in (BETTER, WORSE, APART)
                    ),
                ]
                for family, part in families
            ],
        )
    say(
        f"\nnote: a family is better or worse where the {level:.0%} interval of its difference "
        "from the default, over datasets, leaves out 0; the columns count models. Each comparison "
        f"stands by itself: of those of equal families {1 - level:.0%} are told apart by chance"
    )


def show_placebo(slopes: pd.DataFrame, control: pd.DataFrame) -> None:
    """Show the slopes of models that never saw the data, beside the curve's on the same sets."""
    say("\nslope per decade within a set; of a placebo, frequency in the audited data is no cause")
    import pandas as pd

    same = slopes[slopes["dataset"].isin(set(control["dataset"]))]
    both = pd.concat([same.assign(what="curve"), control.assign(what="placebo")])
    interval = "{slope_low:.3f} to {slope_high:.3f}"
    names = {"model": "model", "dataset": "dataset", "slope": "slope"}
    say_frame(both, {"": "what", **names, "interval": interval, "r": "r"})
