"""Running the stages of a planned audit in a folder, over all shards or one part's share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from conceptaudit.auditing.plan import AuditPlan
from conceptaudit.datasets.base import Dataset, Shard
from conceptaudit.engine import Engine, StageReport, open_engine, run_stage
from conceptaudit.engine.parts import Part
from conceptaudit.engine.stage import Stage
from conceptaudit.image.stages import ImageEncoder
from conceptaudit.image.stored import StoredEmbeddings
from conceptaudit.progress import Progress


@dataclass(frozen=True, slots=True, kw_only=True)
class StageRunner:
    """Runs the stages of a plan.

    Parameters
    ----------
    plan : AuditPlan
    folder : Path
        Where results go, held by this process.
    progress : Progress
    part : Part or None
        The share of the shards that is this process's; None for all.
    """

    plan: AuditPlan
    folder: Path
    progress: Progress
    part: Part | None = None

    @property
    def shards(self) -> tuple[Shard, ...]:
        """The shards that this process works on."""
        shards = self.plan.shards
        return shards if self.part is None else self.part.share(shards)

    def run(
        self,
        stage: Stage,
        dataset: Dataset | None = None,
        shards: Sequence[Shard] | None = None,
    ) -> StageReport:
        """Run a stage, over this process's shards of the plan's dataset if none are named."""
        shards = self.shards if shards is None else tuple(shards)
        on_gpu = isinstance(stage, ImageEncoder) and stage.clip.device != "cpu"
        return run_stage(
            stage,
            self.plan.dataset if dataset is None else dataset,
            shards,
            folder=self.folder,
            engine=self.engine(len(shards), on_gpu=on_gpu),
            progress=self.progress,
            skip_unreadable=self.plan.options.skip_unreadable,
            tidy=self.part is None,
        )

    def run_all(self, *stages: Stage | None) -> dict[str, StageReport]:
        """Run those stages that there are, each over this process's shards."""
        return {stage.name: self.run(stage) for stage in stages if stage is not None}

    def engine(self, n_items: int, *, on_gpu: bool = False) -> Engine:
        """Open the engine that the options choose."""
        choice = self.plan.options.engine_choice
        return open_engine(choice, n_items=n_items, on_gpu=on_gpu, folder=self.folder)

    def embedded(self, shards: tuple[Shard, ...]) -> tuple[Dataset, tuple[Shard, ...]]:
        """Return where the images' vectors are read: from this folder, or from the dataset."""
        if self.plan.encoder is None:
            return self.plan.dataset, shards
        source = StoredEmbeddings(folder=self.folder / self.plan.encoder.name, source=shards)
        return source, source.shards()
