"""``conceptaudit longtail``: a clean, balanced test set of rare concepts."""

from __future__ import annotations

from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any

from conceptaudit.cli.arguments import (
    AS_JSON,
    CROISSANT,
    SHARD,
    check_croissant,
    put_croissant,
)
from conceptaudit.cli.console import (
    emit_json,
    logged_progress,
    progress_bar,
    say,
    say_frame,
    say_notes,
    say_table,
)
from conceptaudit.cli.generated import takes_options
from conceptaudit.cli.parts import asked_part, show_part
from conceptaudit.display import quantity
from conceptaudit.options.engine import EngineChoice
from conceptaudit.options.fields import argument, flag, optional, required
from conceptaudit.options.longtail import LongTailOptions

if TYPE_CHECKING:
    from conceptaudit.engine import EngineChoice
    from conceptaudit.longtail import LongTailOptions, LongTailSet


SHOWN = 20  # classes and notes shown; the rest is in the files


@takes_options
def longtail(
    run: Path = argument("Run folder that 'conceptaudit audit' wrote."),
    *,
    images: str = required(
        "Pool to take images from: image folder, WebDataset tars, parquet with image bytes, or a "
        "folder of image embeddings (without --pictures the set is then a list of keys).",
        flags=("-i",),
    ),
    out: Path = required("Folder of the set to write.", flags=("-o",)),
    options: LongTailOptions,
    download_list: Path | None = optional(
        "For a pool of captions and URLs: write the images to download, as CSV or parquet for "
        "img2dataset, and stop. No URL is opened."
    ),
    review_out: Path | None = optional(
        "CSV or JSON file to write the set's images to, to be judged."
    ),
    workers: EngineChoice,
    shard: str | None = SHARD,
    overwrite: bool = flag("Replace the long-tail set that OUT holds."),
    croissant: Path | None = CROISSANT,
    as_json: bool = AS_JSON,
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
    from conceptaudit.errors import ConfigError
    from conceptaudit.longtail import build_long_tail
    from conceptaudit.longtail.build import collect_part
    from conceptaudit.longtail.review import write_review
    from conceptaudit.store.outputs import output_files, staged

    # before hours of work: a file that a person has filled in is not replaced
    judged = output_files("review", [review_out])
    check_croissant(croissant)
    if download_list is not None:
        if shard is not None:
            raise ConfigError(
                "--download-list is made in one go, or on a Ray cluster: leave out --shard."
            )

        list_downloads(run, images, download_list, out, options, workers, as_json=as_json)
        return
    with logged_progress(out, "longtail", beside=out) as progress:
        shared: Any = {"options": options, "workers": workers, "progress": progress}
        if shard is not None:
            done = collect_part(run, images, out, asked_part(shard), **shared)
        else:
            made = build_long_tail(run, images, out, overwrite=overwrite, **shared)
    if shard is not None:
        show_part(done, merged=out, as_json=as_json)
        return
    with staged(judged) as files:
        for place in files.places.values():
            write_review(made, place, seed=options.seed)
    put_croissant(made.folder, croissant)
    if as_json:
        emit_json(summary(made))
    else:
        _show(made)


def summary(made: LongTailSet) -> dict[str, object]:
    """Lay a set's numbers out for a machine."""
    names = ("n_classes", "n_images", "account", "removed", "leaks", "classes", "notes")
    return {"set": str(made.folder), **{name: made.manifest[name] for name in names}}


def _show(made: LongTailSet) -> None:
    import pandas as pd

    from conceptaudit.counts import CORRECTED_COLUMNS
    from conceptaudit.longtail import REASONS

    manifest = made.manifest
    say_notes(made.notes[:SHOWN])
    account = manifest["account"]
    say(
        f"\n{quantity(account['n_samples'], 'sample')} in the pool, {account['n_compared']:,} "
        "compared"
    )
    for reason, n in manifest["removed"].items():
        say(f"  {n:,} {reason}{f': {REASONS[reason]}' if reason in REASONS else ''}")
    corrected = [name for name in CORRECTED_COLUMNS if name in manifest["classes"][0]]
    columns = [
        ("concept", "concept"),
        *((name, f"{{{name}:.1f}}") for name in corrected),
        *((name, name) for name in ("n_joint", "n_text", "n_image")),
        *(("images", "n_images"), ("missing", "n_missing"), ("lowest score", "lowest_score")),
        ("runner-up leads", "n_runner_up_leads"),
    ]
    say()
    say_frame(pd.DataFrame(manifest["classes"][:SHOWN]), columns)
    if len(manifest["classes"]) > SHOWN:
        say(f"… and {len(manifest['classes']) - SHOWN:,} more in {made.folder / 'classes.csv'}")
    say(
        f"\n{quantity(manifest['n_images'], 'image')} of "
        f"{quantity(manifest['n_classes'], 'class')} in {made.folder}"
    )


LISTED = 20  # concepts shown, those with fewest images first


def list_downloads(
    run: Path,
    table: str,
    path: Path,
    out: Path,
    options: LongTailOptions,
    workers: int | EngineChoice | None,
    *,
    as_json: bool,
) -> None:
    """Write the list, and say with which commands the set is made of it."""
    from conceptaudit.longtail.download_list import write_download_list

    with progress_bar() as progress:
        listed = write_download_list(
            run, table, path, options=options, workers=workers, progress=progress
        )
    folder = f"{out}-images"
    if as_json:
        emit_json(
            {
                "list": str(listed.path),
                "n_images": listed.n_images,
                "concepts": listed.n_by_concept,
                "account": listed.account,
                "command": listed.command(folder),
            }
        )
        return
    fewest = sorted(listed.n_by_concept.items(), key=lambda one: (one[1], one[0]))
    say_table(["concept", "images to download"], [list(one) for one in fewest[:LISTED]])
    if len(fewest) > LISTED:
        say(f"… and {quantity(len(fewest) - LISTED, 'concept')} with as many or more")
    n_samples = listed.account.get("n_samples", 0)
    say(
        f"\n{listed.n_images:,} of {quantity(n_samples, 'image')} are listed in {listed.path}, by "
        "caption."
    )
    for reason, n in listed.account.items():
        if reason != "n_samples":
            say(f"  {n:,} {reason}")
    say("Download these with img2dataset, then run longtail on the result:\n")
    say(f"  {listed.command(folder)}")
    say(
        f"  conceptaudit longtail {quote(str(run))} --images {quote(folder)} -o {quote(str(out))} "
        "--require-text"
    )
