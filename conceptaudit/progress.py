"""Progress of long work, told to whoever wants to know.

Library code takes a `Progress` and reports to it without asking whether anyone looks: the default
says nothing. The command line passes one that draws a bar.
"""

from typing import Protocol, runtime_checkable


class Progress(Protocol):
    """Receives the progress of one stage after another."""

    def start(self, stage: str, total: int | None, unit: str = "shards") -> None:
        """Begin a stage of `total` units (None where that is not known)."""

    def advance(self, units: int = 1) -> None:
        """Count units as done."""

    def finish(self) -> None:
        """End the stage."""


@runtime_checkable
class Announces(Protocol):
    """A progress that also shows what is under way before the first stage, or between two."""

    def announce(self, what: str) -> None:
        """Show what is done now, until the next stage starts."""


def announce(progress: object, what: str) -> None:
    """Show what is under way outside any stage, where that can be shown."""
    if isinstance(progress, Announces):
        progress.announce(what)


class SilentProgress:
    """Ignores everything."""

    def start(self, stage: str, total: int | None, unit: str = "shards") -> None:
        """Ignore the start of a stage."""

    def advance(self, units: int = 1) -> None:
        """Ignore units done."""

    def finish(self) -> None:
        """Ignore the end of a stage."""
