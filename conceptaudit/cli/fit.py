"""``conceptaudit fit``: accuracy against frequency."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from conceptaudit.cli.arguments import AS_JSON
from conceptaudit.cli.console import emit_json, progress_bar, say
from conceptaudit.cli.generated import takes_options
from conceptaudit.options import shared
from conceptaudit.options.fields import argument, flag, option, optional, required

if TYPE_CHECKING:
    import pandas as pd

    from conceptaudit.artifacts import RunFolder
    from conceptaudit.curves import Curve
    from conceptaudit.progress import Progress
    from conceptaudit.records import ConceptAccuracies, ConceptFrequencies


@takes_options
def fit(
    frequencies: list[str] = argument(
        "Audit folder; table with 'concept' and n_text, n_image or n_joint; or the paper's "
        "*_search_counts.json as files, a folder or a quoted glob.",
        metavar="RUN_OR_COUNTS...",
    ),
    *,
    accuracies: list[str] = required(
        "Per-concept accuracies: table with model, dataset, concept and n_correct, n_images or "
        "accuracy; the paper's *_results.json; a folder or a quoted glob. Repeat for more.",
        flags=("-a",),
    ),
    out: Path = required("Curve folder to write.", flags=("-o",)),
    count: str = option(
        "auto",
        "Which frequency: 'text', 'image', 'joint', or 'image_corrected', 'joint_corrected' of a "
        "calibrated audit, 'image_unique', 'joint_unique' of one that looked for copies; "
        "'text+image' takes two at once and says whether that helps; 'auto' takes corrected joint "
        "counts where at least 95 % of the concepts have one, else text.",
    ),
    family: str = option(
        "partial-pooling",
        "'partial-pooling': a line per dataset, drawn towards that of all; 'loglinear': one line, "
        "least squares per concept; 'binomial': a logit line; 'isotonic': any curve that never "
        "falls; 'saturating': with an asymptote; 'paper': the published line through trimmed bin "
        "means.",
    ),
    zero_policy: str = option(
        "log1p",
        "Frequencies of zero: 'log1p' keeps them, 'exclude' leaves them out, 'hurdle' gives them "
        "an accuracy of their own, off the line.",
    ),
    pretraining: str = option(
        "auto",
        "Models to fit: 'auto' takes those pretrained on the audited dataset, 'all' takes all; or "
        "a name. Also chooses among count files of several.",
    ),
    dataset: str | None = optional("Evaluation set, where an accuracy file names none."),
    model: str | None = optional("Model of an accuracy file that names none, or the only one."),
    level: float = option(0.9, "Level of the intervals, in (0, 1)."),
    sampled_from: int | None = shared.sampled_from(),
    share: float | None = shared.share(),
    seed: int = option(0, "Seed of resampling and shuffling."),
    compare: bool = flag(
        "Compare all families by cross-validation, concepts and datasets held out."
    ),
    binned: bool = flag("Show the paper's binned r, beside what shuffled accuracies give."),
    figures: bool = flag(
        "Draw more: each dataset, all slopes, held-out predictions, residuals, and how often "
        "intervals hold. Takes seconds per model."
    ),
    placebo: list[str] | None = optional(
        "Accuracies, as for --accuracies, of models that never saw the audited data, such as "
        "supervised ones: what slope appears where frequency cannot be its cause."
    ),
    covariate: str | None = optional(
        "Scale of the models, on which their slopes are regressed: 'parameters' or 'samples_seen' "
        "as open_clip knows them, or a column of the accuracy tables."
    ),
    law: float | None = optional(
        "Control: fit again to counts drawn by an artificial law, rank ** -LAW with ranks at "
        "random, and report the slope; 1 is Zipf's law."
    ),
    without: list[Path] | None = optional(
        "Control: fit again without samples that resemble test images. Two tables: hits with "
        "'sample_id' and 'concept', then the samples to leave out with 'sample_id'."
    ),
    overwrite: bool = flag("Replace the curve that the folder holds."),
    as_json: bool = AS_JSON,
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
    from conceptaudit.cli.fit_output import show_comparison, show_curve, show_placebo
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
    asked += [covariate, law, *map(str, without or [])]
    run = curve_folder(
        out,
        inputs=(*frequencies, *accuracies),
        made_from=[_digest(counted.table), _digest(measured.table), sampled_from, share, asked],
    )
    run.check(overwrite=overwrite)
    scales = _scales(covariate, measured, accuracies)
    with progress_bar() as progress:
        again = partial(
            fit_curve, family=family, zero_policy=zero_policy, level=level, seed=seed,
            progress=progress,
        )  # fmt: skip
        curve = again(counted, measured, count=count, pretraining=pretraining, scales=scales)
        remarks = controls(curve, counted, measured, again, law=law, without=without)
        comparison = _compared(curve, progress) if compare else None
        control = None
        if placebo:
            others = read_accuracies(placebo, dataset=dataset)
            control = again(counted, others, count=curve.count, pretraining="all").slopes
        with run.hold(overwrite=overwrite):
            drawing = progress if figures else None
            written = _write(curve, comparison, run, drawing, _references(frequencies))
    if as_json:
        emit_json(
            summary(curve, out)
            | ({} if comparison is None else {"comparison": comparison.to_dict("records")})
            | ({} if control is None else {"placebo": control.to_dict("records")})
            | ({"controls": remarks} if remarks else {})
        )
        return
    show_curve(curve, binned=binned)
    for remark in remarks:
        say(remark)
    if control is not None:
        show_placebo(curve.slopes, control)
    if comparison is not None:
        show_comparison(comparison, curve.level)
    say(f"\nWritten to {out}: {', '.join(written)}")


def _scales(
    covariate: str | None, measured: ConceptAccuracies, files: list[str]
) -> tuple[str, dict[tuple[str, str], float]] | None:
    """Look the scale of the models up, where it is asked for."""
    if covariate is None:
        return None
    from conceptaudit.zeroshot.model_scale import model_scales

    table = measured.table[["model", "pretraining"]].astype("str").drop_duplicates()
    models = list(table.itertuples(index=False, name=None))
    return covariate.replace("_", " "), model_scales(covariate, models, files)


def controls(
    curve: Curve,
    counted: ConceptFrequencies,
    measured: ConceptAccuracies,
    again: Callable[..., Curve],
    *,
    law: float | None,
    without: list[Path] | None,
) -> list[str]:
    """Fit again as controls ask, and say what each slope became beside the curve's own."""
    from conceptaudit.counts import BOTH
    from conceptaudit.curves.controls import frequencies_under_law, without_samples
    from conceptaudit.curves.cross_validation import compare_counts
    from conceptaudit.errors import ConfigError
    from conceptaudit.zeroshot.readers.tidy import read_table

    found = [compare_counts(counted, measured, curve)] if BOTH in curve.count else []
    if without is not None and len(without) != 2:
        raise ConfigError(
            "--without takes two tables, each after a --without of its own: hits, then the samples "
            f"to leave out. Got {len(without)} instead."
        )
    changed = {}
    if without:
        hits, excluded = (read_table(path).astype({"sample_id": "int64"}) for path in without)
        rest = without_samples(counted, hits, excluded["sample_id"].to_numpy(), count=curve.count)
        changed["Without the samples left out"] = rest
    if law is not None:
        drawn = frequencies_under_law(counted, exponent=law, count=curve.count, seed=curve.seed)
        changed[f"With counts of an artificial law, rank ** -{law:g}"] = drawn
    for what, frequencies in changed.items():
        other = again(frequencies, measured, count=curve.count, pretraining="all")
        lines = {fit.label: fit.line for fit in other.fits}
        found += [
            f"{what}, the slope of {fit.label} is {lines[fit.label].slope:+.4f} "
            f"({lines[fit.label].slope_low:+.4f} to {lines[fit.label].slope_high:+.4f}); with all "
            f"counts {fit.line.slope:+.4f}"
            for fit in curve.fits
            if fit.label in lines
        ]
    return found


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


