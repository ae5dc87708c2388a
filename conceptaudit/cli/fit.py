"""``conceptaudit fit``: accuracy against frequency."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from conceptaudit.cli.arguments import AsJson, SampledFrom, Share
from conceptaudit.cli.console import emit_json, progress_bar, say, say_table

if TYPE_CHECKING:
    import pandas as pd

    from conceptaudit.artifacts import RunFolder
    from conceptaudit.curves import Curve, ModelFit
    from conceptaudit.progress import Progress


SPOKEN = 5
"""Models whose fit is said in sentences."""


def fit(
    frequencies: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN_OR_COUNTS...",
            help="Audit folder; table with 'concept' and n_text, n_image or n_joint; or the "
            "paper's *_search_counts.json as files, a folder or a quoted glob.",
        ),
    ],
    *,
    accuracies: Annotated[
        list[str],
        typer.Option(
            "--accuracies",
            "-a",
            help="Per-concept accuracies: table with model, dataset, concept and n_correct, "
            "n_images or accuracy; the paper's *_results.json; a folder or a quoted glob. Repeat "
            "for more.",
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Curve folder to write.")],
    count: Annotated[
        str,
        typer.Option(
            help="Which frequency: 'text', 'image', 'joint', or 'image_corrected', "
            "'joint_corrected' of a calibrated audit; 'auto' takes corrected joint counts where at "
            "least 95 % of the concepts have one, else text."
        ),
    ] = "auto",
    family: Annotated[
        str,
        typer.Option(
            help="'partial-pooling': a line per dataset, drawn towards that of all; 'loglinear': "
            "one line, least squares per concept; 'binomial': a logit line; 'isotonic': any curve "
            "that never falls; 'saturating': with an asymptote; 'paper': the published line "
            "through trimmed bin means."
        ),
    ] = "partial-pooling",
    zero_policy: Annotated[
        str,
        typer.Option(
            help="Frequencies of zero: 'log1p' keeps them, 'exclude' leaves them out, 'hurdle' "
            "gives them an accuracy of their own, off the line."
        ),
    ] = "log1p",
    pretraining: Annotated[
        str,
        typer.Option(
            help="Models to fit: 'auto' takes those pretrained on the audited dataset, 'all' "
            "takes all; or a name. Also chooses among count files of several."
        ),
    ] = "auto",
    dataset: Annotated[
        str | None, typer.Option(help="Evaluation set, where an accuracy file names none.")
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="Model of an accuracy file that names none, or the only one.")
    ] = None,
    level: Annotated[float, typer.Option(help="Level of the intervals, in (0, 1).")] = 0.9,
    sampled_from: SampledFrom = None,
    share: Share = None,
    seed: Annotated[int, typer.Option(help="Seed of resampling and shuffling.")] = 0,
    compare: Annotated[
        bool,
        typer.Option(
            "--compare",
            help="Compare all families by cross-validation, concepts and datasets held out.",
        ),
    ] = False,
    binned: Annotated[
        bool,
        typer.Option(
            "--binned", help="Show the paper's binned r, beside what shuffled accuracies give."
        ),
    ] = False,
    figures: Annotated[
        bool,
        typer.Option(
            "--figures",
            help="Draw more: each dataset, all slopes, held-out predictions, residuals, and how "
            "often intervals hold. Takes seconds per model.",
        ),
    ] = False,
    placebo: Annotated[
        list[str] | None,
        typer.Option(
            "--placebo",
            help="Accuracies, as for --accuracies, of models that never saw the audited data, such "
            "as supervised ones: what slope appears where frequency cannot be its cause.",
        ),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the curve that the folder holds.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Fit how zero-shot accuracy grows with pretraining frequency, concept by concept.

    Writes curve.json (for `conceptaudit predict`), fit.csv (a row per model), datasets.csv (a row
    per model and dataset), unmatched.csv (concepts on one side only), folded.csv (names that differ
    in case or separators), curve.png and curve.svg; with --compare also comparison.csv; with
    --figures also datasets, slopes, predicted, residuals and calibration, as PNG and SVG.

    \u0008
    Example:
      conceptaudit fit runs/both --accuracies accuracies.csv -o curves/ours
      conceptaudit fit search_counts --pretraining cc3m -a 'zero_shot/*_ensemble_results.json' -o c
    """
    from conceptaudit.curves import fit_curve
    from conceptaudit.frequency.readers import read_frequencies, with_share
    from conceptaudit.zeroshot.readers import read_accuracies

    counted = with_share(
        read_frequencies(frequencies, pretraining=_of_counts(frequencies, pretraining)),
        sampled_from=sampled_from,
        share=share,
    )
    measured = read_accuracies(accuracies, dataset=dataset, model=model)
    asked = [count, family, zero_policy, pretraining, level, seed, compare, figures, placebo]
    run = curve_folder(
        out,
        inputs=(*frequencies, *accuracies),
        made_from=[_digest(counted.table), _digest(measured.table), sampled_from, share, asked],
    )
    run.check(overwrite=overwrite)
    with progress_bar() as progress:
        curve = fit_curve(
            counted,
            measured,
            count=count,
            family=family,
            zero_policy=zero_policy,
            pretraining=pretraining,
            level=level,
            seed=seed,
            progress=progress,
        )
        comparison = _compared(curve, progress) if compare else None
        control = None
        if placebo:
            control = fit_curve(
                counted,
                read_accuracies(placebo, dataset=dataset),
                count=curve.count,
                family=family,
                zero_policy=zero_policy,
                pretraining="all",
                level=level,
                seed=seed,
                progress=progress,
            ).slopes
        with run.hold(overwrite=overwrite):
            written = _write(curve, comparison, run, progress if figures else None)
    if as_json:
        emit_json(
            summary(curve, out)
            | ({} if comparison is None else {"comparison": comparison.to_dict("records")})
            | ({} if control is None else {"placebo": control.to_dict("records")})
        )
        return
    _show(curve, binned=binned)
    if control is not None:
        _show_placebo(curve.slopes, control)
    if comparison is not None:
        _show_comparison(comparison, curve.level)
    say(f"\nWritten to {out}: {', '.join(written)}")


