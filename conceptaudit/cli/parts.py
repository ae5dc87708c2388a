"""Parts of a run, as array jobs do them: what was asked for, and what is left to ask."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from contextvars import ContextVar
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from conceptaudit.cli.console import emit_json, say
from conceptaudit.display import quantity

if TYPE_CHECKING:
    from conceptaudit.engine.array_tasks import Part, PartRun

# What the program was called with.
ARGUMENTS: ContextVar[tuple[str, ...]] = ContextVar("arguments", default=())

OWN_VALUES = ("--shard", "--workers", "--engine", "--ray-address", "--threads")
# What a part is told for itself: no matter for the whole.
OWN_FLAGS = ("--resume", "--json", "--debug")

# Whose marks a merge follows; an audit says in its run folder what it is.
VERBS = ("embed", "calibrate", "vocab", "evaluate", "retrieval", "longtail")

PLACES = ("-o", "--out", "--work")
NEVER = ("--overwrite", "--allow-pickle-weights")  # what a merge never does because a file says so


def without_own(arguments: Sequence[str]) -> list[str]:
    """Leave out what was meant for one part.

    Examples
    --------
    >>> without_own(["embed", "data", "--shard", "3/8", "--workers=2", "-o", "emb", "--json"])
    ['embed', 'data', '-o', 'emb']
    """
    kept: list[str] = []
    rest = iter(arguments)
    for one in rest:
        if one in OWN_VALUES:
            next(rest, None)
        elif one not in OWN_FLAGS and one.partition("=")[0] not in OWN_VALUES:
            kept.append(one)
    return kept


def asked_part(shard: str, *, overwrite: bool = False) -> Part:
    """Read which part is asked for, and remember the command for the merge."""
    from conceptaudit.engine.array_tasks import Part
    from conceptaudit.errors import ConfigError

    if overwrite:
        raise ConfigError(
            "--overwrite removes what other parts have written: with --shard, remove the folder "
            "by hand before the first part starts, or add --resume to redo what has changed."
        )
    return Part.parse(shard, asked=without_own(ARGUMENTS.get()))


def checked_command(command: object, place: Path) -> list[str]:
    """Return the command that a mark names, if a merge may run it.

    A mark is a file like any other, so it may ask for nothing but one of our verbs, with its
    results in the very folder that is merged.
    """
    from conceptaudit.errors import ArtifactMismatchError

    words = [str(word) for word in command] if isinstance(command, list) else []
    ours = words[:1] and words[0] in VERBS and not any(word in NEVER for word in words)
    with suppress(ValueError):  # no path can hold a NUL, or what is no Unicode
        written = [p for value in _values(words, PLACES) for p in places_of(Path(value))]
        if ours and place.resolve() in written:
            return words
    raise ArtifactMismatchError(
        f"{place} says that its parts are of the command {' '.join(words)!r}, which a merge does "
        "not run: it finishes parts of " + ", ".join(VERBS) + " in the folder that they were told "
        "to write to, as seen from here, without " + " or ".join(NEVER) + ". Where this is your "
        "command, run it without --shard."
    )


def places_of(out: Path) -> list[Path]:
    """Return where the parts of a command may write that was told to write to `out`."""
    from conceptaudit.longtail.set_storage import site_of
    from conceptaudit.noun_vocabulary import parts_of

    found = out.resolve()
    return [found, site_of(found), parts_of(found)] if found.name else [found]


def _values(words: Sequence[str], options: Sequence[str]) -> list[str]:
    """Return the values of some options."""
    values = [after for word, after in pairwise(words) if word in options]
    for word in words:
        name, equals, value = word.partition("=")
        if equals and name in options:
            values.append(value)
    return values


def show_part(done: PartRun, *, merged: object, as_json: bool) -> None:
    """Print what a part did, and what `conceptaudit merge` is to be given."""
    if as_json:
        emit_json(
            {
                "run": str(done.folder),
                "part": [done.part.index, done.part.count],
                "n_shards": done.n_shards,
                "n_all": done.n_all,
                "redone": done.redone,
                "failed": done.failed,
            }
        )
        return
    for name, why in done.failed.items():
        say(f"skipped {name}: {why}")
    say(
        f"part {done.part}: {done.n_shards:,} of {quantity(done.n_all, 'shard')} done, in "
        f"{done.folder}"
    )
    say(f"When all parts are: conceptaudit merge {merged}")
