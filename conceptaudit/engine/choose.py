"""Which engine runs."""

from pathlib import Path

from conceptaudit.artifacts import STARTED
from conceptaudit.engine.base import Engine, SerialEngine, available_cpus
from conceptaudit.options.engine import PROCESSES, RAY, SERIAL, EngineChoice


def open_engine(
    workers: int | EngineChoice | None = None,
    *,
    n_items: int | None = None,
    on_gpu: bool = False,
    folder: Path | None = None,
) -> Engine:
    """Open the engine for a number of workers, or the one that was chosen.

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
