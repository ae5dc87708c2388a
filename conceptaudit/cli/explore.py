"""``conceptaudit explore``: a local server of pages to look at audits, and to judge samples in."""

from __future__ import annotations

import sys
from pathlib import Path

from conceptaudit.cli.console import say
from conceptaudit.cli.generated import takes_options
from conceptaudit.options.fields import argument, option, optional


@takes_options
def explore(
    runs: list[Path] = argument("Run folders of finished audits.", metavar="RUN..."),
    *,
    dataset: str | None = optional(
        "Where the first run's dataset is now, or the images of its embeddings; by default where "
        "the audit found it."
    ),
    curve: Path | None = optional("Folder of `conceptaudit fit`, or curve.json."),
    longtail: Path | None = optional(
        "Folder of `conceptaudit longtail`.", name="set", flags=("--longtail",)
    ),
    tail_results: list[str] | None = optional(
        "Folder of `conceptaudit evaluate` on that set; repeat for more."
    ),
    index: Path | None = optional(
        "Folder of `conceptaudit index build` over the first run's images."
    ),
    clip: str | None = optional("The index's model, where the index does not name it."),
    judge: list[Path] | None = optional(
        "Table of `conceptaudit judge`, or file of `longtail --review-out`, to answer in the "
        "browser; repeat for more."
    ),
    host: str = option(
        "127.0.0.1",
        "Address to listen on; others than this machine's own let in who knows the token.",
    ),
    port: int = option(0, "0 for any that is free.", within="[0, 65535]"),
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
