"""Which engine runs."""

from conceptaudit.engine.base import Engine, SerialEngine, available_cpus
from conceptaudit.errors import ConfigError


def open_engine(workers: int | None = None, *, n_items: int | None = None) -> Engine:
    """Choose the engine for a number of workers.

    Parameters
    ----------
    workers : int or None, default None
        Number of worker processes, at least 1; 1 runs in this process. None takes one per
        processor, and no more than there are items.
    n_items : int or None, default None
        How many items will be run, where known.

    Raises
    ------
    ConfigError
        `workers` is less than 1.
    """
    if workers is not None and workers < 1:
        raise ConfigError(f"The 'workers' parameter must be at least 1. Got {workers} instead.")
    wanted = available_cpus() if workers is None else workers
    if n_items is not None:
        wanted = min(wanted, max(n_items, 1))
    if wanted == 1:
        return SerialEngine()
    from conceptaudit.engine.processes import ProcessEngine

    return ProcessEngine(workers=wanted)
