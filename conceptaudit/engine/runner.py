"""Running a verb's stages: by which engine, in which folder, over which share of the shards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from conceptaudit.artifacts import STARTED
from conceptaudit.datasets.base import Dataset, Shard
from conceptaudit.engine.array_tasks import Part
from conceptaudit.engine.base import Engine, SerialEngine, available_cpus
from conceptaudit.engine.stage import Stage, StageReport, run_stage
from conceptaudit.options.engine import PROCESSES, RAY, SERIAL, EngineChoice
from conceptaudit.progress import Progress


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


@dataclass(frozen=True, slots=True, kw_only=True)
class StageRunner:
    """Runs stages."""

    folder: Path  # where results go, held by this process
    workers: int | EngineChoice | None
    progress: Progress
    part: Part | None = None  # the share of the shards that is this process's; None for all
    # whether a file that cannot be read is listed instead of stopping the run
    skip_unreadable: bool = False

    def share(self, shards: Sequence[Shard]) -> tuple[Shard, ...]:
        """Return those shards that are this process's."""
        return tuple(shards) if self.part is None else self.part.share(shards)

    def engine(self, n_items: int, *, on_gpu: bool = False) -> Engine:
        """Open the engine for a number of items."""
        return open_engine(self.workers, n_items=n_items, on_gpu=on_gpu, folder=self.folder)

    def run(
        self, stage: Stage, dataset: Dataset, shards: Sequence[Shard], *, on_gpu: bool = False
    ) -> StageReport:
        """Bring a stage's results for these shards up to date."""
        return run_stage(
            stage,
            dataset,
            shards,
            folder=self.folder,
            engine=self.engine(len(shards), on_gpu=on_gpu),
            progress=self.progress,
            skip_unreadable=self.skip_unreadable,
            tidy=self.part is None,
        )
