"""How fast long work gets on, and how long the rest of it takes."""

import time
from collections import deque
from collections.abc import Callable

PACE_MARKS = 60
"""Rates are taken over the last minute, or over the last so many units that take longer."""

PACE_SETTLES = 2.0
"""Seconds at the start of a stage that no rate is taken from."""


class Pace:
    """How fast units have been done lately, and so how long the rest will take.

    What is done within the first seconds are mostly results of an earlier run that are kept, and
    says nothing of the rest.

    Examples
    --------
    >>> clock = iter([0.0, 1.0, 2.0, 12.0])
    >>> pace = Pace(lambda: next(clock))
    >>> for done in (900, 900, 905):
    ...     pace.add(done)
    >>> pace.rate, pace.seconds_left(1_000)
    (0.5, 190.0)
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._started = clock()
        self._marks: deque[tuple[float, int]] = deque([(self._started, 0)], maxlen=PACE_MARKS)
        self._now = (self._started, 0)

    def add(self, done: int) -> None:
        """Note how many units are done now."""
        self._now = (self._clock(), done)
        if self._now[0] - self._started <= PACE_SETTLES:
            self._marks[0] = self._now
        elif self._now[0] - self._marks[-1][0] >= 1.0:
            self._marks.append(self._now)

    @property
    def rate(self) -> float | None:
        """Units per second; None before anything can be said."""
        (then, before), (now, done) = self._marks[0], self._now
        return (done - before) / (now - then) if now > then and done > before else None

    def seconds_left(self, total: int | None) -> float | None:
        """Seconds until `total` units are done; None where that cannot be said."""
        rate, left = self.rate, (total or 0) - self._now[1]
        return left / rate if rate and left > 0 else None


def duration(seconds: float) -> str:
    """Write a time as people say it.

    Examples
    --------
    >>> duration(4.2), duration(130), duration(90_000)
    ('4 s', '2 min', '25 h 0 min')
    """
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60} min"
