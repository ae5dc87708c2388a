"""What became of the pool's samples; always adds up."""

from collections import Counter
from dataclasses import dataclass, field

from conceptaudit.longtail.records import UNREADABLE_FILE, Removal

MAX_LISTED = 10_000
"""Unusable pool images listed per reason; all of them are counted."""


@dataclass(slots=True)
class PoolAccount:
    """What became of the pool's samples.

    Parameters
    ----------
    n_samples : int
        Samples read.
    n_compared : int
        Images that were compared with the concepts.
    dropped : Counter of str
        Images that could not be, by reason.
    removals : list of Removal
        Those images, at most `MAX_LISTED` per reason, and files that were skipped.
    n_unreadable_files : int
        Files that were skipped.
    """

    n_samples: int = 0
    n_compared: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    removals: list[Removal] = field(default_factory=list)
    n_unreadable_files: int = 0

    def skip_file(self, source: str, detail: str) -> None:
        """Count and list a file that cannot be read; its samples are not known."""
        self.n_unreadable_files += 1
        self.removals.append(
            Removal(key="", source=source, concept="", reason=UNREADABLE_FILE, detail=detail)
        )

    def drop(self, key: str, source: str, reason: str, detail: str = "") -> None:
        """Count an image that cannot be used, and list it while there is room."""
        self.dropped[reason] += 1
        if self.dropped[reason] <= MAX_LISTED:
            self.removals.append(
                Removal(key=key, source=source, concept="", reason=reason, detail=detail)
            )

    def notes(self) -> list[str]:
        """Say which reasons have more images than are listed."""
        return [
            f"{n:,} pool images are unusable as {reason!r}; {MAX_LISTED:,} of them are listed."
            for reason, n in sorted(self.dropped.items())
            if n > MAX_LISTED
        ]
