"""``conceptaudit embed``: a dataset's images to a folder of embeddings."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from conceptaudit.cli.arguments import (
    AS_JSON,
    RESUME,
    SHARD,
)
from conceptaudit.cli.console import emit_json, logged_progress, say, say_notes, say_reasons
from conceptaudit.cli.generated import takes_options
from conceptaudit.cli.parts import asked_part
from conceptaudit.display import quantity
from conceptaudit.options import shared
from conceptaudit.options.engine import EngineChoice
from conceptaudit.options.fields import argument, flag, option, optional, required

if TYPE_CHECKING:
    from conceptaudit.image.embed import EmbeddingFolder


@takes_options
def embed(
    dataset: str = argument("File, folder, glob or fsspec URL with images (docs/formats.md)."),
    *,
    clip: str = required(
        "open_clip model: 'lab', MODEL/WEIGHTS such as ViT-B-32/laion2b_s34b_b79k, or a folder "
        "with open_clip_config.json."
    ),
    out: Path = required("Folder to write.", flags=("-o",)),
    text: bool = flag("Embed the captions as well, in text_emb."),
    layout: str = shared.layout(),
    caption_column: str | None = shared.caption_column(),
    image_column: str | None = shared.image_column(),
    device: str = shared.device(),
    workers: EngineChoice,
    shard: str | None = SHARD,
    threads: int | None = optional("Threads per worker that decode images."),
    batch_size: int | None = optional(
        "Images per forward pass; 64 on a CPU, 256 on a GPU by default."
    ),
    shard_rows: int = option(20_000, "Rows of a table per shard, and so per file written."),
    skip_unreadable: bool = shared.skip_unreadable(),
    allow_pickle_weights: bool = shared.allow_pickle_weights(),
    resume: bool = RESUME,
    overwrite: bool = flag("Remove the embeddings that OUT holds."),
    as_json: bool = AS_JSON,
) -> None:
    """Embed every image of a dataset once, in the folder layout of clip-retrieval.

    Audits, calibrations and indexes then read the folder and open no image again. Images
    that cannot be decoded are counted by reason and listed. A run that was interrupted goes on
    when the same command is run again.

    \u0008
    Example:
      conceptaudit embed data/ --clip ViT-B-32/laion2b_s34b_b79k -o embeddings
      conceptaudit audit embeddings -c classes.csv --clip ViT-B-32/laion2b_s34b_b79k -o runs/both
    """
    from conceptaudit.datasets import open_dataset
    from conceptaudit.image.clip import find_clip
    from conceptaudit.image.embed import embed as run_embed

    opened = open_dataset(
        dataset,
        layout=layout,
        caption_column=caption_column,
        image_column=image_column,
        shard_rows=shard_rows,
    )
    model = find_clip(
        clip, device=device, allow_pickle_weights=allow_pickle_weights, batch_size=batch_size
    )
    with logged_progress(out, "embed") as progress:
        made = run_embed(
            opened,
            model,
            out,
            texts=text,
            workers=workers,
            threads=threads,
            part=None if shard is None else asked_part(shard, overwrite=overwrite),
            skip_unreadable=skip_unreadable,
            resume=resume,
            overwrite=overwrite,
            progress=progress,
        )
        progress.account(made.account, {"shards": {"kept": made.kept, "redone": dict(made.redone)}})
    if as_json:
        emit_json(
            {
                "folder": str(made.folder),
                "account": made.account,
                "n_texts": made.n_texts,
                "notes": list(made.notes),
                "kept": made.kept,
                "redone": made.redone,
            }
        )
    else:
        _show(made)
        if shard is not None:
            say(f"This was part {shard}. When all are done: conceptaudit merge {out}")


def _show(made: EmbeddingFolder) -> None:
    say_notes(made.notes)
    if made.kept:
        say(f"{quantity(made.kept, 'shard was', 'shards were')} there already")
    account = made.account
    say(f"\n{quantity(account['n_samples'], 'sample')}, {account['n_used']:,} embedded")
    say_reasons(account["dropped"], "dropped")
    if made.n_texts is not None:
        say(f"{quantity(made.n_texts, 'caption')} embedded")
    say(f"\nWritten to {made.folder}: img_emb, metadata; what was dropped and why in dropped")
