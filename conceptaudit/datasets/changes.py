"""Files that change while they are read: what was counted is then neither the old nor the new."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping

from conceptaudit.datasets._files import is_remote
from conceptaudit.datasets.base import Shard
from conceptaudit.display import quantity
from conceptaudit.errors import DataError

Stamps = Mapping[str, tuple[int, int, int]]


def stamps_of(shards: Iterable[Shard]) -> Stamps:
    """Note what the local files of shards look like now.

    Remote files are left out: every look costs a request, and an object store replaces objects
    whole. Absent files are left out as well: reading them says so.
    """
    found: dict[str, tuple[int, int, int]] = {}
    for path in dict.fromkeys(path for shard in shards for path in shard.files):
        if is_remote(path):
            continue
        try:
            status = os.stat(path)  # noqa: PTH116 -- called for every file of a dataset
        except OSError:
            continue
        found[path] = (status.st_ino, status.st_size, status.st_mtime_ns)
    return found


def changed_since(before: Stamps, shards: Iterable[Shard]) -> list[str]:
    """Name the files that are there still but look otherwise."""
    now = stamps_of(shards)
    return sorted(path for path, stamp in before.items() if now.get(path, stamp) != stamp)


def check_unchanged(before: Stamps, shard: Shard) -> None:
    """Check that a shard's files did not change while they were read."""
    changed = changed_since(before, [shard])
    if changed:
        raise DataError(
            f"{changed[0]} changed while it was read, so that what was read of it cannot be "
            "trusted. Wait until it is complete, then run the same command again with --resume."
        )


def change_notes(before: Stamps, shards: Iterable[Shard]) -> tuple[str, ...]:
    """Tell of files that changed between the start and the end of a run."""
    changed = changed_since(before, shards)
    if not changed:
        return ()
    told = (
        f"{quantity(len(changed), 'file')} changed during the run (such as {changed[0]}): their "
        "counts may be those of an earlier state. Run the same command again with --resume."
    )
    return (told,)
