"""``conceptaudit retrieval``: recall@k from captions to images and back, by concept."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from conceptaudit.cli.arguments import AsJson, DatasetKey, Layout, OverwriteRun, Resume, ShardOfRun
from conceptaudit.cli.console import emit_json, logged_progress, say, say_table
from conceptaudit.cli.generated import takes_options
from conceptaudit.cli.parts import asked_part, show_part
from conceptaudit.display import quantity
from conceptaudit.options.engine import EngineChoice
from conceptaudit.options.zeroshot import RetrievalOptions

if TYPE_CHECKING:
    from conceptaudit.zeroshot.retrieve import Retrieval


@takes_options
def retrieval(
    dataset: Annotated[
        str,
        typer.Argument(
            help="Images, or embeddings of them, with captions, in any layout of docs/formats.md."
        ),
    ],
    *,
    clip: Annotated[
        list[str], typer.Option(help="open_clip model, as for evaluate. Repeat for several.")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Run folder to write.")],
    concepts: Annotated[
        str | None,
        typer.Option("--concepts", "-c", help="Concept list: recall is also told by concept."),
    ] = None,
    dataset_key: DatasetKey = None,
    layout: Layout = "auto",
    options: RetrievalOptions,
    workers: EngineChoice,
    shard: ShardOfRun = None,
    resume: Resume = False,
    overwrite: OverwriteRun = False,
    as_json: AsJson = False,
) -> None:
    """Measure how often a caption finds its image among the k nearest, and an image its caption.

    With --concepts, OUT/accuracies.csv has the recall of the queries that name each concept, which
    `conceptaudit fit --accuracies` reads.

    \u0008
    Example:
      conceptaudit retrieval coco.json --clip ViT-B-32/openai -c classes.csv -o results/coco
    """
    from dataclasses import replace

    from conceptaudit.datasets import open_dataset
    from conceptaudit.vocabulary import read_concepts
    from conceptaudit.zeroshot.retrieve import evaluate_retrieval, retrieval_part

    read = read_concepts(concepts, dataset_key=dataset_key) if concepts is not None else None
    opened = open_dataset(dataset, layout=layout, shard_rows=1_000)
    options = replace(
        options,
        name=options.name or Path(dataset).resolve().stem,
        concepts=read.vocabulary if read is not None else None,
    )
    if shard is not None:
        part = asked_part(shard, overwrite=overwrite)
        with logged_progress(out, "retrieval") as progress:
            done = retrieval_part(
                opened,
                clip,
                out,
                part,
                options=options,
                workers=workers,
                resume=resume,
                progress=progress,
            )
        show_part(done, merged=out, as_json=as_json)
        return
    with logged_progress(out, "retrieval") as progress:
        found = evaluate_retrieval(
            opened,
            clip,
            out,
            options=options,
            workers=workers,
            resume=resume,
            overwrite=overwrite,
            progress=progress,
        )
        progress.account(found.account)
    notes = (*(read.notes if read is not None else ()), *found.notes)
    if as_json:
        record = {
            "run": str(found.folder),
            "overall": found.overall.to_dict("records"),
            "account": found.account,
            "notes": list(notes),
        }
        emit_json(record)
    else:
        _show(found, notes)


def _show(found: Retrieval, notes: tuple[str, ...]) -> None:
    for note in notes:
        say(f"note: {note}")
    account = found.account
    say(f"{quantity(account['n_samples'], 'sample')}, {account['n_used']:,} with image and caption")
    for reason, n in account["dropped"].items():
        say(f"  {n:,} left out: {reason}")
    shown = found.overall[["model", "pretraining", "metric", "value", "n_queries"]]
    say_table(shown.columns.tolist(), shown.to_numpy(object).tolist())
    say(f"Written to {found.folder}")
