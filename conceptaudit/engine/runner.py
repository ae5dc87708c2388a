"""Running a verb's stages: with whom, in which folder, over which share of the shards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from conceptaudit.datasets.base import Dataset, Shard
from conceptaudit.engine.base import Engine
from conceptaudit.engine.choose import open_engine
from conceptaudit.engine.parts import Part
from conceptaudit.engine.stage import Stage, StageReport, run_stage
from conceptaudit.options.engine import EngineChoice
from conceptaudit.progress import Progress


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
