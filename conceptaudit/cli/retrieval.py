"""``conceptaudit retrieval``: recall@k from captions to images and back, by concept."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from conceptaudit.cli.arguments import (
    AS_JSON,
    OVERWRITE,
    RESUME,
    SHARD,
)
from conceptaudit.cli.console import (
    emit_json,
    logged_progress,
    say,
    say_notes,
    say_reasons,
    say_table,
)
from conceptaudit.cli.generated import takes_options
from conceptaudit.cli.parts import asked_part, show_part
from conceptaudit.display import quantity
from conceptaudit.options import shared
from conceptaudit.options.engine import EngineChoice
from conceptaudit.options.fields import argument, optional, required
from conceptaudit.options.zeroshot import RetrievalOptions

if TYPE_CHECKING:
    from conceptaudit.zeroshot.retrieve import Retrieval


@takes_options
def retrieval(
    dataset: str = argument(
        "Images, or embeddings of them, with captions, in any layout of docs/formats.md."
    ),
    *,
    clip: list[str] = required("open_clip model, as for evaluate. Repeat for several."),
    out: Path = required("Run folder to write.", flags=("-o",)),
    concepts: str | None = optional("Concept list: recall is also told by concept.", flags=("-c",)),
    dataset_key: str | None = shared.dataset_key(),
    layout: str = shared.layout(),
    options: RetrievalOptions,
    workers: EngineChoice,
    shard: str | None = SHARD,
    resume: bool = RESUME,
    overwrite: bool = OVERWRITE,
    as_json: bool = AS_JSON,
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
    with logged_progress(out, "retrieval") as progress:
        shared: Any = {"options": options, "workers": workers, "resume": resume}
        if shard is not None:
            part = asked_part(shard, overwrite=overwrite)
            done = retrieval_part(opened, clip, out, part, progress=progress, **shared)
        else:
            found = evaluate_retrieval(
                opened, clip, out, overwrite=overwrite, progress=progress, **shared
            )
            progress.account(found.account)
    if shard is not None:
        show_part(done, merged=out, as_json=as_json)
        return
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
    say_notes(notes)
    account = found.account
    say(f"{quantity(account['n_samples'], 'sample')}, {account['n_used']:,} with image and caption")
    say_reasons(account["dropped"], "left out")
    shown = found.overall[["model", "pretraining", "metric", "value", "n_queries"]]
    say_table(shown.columns.tolist(), shown.to_numpy(object).tolist())
    say(f"Written to {found.folder}")
