"""What ``conceptaudit longtail --download-list`` says: which images to download, and how."""

from __future__ import annotations

from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING

from conceptaudit.cli.console import emit_json, progress_bar, say, say_table

if TYPE_CHECKING:
    from conceptaudit.engine import EngineChoice
    from conceptaudit.longtail import LongTailOptions

SHOWN = 20
"""Concepts shown, those with fewest images first."""


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
    """Write the list, and say with which commands the set is made of it.

    Parameters
    ----------
    run, table, path, options, workers
        See `conceptaudit.longtail.download_list.write_download_list`.
    out : Path
        Folder of the set that the user wants in the end.
    as_json : bool
        Print JSON.
    """
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
    say_table(["concept", "images to download"], [list(one) for one in fewest[:SHOWN]])
    if len(fewest) > SHOWN:
        say(f"… and {len(fewest) - SHOWN:,} concepts with as many or more")
    n_samples = listed.account.get("n_samples", 0)
    say(f"\n{listed.n_images:,} of {n_samples:,} images are listed in {listed.path}, by caption.")
    for reason, n in listed.account.items():
        if reason != "n_samples":
            say(f"  {n:,} {reason}")
    say("Download these with img2dataset, then run longtail on the result:\n")
    say(f"  {listed.command(folder)}")
    say(
        f"  conceptaudit longtail {quote(str(run))} --images {quote(folder)} -o {quote(str(out))} "
        "--require-text"
    )
