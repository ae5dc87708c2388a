"""``conceptaudit report``: an audit as one page to read."""

from __future__ import annotations

from pathlib import Path

from conceptaudit.cli.arguments import AS_JSON
from conceptaudit.cli.console import emit_json, progress_bar, say
from conceptaudit.cli.generated import takes_options
from conceptaudit.options.fields import argument, optional, required


@takes_options
def report(
    run: Path = argument("Folder of `conceptaudit audit`.", metavar="RUN"),
    *,
    out: Path = required("HTML file to write.", flags=("-o",)),
    dataset: str | None = optional(
        "The audited dataset, for sample images and captions; of an audit of embeddings also the "
        "dataset that was embedded."
    ),
    curve: Path | None = optional("Folder of `conceptaudit fit`, or curve.json."),
    accuracies: list[str] | None = optional(
        "Per-class accuracies, as `conceptaudit fit` reads them; repeat for more files."
    ),
    predictions: Path | None = optional(
        "CSV or parquet of `conceptaudit predict`, with columns observed and held_out where they "
        "are known."
    ),
    longtail: Path | None = optional("Folder of `conceptaudit longtail`.", flags=("--tail",)),
    tail_results: list[str] | None = optional(
        "Folder of `conceptaudit evaluate` on that set: shown beside what --curve, fitted without "
        "it, had predicted. Repeat for more."
    ),
    truth: Path | None = optional("truth.parquet of a simulated dataset."),
    pool_truth: Path | None = optional(
        "truth.parquet of the simulated pool of --longtail: gives its purity."
    ),
    title: str | None = optional("Heading of the page; the dataset's name by default."),
    as_json: bool = AS_JSON,
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
