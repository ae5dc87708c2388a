"""``conceptaudit explore``: a local server of pages to look at audits, and to judge samples in."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from conceptaudit.cli.console import say


def explore(
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN...", help="Run folders of finished audits.")
    ],
    *,
    dataset: Annotated[
        str | None,
        typer.Option(
            help="Where the first run's dataset is now, or the images of its embeddings; by "
            "default where the audit found it."
        ),
    ] = None,
    curve: Annotated[
        Path | None, typer.Option(help="Folder of `conceptaudit fit`, or curve.json.")
    ] = None,
    longtail: Annotated[
        Path | None,
        typer.Option("--set", "--longtail", help="Folder of `conceptaudit longtail`."),
    ] = None,
    tail_results: Annotated[
        list[str] | None,
        typer.Option(help="Folder of `conceptaudit evaluate` on that set; repeat for more."),
    ] = None,
    index: Annotated[
        Path | None,
        typer.Option(help="Folder of `conceptaudit index build` over the first run's images."),
    ] = None,
    clip: Annotated[
        str | None, typer.Option(help="The index's model, where the index does not name it.")
    ] = None,
    judge: Annotated[
        list[Path] | None,
        typer.Option(
            help="Table of `conceptaudit judge`, or file of `longtail --review-out`, to answer in "
            "the browser; repeat for more."
        ),
    ] = None,
    host: Annotated[
        str,
        typer.Option(
            help="Address to listen on; others than this machine's own let in who knows the token."
        ),
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="0 for any that is free.", min=0, max=65535)] = 0,
) -> None:
    """Look at audits in a browser: concepts, their samples, what is right and what is not.

    Prints an address that holds a secret token, and answers until Ctrl-C. Nothing is changed but
    the answers that you give to the questions of --judge: they are appended to FILE.answers.jsonl
    and written to FILE.answered.csv, which `correct --judged` and `longtail --review-in` read.

    \u0008
    Example:
      conceptaudit explore runs/both
      conceptaudit explore runs/laion runs/datacomp --curve curves/ours --set tail
      conceptaudit explore runs/both --judge judge.csv
    """
    from conceptaudit.explore import ExploreOptions, Server

    options = ExploreOptions(
        runs=tuple(runs),
        dataset=dataset,
        curve=None if curve is None else str(curve),
        longtail=None if longtail is None else str(longtail),
        tail_results=tuple(tail_results or ()),
        index=None if index is None else str(index),
        clip=clip,
        judge=tuple(judge or ()),
    )
    server = Server.listen(options, host=host, port=port)
    say(f"Open {server.address}")
    say("Ctrl-C ends it.")
    sys.stdout.flush()  # a program that starts this one reads the address from a pipe
    server.run()
