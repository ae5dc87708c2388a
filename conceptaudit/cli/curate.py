"""``conceptaudit curate``: weighted subsets and mixtures of audited data, and what they change."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from conceptaudit.cli.arguments import (
    AsJson,
    EngineKind,
    Level,
    OverwriteRun,
    RayAddress,
    Resume,
    Workers,
)
from conceptaudit.cli.console import emit_json, logged_progress, progress_bar, say, say_table

if TYPE_CHECKING:
    from conceptaudit.curate import Curated

SHOWN = 10
"""Concepts shown from each end."""


def curate(
    runs: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN[=SHARE]...",
            help="Run folders of finished audits; of several, the share of the result that each "
            "is. Runs without a share divide the rest equally.",
        ),
    ],
    *,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder to write; new, empty or its own.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be, and write nothing.")
    ] = False,
    keep: Annotated[
        list[str] | None,
        typer.Option(
            help="Condition on columns of the dataset or of --scores, such as 'similarity >= 0.28 "
            "and punsafe < 0.1'; repeat for more. Where a value is missing it does not hold."
        ),
    ] = None,
    scores: Annotated[
        str | None, typer.Option(help="Table with a key column and scores that --keep may name.")
    ] = None,
    exclude: Annotated[
        list[str] | None,
        typer.Option(help="Evaluation set whose images must not be in the result; repeat."),
    ] = None,
    exclude_similarity: Annotated[
        float, typer.Option(help="Cosine similarity from which an image is one of --exclude.")
    ] = 0.95,
    drop_copies: Annotated[
        bool, typer.Option("--drop-copies", help="Keep one image of each group of near-duplicates.")
    ] = False,
    prototype_prune: Annotated[
        float | None,
        typer.Option(help="Share of the images to drop by distance to their cluster's centre."),
    ] = None,
    prune_keep: Annotated[
        str, typer.Option(help="'hard' keeps images far from the centre, 'easy' those near it.")
    ] = "hard",
    clusters: Annotated[int, typer.Option(help="Clusters of --prototype-prune.")] = 100,
    count: Annotated[
        str, typer.Option(help="Count that concepts are balanced by: 'text', 'joint_corrected', …")
    ] = "auto",
    cap: Annotated[
        float | None,
        typer.Option(
            help="T: keep a sample with the probability that any of its concepts keeps it, each "
            "with min(1, T / count)."
        ),
    ] = None,
    tail_share: Annotated[
        float | None,
        typer.Option(
            help="The same with T such that concepts below it hold this share of matches."
        ),
    ] = None,
    temper: Annotated[
        float | None, typer.Option(help="A: weigh samples by count^-A of their rarest concept.")
    ] = None,
    density: Annotated[
        bool,
        typer.Option("--density", help="Weigh samples by one over the density around their image."),
    ] = False,
    bandwidth: Annotated[
        float | None,
        typer.Option(help="Of that density's kernel; half the median distance by default."),
    ] = None,
    size: Annotated[
        int | None, typer.Option(help="Draw so many samples, in proportion to their weights.")
    ] = None,
    untagged: Annotated[
        str,
        typer.Option(help="Samples without a concept: 'keep', 'drop', 'auto': drop with a cap."),
    ] = "auto",
    format_: Annotated[
        list[str] | None,
        typer.Option(
            "--format",
            help="Written besides kept.parquet: 'datacomp', 'webdataset', 'img2dataset', "
            "'huggingface'; repeat for more.",
        ),
    ] = None,
    curve: Annotated[
        str | None,
        typer.Option(help="Curve ('conceptaudit fit') that predicts accuracies before and after."),
    ] = None,
    dataset: Annotated[
        str | None, typer.Option(help="Where the run's dataset lies now, if it was moved.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Decides every draw.")] = 0,
    level: Level = 0.9,
    workers: Workers = None,
    engine: EngineKind = "auto",
    ray_address: RayAddress = None,
    resume: Resume = False,
    overwrite: OverwriteRun = False,
    as_json: AsJson = False,
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
    from conceptaudit.curate import CurateOptions, parse_run
    from conceptaudit.curate import curate as curate_runs
    from conceptaudit.curves import Curve
    from conceptaudit.engine import EngineChoice
    from conceptaudit.errors import ConfigError

    if (out is None) is not dry_run:
        raise ConfigError("Name a folder to write (-o OUT), or ask what would be (--dry-run).")
    options = CurateOptions(
        count=count,
        keep=tuple(keep or ()),
        cap=cap,
        tail_share=tail_share,
        temper=temper,
        density=density,
        bandwidth=bandwidth,
        drop_copies=drop_copies,
        prototype_prune=prototype_prune,
        prune_keep=prune_keep,
        clusters=clusters,
        exclude=tuple(exclude or ()),
        exclude_similarity=exclude_similarity,
        size=size,
        untagged=untagged,
        seed=seed,
        level=level,
        formats=tuple(format_ or ()),
    )
    more: dict[str, Any] = {
        "options": options,
        "scores": scores,
        "curve": None if curve is None else Curve.load(Path(curve)),
        "dataset": dataset,
        "workers": EngineChoice(kind=engine, workers=workers, address=ray_address),
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
    if as_json:
        emit_json(made.as_json())
    else:
        _show(made, level)


def _show(made: Curated, level: float) -> None:
    for note in made.notes:
        say(f"note: {note}")
    for name, about in made.about["runs"].items():
        if "cap" in about:
            say(
                f"{name}: T = {about['cap']:,.6g} by {about['count']}; {about['n_capped']:,} "
                f"concepts are above it, those below hold {about['tail_share']:.1%} of matches"
            )
    say()
    several = made.account["run"].nunique() > 1
    rows = made.account[["run", "step", "reason", "n"]].to_numpy().tolist()
    say_table(
        ["run", "step", "", "samples"][0 if several else 1 :],
        [[*row[0 if several else 1 : -1], int(row[-1])] for row in rows],
    )
    say()
    say_table(
        ["", "before", "after", "random subset"],
        [
            [row["what"], row["before"], row["after"], row["random"]]
            for _, row in made.summary.iterrows()
        ],
    )
    table = made.concepts[made.concepts["n_before"] > 0]
    ordered = table.sort_values("n_before", ascending=False, kind="stable")
    ends = [("most frequent", ordered.head(SHOWN)), ("rarest", ordered.iloc[SHOWN:].tail(SHOWN))]
    for title, part in ends:
        if len(part):
            say(f"\n{title}, expected {made.about['count']}")
            say_table(
                ["concept", "before", "after", f"{level:.0%} interval", "random subset"],
                [
                    [
                        row["concept"],
                        float(row["n_before"]),
                        float(row["n_after"]),
                        f"{row['n_after_low']:,.1f} to {row['n_after_high']:,.1f}",
                        float(row["n_random"]),
                    ]
                    for _, row in part.iterrows()
                ],
            )
    if made.prediction is not None:
        _show_prediction(made.prediction.means)
    if made.folder is not None:
        say(f"\nWritten to {made.folder}: kept.parquet, account.csv, expected.csv, summary.csv")


def _show_prediction(means: Any) -> None:
    say("\npredicted mean accuracy")
    say_table(
        ["model", "classes", "n", "before", "after", "random", "change", "by the slope alone"],
        [
            [
                row["model"],
                row["group"],
                int(row["n_classes"]),
                *(
                    f"{row[k]:.3f} ({row[f'{k}_low']:.3f} to {row[f'{k}_high']:.3f})"
                    for k in ("before", "after", "random")
                ),
                f"{row['change']:+.3f}",
                f"{row['change_low']:+.3f} to {row['change_high']:+.3f}",
            ]
            for _, row in means.iterrows()
        ],
    )
