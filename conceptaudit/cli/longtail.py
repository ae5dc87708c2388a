"""``conceptaudit longtail``: a clean, balanced test set of rare concepts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from conceptaudit.cli.arguments import (
    AsJson,
    Device,
    EngineKind,
    RayAddress,
    ShardOfRun,
    Templates,
    Workers,
)
from conceptaudit.cli.console import emit_json, logged_progress, say, say_table
from conceptaudit.cli.parts import asked_part, show_part

if TYPE_CHECKING:
    from conceptaudit.longtail import LongTailSet

SHOWN = 20
"""Classes and notes shown; the rest is in the files."""


def longtail(
    run: Annotated[Path, typer.Argument(help="Run folder that 'conceptaudit audit' wrote.")],
    *,
    images: Annotated[
        str,
        typer.Option(
            "--images",
            "-i",
            help="Pool to take images from: image folder, WebDataset tars, parquet with image "
            "bytes, or a folder of image embeddings (without --pictures the set is then a list of "
            "keys).",
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the set to write.")],
    count: Annotated[
        str,
        typer.Option(
            help="What makes a concept rare: 'text', 'image', 'joint', 'image_corrected' or "
            "'joint_corrected'; 'auto' takes corrected joint counts where at least 95 % of the "
            "concepts have one, else text."
        ),
    ] = "auto",
    k: Annotated[
        int | None,
        typer.Option(
            "--k", help="Number of concepts; 50, or all that --below and --quantile leave."
        ),
    ] = None,
    below: Annotated[
        int | None, typer.Option(help="Only concepts that occur fewer times than this.")
    ] = None,
    quantile: Annotated[
        float | None, typer.Option(help="Only concepts up to this quantile of the counts.")
    ] = None,
    strata: Annotated[
        int | None,
        typer.Option(help="Draw evenly from so many strata over log10 frequency, not the lowest."),
    ] = None,
    pin: Annotated[
        list[str] | None, typer.Option(help="A concept that is always in, on top of K; repeat.")
    ] = None,
    exclude: Annotated[
        list[str] | None, typer.Option(help="A concept that is never in; repeat.")
    ] = None,
    max_count_error: Annotated[
        float | None,
        typer.Option(
            help="Only concepts whose count is known this well: half its 90 % interval over the "
            "count, such as 0.3."
        ),
    ] = None,
    max_senses: Annotated[
        int | None, typer.Option(help="Only concepts whose name has at most so many noun senses.")
    ] = None,
    max_rejected_share: Annotated[
        float | None,
        typer.Option(help="Only concepts of whose mentions at most this share was no noun."),
    ] = None,
    under: Annotated[
        list[str] | None,
        typer.Option(help="Only kinds of this, such as animal, by WordNet; repeat for several."),
    ] = None,
    selection: Annotated[
        Path | None,
        typer.Option(help="Edited selection.csv of an earlier set; replaces the rules above."),
    ] = None,
    include_zero: Annotated[
        bool, typer.Option("--include-zero", help="Allow concepts that were never seen.")
    ] = False,
    per_class: Annotated[int, typer.Option(help="Images per class.")] = 20,
    min_per_class: Annotated[
        int, typer.Option(help="Leave out classes with fewer images, and list them.")
    ] = 1,
    oversample: Annotated[
        int, typer.Option(help="Candidates kept per concept, as a multiple of PER_CLASS.")
    ] = 5,
    layout: Annotated[str, typer.Option(help="Layout of the pool; 'auto' detects it.")] = "auto",
    clip: Annotated[
        str | None,
        typer.Option(
            help="open_clip model that finds the images: 'lab', MODEL/WEIGHTS such as "
            "ViT-B-32/laion2b_s34b_b79k, or a folder; the audit's by default."
        ),
    ] = None,
    device: Device = "auto",
    template: Templates = None,
    require_text: Annotated[
        bool, typer.Option("--require-text", help="The caption must name the concept.")
    ] = False,
    spacy_model: Annotated[
        str, typer.Option(help="spaCy pipeline for --require-text.")
    ] = "bundled",
    min_score: Annotated[
        float | None, typer.Option(help="Smallest cosine similarity of image and concept.")
    ] = None,
    min_margin: Annotated[
        float | None,
        typer.Option(
            help="Smallest lead over every other concept of the audit; 0 keeps only what the "
            "model classifies correctly, which makes the set easier."
        ),
    ] = None,
    phash_distance: Annotated[
        int,
        typer.Option(
            help="Perceptual hashes within so many bits are duplicates, beyond 6 bits if their "
            "thumbnails agree too; -1: no check."
        ),
    ] = 10,
    embedding_similarity: Annotated[
        float,
        typer.Option(help="Embeddings at least so similar are duplicates; 2: no check."),
    ] = 0.985,
    against: Annotated[
        list[str] | None,
        typer.Option(
            help="Pretraining data that the set must not overlap with: images, embeddings, an "
            "index, a run of audit, or a table of URLs or digests; repeat."
        ),
    ] = None,
    leak_similarity: Annotated[
        float | None,
        typer.Option(
            help="Embeddings of pretraining images at least so similar are leaks; 2: no check. "
            "As --embedding-similarity by default."
        ),
    ] = None,
    suspects: Annotated[
        str,
        typer.Option(
            help="Outliers and other senses: 'flag' in manifest.csv and for review, 'remove', or "
            "'off'."
        ),
    ] = "flag",
    other_senses: Annotated[
        Path | None,
        typer.Option(
            help="CSV with 'concept' and 'sense': what names also mean and is not meant, such as "
            "crane,construction crane."
        ),
    ] = None,
    min_side: Annotated[int, typer.Option(help="Smallest shorter side, in pixels.")] = 32,
    max_aspect: Annotated[float, typer.Option(help="Largest ratio of the sides.")] = 4.0,
    rank: Annotated[
        str,
        typer.Option(
            help="What images are ranked by: 'text' (prompts), 'examples' (the mean of --examples) "
            "or 'both' (their mean)."
        ),
    ] = "text",
    examples: Annotated[
        Path | None,
        typer.Option(
            help="Example images: a folder with a folder per concept, or CSV with 'concept' and "
            "'path'."
        ),
    ] = None,
    pictures: Annotated[
        str | None,
        typer.Option(
            help="Dataset with the pictures of a pool of embeddings, joined by key; only "
            "candidates are opened."
        ),
    ] = None,
    index: Annotated[
        Path | None,
        typer.Option(help="Index of a pool of embeddings, to look at nearest images only."),
    ] = None,
    download_list: Annotated[
        Path | None,
        typer.Option(
            help="For a pool of captions and URLs: write the images to download, as CSV or "
            "parquet for img2dataset, and stop. No URL is opened."
        ),
    ] = None,
    review_in: Annotated[
        Path | None,
        typer.Option(help="Review file filled in by a person: images judged wrong are replaced."),
    ] = None,
    review_out: Annotated[
        Path | None,
        typer.Option(help="CSV or JSON file to write the set's images to, to be judged."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Decides draws and ties of the selection.")] = 0,
    max_unsafe: Annotated[
        float,
        typer.Option(
            help="Largest probability of being unsafe that the pool's columns may give, where it "
            "has them (punsafe, NSFW …); 2: no check."
        ),
    ] = 0.5,
    max_watermark: Annotated[
        float,
        typer.Option(help="The same for watermarks (pwatermark …); 2: no check."),
    ] = 0.8,
    workers: Workers = None,
    engine: EngineKind = "auto",
    ray_address: RayAddress = None,
    shard: ShardOfRun = None,
    skip_unreadable: Annotated[
        bool,
        typer.Option("--skip-unreadable", help="List pool files that cannot be read, and go on."),
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the long-tail set that OUT holds.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Build a clean, balanced test set of the concepts that an audit found to be rare.

    OUT appears when it is finished: images/ (the original files), manifest.csv, classes.csv,
    removed.csv (every image that was left out, and why), selection.csv, contact_sheet.png.
    Until then finished shards of the pool are kept beside it, so that a stopped run goes on.

    \b
    Example:
      conceptaudit longtail runs/both --images photos/ -o tail --k 30 --per-class 20
      conceptaudit longtail runs/both --images photos/ -o tail2 --selection tail/selection.csv
      conceptaudit longtail runs/both --images photos/ -o tail --review-out judge.csv
      conceptaudit longtail runs/both --images embeddings/ --pictures photos/ -o tail
      conceptaudit longtail runs/both --images laion.parquet --download-list get.csv -o tail
      conceptaudit longtail runs/both --images photos/ -o tail --against runs/both --against laion/
    """  # noqa: D301 -- the escape is meant: it keeps the example's lines apart
    from dataclasses import replace

    from conceptaudit.engine import EngineChoice
    from conceptaudit.errors import ConfigError
    from conceptaudit.longtail import LongTailOptions, build_long_tail
    from conceptaudit.longtail.review import write_review
    from conceptaudit.store.outputs import output_files, staged

    # before hours of work: a file that a person has filled in is not replaced
    judged = output_files("review", [review_out])
    doers = EngineChoice(kind=engine, workers=workers, address=ray_address)
    options = LongTailOptions(
        count=count,
        k=k,
        below=below,
        quantile=quantile,
        strata=strata,
        pins=tuple(pin or ()),
        exclusions=tuple(exclude or ()),
        include_zero=include_zero,
        max_count_error=max_count_error,
        max_senses=max_senses,
        max_rejected_share=max_rejected_share,
        under=tuple(under or ()),
        selection=selection,
        seed=seed,
        layout=layout,
        skip_unreadable=skip_unreadable,
        clip=clip,
        device=device,
        require_text=require_text,
        spacy_model=spacy_model,
        min_score=min_score,
        min_margin=min_margin,
        per_class=per_class,
        min_per_class=min_per_class,
        oversample=oversample,
        phash_distance=phash_distance,
        embedding_similarity=embedding_similarity,
        against=tuple(against or ()),
        leak_similarity=leak_similarity,
        suspects=suspects,
        other_senses=other_senses,
        review=review_in,
        min_side=min_side,
        max_aspect=max_aspect,
        max_unsafe=max_unsafe,
        max_watermark=max_watermark,
        rank=rank,
        examples=examples,
        pictures=pictures,
        index=index,
    )
    if template:
        options = replace(options, templates=tuple(template))
    if download_list is not None:
        if shard is not None:
            raise ConfigError(
                "--download-list is made in one go, or on a Ray cluster: leave out --shard."
            )
        from conceptaudit.cli.downloads import list_downloads

        list_downloads(run, images, download_list, out, options, doers, as_json=as_json)
        return
    if shard is not None:
        from conceptaudit.longtail.array_jobs import collect_part

        part = asked_part(shard)
        with logged_progress(out, "longtail", beside=out) as progress:
            done = collect_part(
                run, images, out, part, options=options, workers=doers, progress=progress
            )
        show_part(done, merged=out, as_json=as_json)
        return
    with logged_progress(out, "longtail", beside=out) as progress:
        made = build_long_tail(
            run,
            images,
            out,
            options=options,
            overwrite=overwrite,
            workers=doers,
            progress=progress,
        )
    with staged(judged) as files:
        for place in files.places.values():
            write_review(made, place, seed=seed)
    if as_json:
        emit_json(summary(made))
    else:
        _show(made)


