"""``conceptaudit report``: an audit as one page to read."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from conceptaudit.cli.arguments import AsJson
from conceptaudit.cli.console import emit_json, progress_bar, say


def report(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of `conceptaudit audit`.")],
    *,
    out: Annotated[Path, typer.Option("--out", "-o", help="HTML file to write.")],
    dataset: Annotated[
        str | None,
        typer.Option(
            help="The audited dataset, for sample images and captions; of an audit of embeddings "
            "also the dataset that was embedded."
        ),
    ] = None,
    curve: Annotated[
        Path | None, typer.Option(help="Folder of `conceptaudit fit`, or curve.json.")
    ] = None,
    accuracies: Annotated[
        list[str] | None,
        typer.Option(
            help="Per-class accuracies, as `conceptaudit fit` reads them; repeat for more files."
        ),
    ] = None,
    predictions: Annotated[
        Path | None,
        typer.Option(
            help="CSV or parquet of `conceptaudit predict`, with columns observed and held_out "
            "where they are known."
        ),
    ] = None,
    longtail: Annotated[
        Path | None,
        typer.Option("--longtail", "--tail", help="Folder of `conceptaudit longtail`."),
    ] = None,
    tail_results: Annotated[
        list[str] | None,
        typer.Option(
            help="Folder of `conceptaudit evaluate` on that set: shown beside what --curve, "
            "fitted without it, had predicted. Repeat for more."
        ),
    ] = None,
    truth: Annotated[
        Path | None, typer.Option(help="truth.parquet of a simulated dataset.")
    ] = None,
    pool_truth: Annotated[
        Path | None,
        typer.Option(help="truth.parquet of the simulated pool of --longtail: gives its purity."),
    ] = None,
    title: Annotated[
        str | None, typer.Option(help="Heading of the page; the dataset's name by default.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write an audit, and all that was made from it, as one HTML file.

    The file needs no network and no other file. A part whose input is not given says so.

    \u0008
    Example:
      conceptaudit report runs/both -o report.html
      conceptaudit report runs/both -o report.html --dataset photos/ --curve curves/ours
      conceptaudit report runs/both -o r.html --curve curves/c --tail tail --tail-results results
    """
    from conceptaudit.report import write_report

    with progress_bar() as progress:
        written = write_report(
            out,
            run=run,
            dataset=dataset,
            curve=curve,
            accuracies=accuracies or None,
            predictions=predictions,
            longtail=longtail,
            tail_results=tail_results or None,
            truth=truth,
            pool_truth=pool_truth,
            title=title,
            progress=progress,
        )
    size = written.stat().st_size
    if as_json:
        emit_json({"report": str(written), "bytes": size})
    else:
        say(f"Written to {written} ({size / 1e6:.1f} MB): open it in any browser")