def _references(frequencies: list[str]) -> list[str]:
    """Full names of the reference counts among the frequencies."""
    from conceptaudit.frequency.reference import PREFIX, reference_counts

    return [reference_counts(name).name for name in frequencies if name.startswith(PREFIX)]


def _write(
    curve: Curve,
    comparison: pd.DataFrame | None,
    run: RunFolder,
    drawing: Progress | None,
    references: list[str],
) -> list[str]:
    """Write a curve, its tables and its figures; return the names of the files."""
    from conceptaudit.artifacts import write_csv
    from conceptaudit.report.curve_figures import draw_curve
    from conceptaudit.report.figures import draw_all

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
    about = {"reference_counts": references} if references else {}
    run.finish({"source": curve.source, "curve": curve.digest, "notes": list(curve.notes), **about})
    return ["curve.json", *tables, "curve.png", "curve.svg", *more]


def _compared(curve: Curve, progress: Progress) -> pd.DataFrame:
    from conceptaudit.curves.cross_validation import compare_families

    return compare_families(curve, level=curve.level, seed=curve.seed, progress=progress)


def _of_counts(frequencies: list[str], pretraining: str) -> str | None:
    """Pretraining set to take from count files of several; most tables hold one audit anyway."""
    if pretraining in {"auto", "all"}:
        return None
    from conceptaudit.frequency.readers import holds_several

    return pretraining if holds_several(frequencies) else None


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