def summary(made: LongTailSet) -> dict[str, object]:
    """Lay a set's numbers out for a machine."""
    names = ("n_classes", "n_images", "account", "removed", "leaks", "classes", "notes")
    return {"set": str(made.folder), **{name: made.manifest[name] for name in names}}


def _show(made: LongTailSet) -> None:
    from conceptaudit.counts import CORRECTED_COLUMNS
    from conceptaudit.longtail import REASONS

    manifest = made.manifest
    for note in made.notes[:SHOWN]:
        say(f"note: {note}")
    account = manifest["account"]
    say(f"\n{account['n_samples']:,} samples in the pool, {account['n_compared']:,} compared")
    for reason, n in manifest["removed"].items():
        say(f"  {n:,} {reason}{f': {REASONS[reason]}' if reason in REASONS else ''}")
    corrected = [name for name in CORRECTED_COLUMNS if name in manifest["classes"][0]]
    rows = [
        [
            one["concept"],
            *(f"{one[name]:.1f}" for name in corrected),
            one["n_joint"],
            one["n_text"],
            one["n_image"],
            one["n_images"],
            one["n_missing"],
            one["lowest_score"],
            one["n_runner_up_leads"],
        ]
        for one in manifest["classes"][:SHOWN]
    ]
    say()
    counts = [*corrected, "n_joint", "n_text", "n_image"]
    say_table(["concept", *counts, "images", "missing", "lowest score", "runner-up leads"], rows)
    if len(manifest["classes"]) > SHOWN:
        say(f"… and {len(manifest['classes']) - SHOWN:,} more in {made.folder / 'classes.csv'}")
    say(f"\n{manifest['n_images']:,} images of {manifest['n_classes']:,} classes in {made.folder}")