def _show_placebo(slopes: pd.DataFrame, control: pd.DataFrame) -> None:
    """Show the slopes of models that never saw the data, beside the curve's on the same sets."""
    say("\nslope per decade within a set; of a placebo, frequency in the audited data is no cause")
    same = slopes[slopes["dataset"].isin(set(control["dataset"]))]
    say_table(
        ["", "model", "dataset", "slope", "interval", "r"],
        [
            [
                what,
                str(row["model"]),
                str(row["dataset"]),
                float(row["slope"]),
                f"{row['slope_low']:.3f} to {row['slope_high']:.3f}",
                float(row["r"]),
            ]
            for what, rows in (("curve", same), ("placebo", control))
            for _, row in rows.iterrows()
        ],
    )


def curve_folder(out: Path, *, inputs: tuple[str, ...], made_from: object) -> RunFolder:
    """Name the folder of a curve, whose digest is of what it is made from."""
    from conceptaudit.artifacts import RunFolder, digest_of, package_versions

    return RunFolder.at(
        out,
        kind="curve",
        digest=digest_of([made_from, package_versions("scipy", "numpy")]),
        inputs=inputs,
        options=("overwrite",),
    )


def _digest(table: pd.DataFrame) -> str:
    """Digest of a table's columns and values."""
    from conceptaudit.artifacts import digest_of

    return digest_of([list(map(str, table.columns)), table.to_csv(index=False)])


def _write(
    curve: Curve, comparison: pd.DataFrame | None, run: RunFolder, drawing: Progress | None
) -> list[str]:
    """Write a curve, its tables and its figures; return the names of the files."""
    from conceptaudit.artifacts import write_csv
    from conceptaudit.report.curve_figures import draw_curve
    from conceptaudit.report.curve_set import draw_all

    out, tables = run.path, {
        "fit.csv": curve.table,
        "datasets.csv": curve.slopes,
        "unmatched.csv": curve.unmatched,
        "folded.csv": curve.folded,
        **({} if comparison is None else {"comparison.csv": comparison}),
    }  # fmt: skip
    for name, table in tables.items():
        write_csv(out / name, table)
    draw_curve(curve, out / "curve.png")
    draw_curve(curve, out / "curve.svg")
    more = [] if drawing is None else draw_all(curve, out, progress=drawing)
    curve.save(out / "curve.json")
    run.finish({"source": curve.source, "curve": curve.digest, "notes": list(curve.notes)})
    return ["curve.json", *tables, "curve.png", "curve.svg", *more]


def _compared(curve: Curve, progress: Progress) -> pd.DataFrame:
    from conceptaudit.curves.comparison import compare_families

    return compare_families(curve, level=curve.level, seed=curve.seed, progress=progress)


def _of_counts(frequencies: list[str], pretraining: str) -> str | None:
    """Pretraining set to take from count files of several; most tables hold one audit anyway."""
    if pretraining in {"auto", "all"}:
        return None
    from conceptaudit.frequency.readers import holds_corpora, holds_table

    one = holds_table(frequencies) and not holds_corpora(frequencies)
    return None if one else pretraining


def summary(curve: Curve, out: Path) -> dict[str, object]:
    """Lay a curve's numbers out for a machine."""
    return {
        "curve": str(out),
        "digest": curve.digest,
        "source": curve.source,
        "count": curve.count,
        "family": curve.family,
        "zero_policy": curve.zero_policy,
        "level": curve.level,
        "notes": list(curve.notes),
        "n_unmatched": {
            str(side): int(n) for side, n in curve.unmatched["side"].value_counts().items()
        },
        "models": curve.table.to_dict("records"),
    }


def _show(curve: Curve, *, binned: bool) -> None:
    from conceptaudit.curves.plain_words import fit_sentences

    for one in curve.fits[:SPOKEN]:
        head = f"{one.label}: " if len(curve.fits) > 1 else ""
        say(head + " ".join(fit_sentences(curve, one)))
    if len(curve.fits) > SPOKEN:
        say(f"(and {len(curve.fits) - SPOKEN:,} models more in the table)")
    say()
    for note in curve.notes:
        say(f"note: {note}")
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
    for remark in dict.fromkeys(note for one in curve.fits for note in one.notes):
        say(f"note: {remark}")
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
        say(f"note: no frequency for {len(classes):,} classes of {of}, such as {names}")
    dropped = {reason for one in curve.fits for reason in one.usage.dropped}
    for reason in sorted(dropped):
        most = max(one.usage.dropped.get(reason, 0) for one in curve.fits)
        say(f"note: up to {most:,} concepts of a model dropped: {reason}")


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


def _show_comparison(found: pd.DataFrame, level: float) -> None:
    """Show errors averaged over models, and how often a family could be told from the default."""
    from conceptaudit.curves.comparison import APART, BETTER, WORSE

    for scheme, rows in found.groupby("held_out", sort=False):
        n = rows["model"].nunique()
        say(f"\nheld-out {scheme}, {n:,} model{'s' * (n > 1)} (points of accuracy)")
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
