"""``conceptaudit merge``: finish a run whose parts were separate jobs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import NoReturn

from conceptaudit.cli.arguments import AS_JSON
from conceptaudit.cli.audit import show_run
from conceptaudit.cli.console import logged_progress, say
from conceptaudit.cli.generated import takes_options
from conceptaudit.cli.parts import checked_command, places_of
from conceptaudit.display import quantity
from conceptaudit.options.audit import AuditOptions
from conceptaudit.options.engine import EngineChoice
from conceptaudit.options.fields import argument, flag, optional

AUDIT = "audit"


@takes_options
def merge(
    runs: list[Path] = argument(
        "What the parts were told to write (-o; --work of calibrate). With -o: the run folders of "
        "parts of one audit that ran on different file systems.",
        metavar="RUN | PART...",
    ),
    *,
    out: Path | None = optional(
        "Run folder to bring the parts of an audit together in.", flags=("-o",)
    ),
    compute_missing: bool = flag("Compute shards that no part has done, not just name them."),
    partial: bool = flag(
        "Count the shards of an audit that are done, in the folder that -o names, and mark the "
        "result as partial. RUN is left as it is."
    ),
    overwrite: bool = flag("--partial: remove the run that -o names."),
    workers: EngineChoice,
    as_json: bool = AS_JSON,
) -> None:
    """Finish what ran as parts (--shard): do what needs all of them, add up, write.

    The parts say which command they belong to; its files must be where they were, and the result
    is that of one undisturbed run. The command without --shard does the same. Exit code 2 where
    parts or shards are missing; they are named.

    \u0008
    Example:
      conceptaudit merge runs/big
      conceptaudit merge node1/run node2/run -o runs/big
      conceptaudit merge runs/big --partial -o runs/so-far
    """
    from conceptaudit.auditing import merge_audit, merge_partial
    from conceptaudit.errors import ConfigError

    options = AuditOptions(
        workers=workers.workers, engine=workers.kind, ray_address=workers.address
    )
    if overwrite and not partial:
        raise ConfigError("--overwrite belongs to --partial: a merge keeps what the parts did.")
    if partial:
        if out is None or len(runs) > 1 or compute_missing:
            raise ConfigError(
                "--partial counts what one run has so far and writes it elsewhere: give one RUN "
                "and -o, without --compute-missing."
            )
        with logged_progress(out, "merge") as progress:
            run = merge_partial(
                runs[0], out, options=options, overwrite=overwrite, progress=progress
            )
            progress.account(run.account, run.redone)
        show_run(run, run.level, as_json=as_json)
        return
    if out is None and len(runs) > 1:
        raise ConfigError("Several folders are merged into another one: name it with -o.")
    place = None if out is not None else _place(runs[0])
    if place is not None:
        own = _own_arguments(workers, as_json=as_json)
        _ask_again(place, own, compute_missing=compute_missing)
    folder = runs[0] if out is None else out
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


def _place(named: Path) -> Path | None:
    """Find the folder that the parts of anything but an audit have written to."""
    from conceptaudit.artifacts import STARTED, read_json
    from conceptaudit.engine.array_tasks import read_marks
    from conceptaudit.errors import ConfigError

    found = [place for place in places_of(named) if read_marks(place).parts]
    if found:
        command = read_marks(found[0]).asked() if len(found) == 1 else None
        return None if command is not None and command[:1] == [AUDIT] else found[0]
    told = read_json(named / STARTED) if (named / STARTED).is_file() else {}
    kind = told.get("kind", AUDIT) if isinstance(told, dict) else AUDIT
    if kind != AUDIT:
        raise ConfigError(
            f"{named} holds a run of kind {kind!r} without a finished part. Run its parts, or its "
            "command without --shard, which finishes what they began."
        )
    return None


def _own_arguments(workers: EngineChoice, *, as_json: bool) -> list[str]:
    given = {"--workers": workers.workers, "--ray-address": workers.address}
    values = [str(part) for pair in given.items() if pair[1] is not None for part in pair]
    return [*values, "--engine", workers.kind, *(["--json"] if as_json else [])]


def _ask_again(place: Path, own: list[str], *, compute_missing: bool) -> NoReturn:
    """Run the parts' command without --shard; the program ends with it."""
    import shlex

    from conceptaudit.cli.main import main
    from conceptaudit.engine.array_tasks import parts_to_run, read_marks
    from conceptaudit.errors import DataError

    marks = read_marks(place)
    command = checked_command(marks.asked(), place)
    missing = marks.unfinished()
    if missing and not compute_missing:
        raise DataError(
            f"{len(missing):,} of {quantity(marks.n_shards, 'shard')} belong to no finished part "
            f"of {place}. {parts_to_run(missing, marks.parts)}, or add --compute-missing to "
            "compute them here."
        )
    if "--json" not in own:
        say(f"conceptaudit {shlex.join(command)}")
    sys.exit(main([*command, *own]))
