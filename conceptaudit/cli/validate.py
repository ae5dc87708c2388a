"""``conceptaudit validate``: whether a run is whole, unchanged, and adds up."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path

from conceptaudit.cli.arguments import AS_JSON
from conceptaudit.cli.console import emit_json, say
from conceptaudit.cli.generated import takes_options
from conceptaudit.display import quantity
from conceptaudit.options.fields import argument

EXIT_FAULTS = 1
SHOWN = 50


@takes_options
def validate(
    run: Path = argument("Folder of an audit, evaluation, index, embeddings or long-tail set."),
    *,
    as_json: bool = AS_JSON,
) -> None:
    """Check every file of a run against its digest, every account, and every count.

    Exit code 0: nothing is wrong; 1: something is, and each fault is named; 2: no such run.

    \u0008
    Example:
      conceptaudit validate runs/both
    """
    from conceptaudit.validation import validate as check

    found = check(run)
    if as_json:
        record = {
            "folder": str(found.folder),
            "kind": found.kind,
            "n_files": found.n_files,
            "n_records": found.n_records,
            "faults": [asdict(fault) for fault in found.faults],
        }
        emit_json(record)
    else:
        for fault in found.faults[:SHOWN]:
            say(f"{fault.file}: {fault.what}")
        if len(found.faults) > SHOWN:
            say(f"… and {len(found.faults) - SHOWN:,} more")
        verdict = quantity(len(found.faults), "fault") if found.faults else "nothing wrong"
        say(
            f"{found.kind}: {quantity(found.n_files, 'file')}, "
            f"{quantity(found.n_records, 'shard record')}: {verdict}"
        )
    if found.faults:
        sys.exit(EXIT_FAULTS)
