"""Who does the work of a verb."""

from __future__ import annotations

from dataclasses import dataclass

from conceptaudit.errors import ConfigError
from conceptaudit.options import shared
from conceptaudit.options.fields import documented

AUTO, SERIAL, PROCESSES, RAY = "auto", "serial", "processes", "ray"
ENGINES = (AUTO, SERIAL, PROCESSES, RAY)


@documented
@dataclass(frozen=True, slots=True, kw_only=True)
class EngineChoice:
    """Who does the work. Changes no result.

    ``"serial"`` is this process, ``"processes"`` are others on this machine, ``"ray"`` is a Ray
    cluster; ``"auto"`` takes processes where there are several workers, and Ray where there is an
    address. Without an address Ray is started on this machine.

    Raises
    ------
    ConfigError
        The engine is not known, or the rest does not go with it.

    Examples
    --------
    >>> EngineChoice(kind="processes", workers=4).workers
    4
    """

    workers: int | None = shared.workers(default=None)
    kind: str = shared.engine(name="engine")
    address: str | None = shared.ray_address(name="ray_address")

    def __post_init__(self) -> None:
        if self.kind not in ENGINES:
            raise ConfigError(
                f"The 'engine' parameter must be one of {list(ENGINES)}. Got {self.kind!r} instead."
            )
        if self.workers is not None and self.workers < 1:
            raise ConfigError(
                f"The 'workers' parameter must be at least 1. Got {self.workers} instead."
            )
        if self.kind == SERIAL and self.workers not in (None, 1):
            raise ConfigError(
                f"The engine {SERIAL!r} is one process. Got {self.workers} workers: leave them "
                f"out, or take the engine {PROCESSES!r}."
            )
        if self.address is not None and self.kind not in (AUTO, RAY):
            raise ConfigError(
                f"The 'ray_address' parameter ({self.address}) belongs to the engine {RAY!r}. "
                f"Got {self.kind!r} instead."
            )

    @property
    def joins_a_cluster(self) -> bool:
        """Whether workers may be on other machines."""
        return self.address is not None
