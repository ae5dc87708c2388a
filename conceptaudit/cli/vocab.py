"""``conceptaudit vocab``: which nouns and noun phrases captions hold, and how often."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from conceptaudit.cli.arguments import (
    AsJson,
    CaptionColumn,
    EngineKind,
    KeyColumn,
    Layout,
    RayAddress,
    ShardOfRun,
    SkipUnreadable,
    SpacyModel,
    UrlColumn,
    Workers,
)
from conceptaudit.cli.console import emit_json, logged_progress, say, say_table
from conceptaudit.cli.parts import asked_part, show_part

SHOWN = 15
"""Entries shown."""


def vocab(
    dataset: Annotated[
        str,
        typer.Argument(help="File, folder, glob or fsspec URL, in any layout of docs/formats.md."),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="File to write: .csv, else parquet.")],
    as_concepts: Annotated[
        Path | None, typer.Option(help="CSV to write the entries to as a list for `audit -c`.")
    ] = None,
    words: Annotated[bool, typer.Option("--words/--no-words", help="List single nouns.")] = True,
    phrases: Annotated[
        bool, typer.Option("--phrases/--no-phrases", help="List noun phrases.")
    ] = True,
    max_words: Annotated[int, typer.Option(help="Longest phrase; of a longer one its end.")] = 4,
    min_count: Annotated[int, typer.Option(help="Least number of captions of an entry.")] = 1,
    min_images: Annotated[
        int, typer.Option(help="Least number of distinct images of an entry.")
    ] = 1,
    captions_per_image: Annotated[
        int | None, typer.Option(help="Look at the first so many captions of an image only.")
    ] = None,
    as_published: Annotated[
        bool,
        typer.Option(
            "--as-published", help="Spell words as arXiv:2404.04125 did: lower case, ASCII letters."
        ),
    ] = False,
    layout: Layout = "auto",
    caption_column: CaptionColumn = None,
    key_column: KeyColumn = None,
    url_column: UrlColumn = None,
    language: Annotated[
        list[str] | None,
        typer.Option(help="List only rows in this language ('en'); repeat for more."),
    ] = None,
    language_column: Annotated[
        str | None, typer.Option(help="Language column, where its name is not a known one.")
    ] = None,
    unit: Annotated[
        str, typer.Option(help="'caption' (cut at 10,000 characters) or 'document' (never cut).")
    ] = "caption",
    spacy_model: SpacyModel = "bundled",
    workers: Workers = None,
    engine: EngineKind = "auto",
    ray_address: RayAddress = None,
    shard: ShardOfRun = None,
    shard_rows: Annotated[
        int, typer.Option(help="Rows of a table per shard; changes no count.")
    ] = 20_000,
    memory_limit: Annotated[
        str, typer.Option(help="Memory for merging; more is spilled to disk beside OUT.")
    ] = "500MB",
    skip_unreadable: SkipUnreadable = False,
    keep_parts: Annotated[
        bool,
        typer.Option("--keep-parts", help="Keep OUT.parts, for listings with other least counts."),
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace another listing in OUT.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """List all nouns and noun phrases of a dataset's captions with exact counts.

    A listing that was interrupted goes on when the same command is run again.

    \u0008
    Example:
      conceptaudit vocab metadata.parquet -o vocab.parquet --min-count 10
      conceptaudit vocab captions.json -o nouns.parquet --no-phrases --captions-per-image 5
        --min-images 10 --as-concepts concepts.csv
    """
    from itertools import islice

    from conceptaudit.openvocab import (
        PhraseRule,
        VocabOptions,
        list_part,
        list_vocabulary,
        parts_of,
        write_concepts,
    )
    from conceptaudit.openvocab.listing import entries
    from conceptaudit.store.outputs import output_files, staged

    options = VocabOptions(
        rule=PhraseRule(
            words=words, phrases=phrases, max_words=max_words, as_published=as_published
        ),
        min_count=min_count,
        min_images=min_images,
        captions_per_image=captions_per_image,
        layout=layout,
        caption_column=caption_column,
        key_column=key_column,
        url_column=url_column,
        language_column=language_column,
        languages=tuple(language or ()),
        unit=unit,
        spacy_model=spacy_model,
        workers=workers,
        engine=engine,
        ray_address=ray_address,
        shard_rows=shard_rows,
        memory_limit=memory_limit,
        skip_unreadable=skip_unreadable,
        keep_parts=keep_parts,
    )
    parts = parts_of(out)
    listed = output_files("concepts", [as_concepts])
    if shard is not None:
        part = asked_part(shard, overwrite=overwrite)
        with logged_progress(parts, "vocab", beside=out) as progress:
            done = list_part(dataset, out, part, options=options, progress=progress)
        show_part(done, merged=out, as_json=as_json)
        return
    with logged_progress(parts, "vocab", beside=out) as progress:
        run = list_vocabulary(dataset, out, options=options, overwrite=overwrite, progress=progress)
        progress.account(run.account)
    n_concepts = None
    with staged(listed) as files:
        for place in files.places.values():
            n_concepts = write_concepts(run.path, place)
    first = list(islice(entries(run.path), SHOWN))
    if as_json:
        emit_json(
            {
                "out": str(run.path),
                "n_entries": run.n_entries,
                "n_concepts": n_concepts,
                "account": run.account,
                "notes": list(run.notes),
            }
        )
        return
    for note in run.notes:
        say(f"note: {note}")
    say(f"{run.account['n_samples']:,} samples, {run.account['n_used']:,} with usable text")
    for reason, n in run.account["dropped"].items():
        say(f"  {n:,} dropped: {reason}")
    for reason, n in run.account["noted"].items():
        say(f"  {n:,} noted: {reason}")
    say()
    say_table(["", "kind", "captions", "images"], [[t, kind, n, m] for kind, t, n, m in first])
    say(f"\n{run.n_entries:,} entries written to {run.path}")
    if n_concepts is not None:
        say(f"{n_concepts:,} concepts written to {as_concepts}")
