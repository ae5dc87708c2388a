"""Running one part of an audit, as an array job does."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from conceptaudit.cli.console import emit_json, logged_progress, say

if TYPE_CHECKING:
    from conceptaudit.auditing import AuditOptions


def show_part(
    dataset: str,
    concepts: str,
    out: Path,
    shard: str,
    *,
    options: AuditOptions,
    resume: bool,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Do a part's share and print what was done.

    Raises
    ------
    ConfigError
        The part is none, or the run is to be overwritten, which no part may do to the others.
    """
    from conceptaudit.auditing import audit_part
    from conceptaudit.engine.parts import Part
    from conceptaudit.errors import ConfigError

    if overwrite:
        raise ConfigError(
            "--overwrite removes what other parts have written: with --shard, remove the folder "
            "by hand before the first part starts, or add --resume to redo what has changed."
        )
    part = Part.parse(shard)
    with logged_progress(out, "audit") as progress:
        done = audit_part(
            dataset, concepts, out, part, options=options, resume=resume, progress=progress
        )
    if as_json:
        emit_json(
            {
                "run": str(done.folder),
                "part": [part.index, part.count],
                "n_shards": done.n_shards,
                "n_all": done.n_all,
                "redone": done.redone,
                "failed": done.failed,
            }
        )
        return
    for name, why in done.failed.items():
        say(f"skipped {name}: {why}")
    say(f"part {part}: {done.n_shards:,} of {done.n_all:,} shards done, in {done.folder}")
    say(f"When all parts are: conceptaudit merge {done.folder}")
