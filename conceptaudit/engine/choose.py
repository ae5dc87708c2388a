"""Which engine runs."""

from dataclasses import dataclass
from pathlib import Path

from conceptaudit.artifacts import STARTED
from conceptaudit.engine.base import Engine, SerialEngine, available_cpus
from conceptaudit.errors import ConfigError

AUTO, SERIAL, PROCESSES, RAY = "auto", "serial", "processes", "ray"
ENGINES = (AUTO, SERIAL, PROCESSES, RAY)


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineChoice:
    """Who does the work. Changes no result.

    Parameters
    ----------
    kind : {"auto", "serial", "processes", "ray"}
        ``"serial"`` is this process, ``"processes"`` are others on this machine, ``"ray"`` is a
        Ray cluster; ``"auto"`` takes processes where there are several workers, and Ray where
        there is an address.
    workers : int or None
        Workers, at least 1; None for one per processor (or per GPU, where a stage needs one).
    address : str or None
        Of a running Ray cluster (``"auto"`` finds the one that this machine is part of); None
        starts one on this machine.

    Raises
    ------
    ConfigError
        The engine is not known, or the rest does not go with it.

    Examples
    --------
    >>> EngineChoice(kind="processes", workers=4).workers
    4
    """

    kind: str = AUTO
    workers: int | None = None
    address: str | None = None

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


def open_engine(
    workers: int | EngineChoice | None = None,
    *,
    n_items: int | None = None,
    on_gpu: bool = False,
    folder: Path | None = None,
) -> Engine:
    """Open the engine for a number of workers, or the one that was chosen.

    Parameters
    ----------
    workers : int, EngineChoice or None, default None
        Number of worker processes, at least 1; 1 runs in this process. None takes one per
        processor, and no more than there are items.
    n_items : int or None, default None
        How many items will be run, where known.
    on_gpu : bool, default False
        Whether every worker computes on a GPU of its own: one process on this machine, or as
        many workers as a Ray cluster has GPUs.
    folder : Path or None, default None
        The run folder, which all workers have to see.

    Raises
    ------
    ConfigError
        `workers` is less than 1.
    MissingDependencyError
        Ray was chosen and is not installed.

    Examples
    --------
    >>> open_engine(1)
    SerialEngine()
    """
    choice = workers if isinstance(workers, EngineChoice) else EngineChoice(workers=workers)
    if choice.kind == RAY or choice.joins_a_cluster:
        from conceptaudit.engine.ray_cluster import RayEngine, require_ray

        require_ray()
        return RayEngine(
            workers=choice.workers,
            address=choice.address,
            n_items=n_items,
            on_gpu=on_gpu,
            witness=None if folder is None else folder / STARTED,
        )
    wanted = available_cpus() if choice.workers is None else choice.workers
    if n_items is not None:
        wanted = min(wanted, max(n_items, 1))
    if choice.kind == SERIAL or on_gpu or (wanted == 1 and choice.kind != PROCESSES):
        return SerialEngine()
    from conceptaudit.engine.processes import ProcessEngine

    return ProcessEngine(workers=wanted)
