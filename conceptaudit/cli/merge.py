"""``conceptaudit merge``: finish an audit whose parts ran as separate jobs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from conceptaudit.cli.arguments import AsJson, EngineKind, RayAddress, Workers
from conceptaudit.cli.audit import show_run
from conceptaudit.cli.console import logged_progress


def merge(
    runs: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN | PART...",
            help="The run folder that the parts share; or, with -o, the folders of parts that ran "
            "on different file systems.",
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Run folder to bring the parts together in."),
    ] = None,
    compute_missing: Annotated[
        bool,
        typer.Option(
            "--compute-missing", help="Compute shards that no part has done, not just name them."
        ),
    ] = False,
    workers: Workers = None,
    engine: EngineKind = "auto",
    ray_address: RayAddress = None,
    as_json: AsJson = False,
) -> None:
    """Finish an audit that ran as parts (--shard): calibrate, count, add up, write.

    The run folder says which audit it is; data and concept list must be where they were, and the
    result is that of one undisturbed run. Running the audit's command without --shard does the
    same. Exit code 2 where shards are missing; they are named.

    \u0008
    Example:
      conceptaudit merge runs/big
      conceptaudit merge node1/run node2/run -o runs/big
    """
    from conceptaudit.auditing import AuditOptions, merge_audit
    from conceptaudit.errors import ConfigError

    if out is None and len(runs) > 1:
        raise ConfigError("Several folders are merged into another one: name it with -o.")
    folder = runs[0] if out is None else out
    options = AuditOptions(workers=workers, engine=engine, ray_address=ray_address)
    with logged_progress(folder, "merge") as progress:
        run = merge_audit(
            folder,
            () if out is None else runs,
            options=options,
            compute_missing=compute_missing,
            progress=progress,
        )
        progress.account(run.account, run.redone)
    show_run(run, run.level, as_json=as_json)
