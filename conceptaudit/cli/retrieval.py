"""``conceptaudit retrieval``: recall@k from captions to images and back, by concept."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from conceptaudit.cli.arguments import (
    AsJson,
    DatasetKey,
    Device,
    EngineKind,
    Layout,
    OverwriteRun,
    Pretraining,
    RayAddress,
    Resume,
    ShardOfRun,
    Workers,
)
from conceptaudit.cli.console import emit_json, logged_progress, say, say_table
from conceptaudit.cli.parts import asked_part, show_part

if TYPE_CHECKING:
    from conceptaudit.zeroshot.retrieve import Retrieval


def retrieval(
    dataset: Annotated[
        str,
        typer.Argument(
            help="Pictures, or embeddings of them, with captions, in any layout of docs/formats.md."
        ),
    ],
    clip: Annotated[
        list[str], typer.Option(help="open_clip model, as for evaluate. Repeat for several.")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Run folder to write.")],
    concepts: Annotated[
        str | None,
        typer.Option("--concepts", "-c", help="Concept list: recall is also told by concept."),
    ] = None,
    dataset_key: DatasetKey = None,
    recall_at: Annotated[
        list[int] | None, typer.Option(help="k of recall@k; repeat. 1, 5 and 10 by default.")
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="Name of the set in the results; its folder's by default.")
    ] = None,
    layout: Layout = "auto",
    pretraining: Pretraining = None,
    spacy_model: Annotated[
        str, typer.Option(help="spaCy pipeline that finds concepts in captions.")
    ] = "bundled",
    device: Device = "auto",
    workers: Workers = None,
    engine: EngineKind = "auto",
    ray_address: RayAddress = None,
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
    from conceptaudit.datasets import open_dataset
    from conceptaudit.engine import EngineChoice
    from conceptaudit.vocabulary import read_concepts
    from conceptaudit.zeroshot.options import RECALL_AT, RetrievalOptions
    from conceptaudit.zeroshot.retrieve import evaluate_retrieval, retrieval_part

    read = read_concepts(concepts, dataset_key=dataset_key) if concepts is not None else None
    opened = open_dataset(dataset, layout=layout, shard_rows=1_000)
    options = RetrievalOptions(
        name=name or Path(dataset).resolve().stem,
        concepts=read.vocabulary if read is not None else None,
        spacy_model=spacy_model,
        recall_at=tuple(recall_at or RECALL_AT),
        device=device,
        pretraining=pretraining,
    )
    doers = EngineChoice(kind=engine, workers=workers, address=ray_address)
    if shard is not None:
        part = asked_part(shard, overwrite=overwrite)
        with logged_progress(out, "retrieval") as progress:
            done = retrieval_part(
                opened,
                clip,
                out,
                part,
                options=options,
                workers=doers,
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
            workers=doers,
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
    say(f"{account['n_samples']:,} samples, {account['n_used']:,} with picture and caption")
    for reason, n in account["dropped"].items():
        say(f"  {n:,} left out: {reason}")
    shown = found.overall[["model", "pretraining", "metric", "value", "n_queries"]]
    say_table(shown.columns.tolist(), shown.to_numpy(object).tolist())
    say(f"Written to {found.folder}")
