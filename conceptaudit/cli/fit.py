"""``conceptaudit fit``: accuracy against frequency."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from conceptaudit.cli.console import emit_json, say, say_table

if TYPE_CHECKING:
    from conceptaudit.curves import Curve

OUR_FILES = ("curve.json", "fit.csv", "unmatched.csv", "curve.png", "curve.svg")
"""What a curve's folder holds; ``--overwrite`` replaces these and nothing else."""


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
        str, typer.Option(help="Which frequency: 'text', 'image', 'joint'; 'auto' prefers joint.")
    ] = "auto",
    family: Annotated[
        str,
        typer.Option(
            help="'loglinear': least squares per concept; 'paper': the published line through "
            "trimmed bin means."
        ),
    ] = "loglinear",
    zero_policy: Annotated[
        str,
        typer.Option(help="Frequencies of zero: 'log1p' keeps them, 'exclude' leaves them out."),
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
    seed: Annotated[int, typer.Option(help="Seed of resampling and shuffling.")] = 0,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the curve that the folder holds.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Fit how zero-shot accuracy grows with pretraining frequency, concept by concept.

    Writes curve.json (for `conceptaudit predict`), fit.csv (a row per model), unmatched.csv
    (concepts on one side only), curve.png and curve.svg.

    \u0008
    Example:
      conceptaudit fit runs/both --accuracies accuracies.csv -o curves/ours
      conceptaudit fit search_counts --pretraining cc3m -a 'zero_shot/*_ensemble_results.json' -o c
    """
    from conceptaudit.artifacts import write_csv
    from conceptaudit.curves import fit_curve
    from conceptaudit.frequency.readers import read_frequencies
    from conceptaudit.report.curve_figures import draw_curve
    from conceptaudit.zeroshot.readers import read_accuracies

    claim(out, overwrite=overwrite)
    curve = fit_curve(
        read_frequencies(frequencies, pretraining=_of_counts(frequencies, pretraining)),
        read_accuracies(accuracies, dataset=dataset, model=model),
        count=count,
        family=family,
        zero_policy=zero_policy,
        pretraining=pretraining,
        level=level,
        seed=seed,
    )
    write_csv(out / "fit.csv", curve.table)
    write_csv(out / "unmatched.csv", curve.unmatched)
    draw_curve(curve, out / "curve.png")
    draw_curve(curve, out / "curve.svg")
    curve.save(out / "curve.json")
    if as_json:
        emit_json(summary(curve, out))
    else:
        _show(curve, out)


def _of_counts(frequencies: list[str], pretraining: str) -> str | None:
    """Pretraining set to take from the paper's count files; tables hold one audit anyway."""
    if pretraining in {"auto", "all"}:
        return None
    from conceptaudit.frequency.readers import holds_table

    return None if holds_table(frequencies) else pretraining


def claim(out: Path, *, overwrite: bool) -> None:
    """Refuse a folder that holds a curve already, or anything that is not a curve.

    Raises
    ------
    ArtifactMismatchError
        There is something that this fit would replace or mix with.
    """
    from conceptaudit.errors import ArtifactMismatchError

    if out.exists() and not out.is_dir():
        raise ArtifactMismatchError(f"{out} is a file; -o must name a folder.")
    held = sorted(path.name for path in out.iterdir()) if out.is_dir() else []
    foreign = [name for name in held if name not in OUR_FILES]
    if foreign:
        raise ArtifactMismatchError(
            f"{out} holds files that are not a curve (such as {foreign[0]!r}). Name a new or empty "
            "folder."
        )
    if held and not overwrite:
        raise ArtifactMismatchError(
            f"{out} holds a curve. Add --overwrite to replace it, or name another folder with -o."
        )


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


def _show(curve: Curve, out: Path) -> None:
    for note in curve.notes:
        say(f"note: {note}")
    say()
    say_table(
        [
            "model",
            "n used",
            "n zero",
            f"slope per decade [{curve.level:.0%}]",
            "r per concept",
            "slope within datasets",
            "binned r (paper)",
            "binned r, shuffled",
        ],
        [
            [
                one.label,
                one.usage.n_used,
                one.usage.n_zero,
                f"{one.line.slope:+.4f} [{one.line.slope_low:+.4f}, {one.line.slope_high:+.4f}]",
                one.line.r,
                one.effects.slope_within,
                one.binned.r,
                one.binned.r_shuffled,
            ]
            for one in curve.fits
        ],
    )
    say()
    for remark in dict.fromkeys(note for one in curve.fits for note in one.notes):
        say(f"note: {remark}")
    dropped = {reason for one in curve.fits for reason in one.usage.dropped}
    for reason in sorted(dropped):
        most = max(one.usage.dropped.get(reason, 0) for one in curve.fits)
        say(f"note: up to {most:,} concepts of a model dropped: {reason}")
    say(f"\nWritten to {out}: {', '.join(OUR_FILES)}")
