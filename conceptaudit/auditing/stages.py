"""The stages of a planned audit: running them in a folder, and the shards that they left."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from conceptaudit.artifacts import ShardStore
from conceptaudit.auditing.calibration_data import CalibrationData, ImageIndex
from conceptaudit.auditing.plan import AuditPlan
from conceptaudit.datasets.base import Dataset, Shard
from conceptaudit.engine import StageReport, run_shards
from conceptaudit.engine.array_tasks import Part
from conceptaudit.engine.runner import StageRunner
from conceptaudit.engine.stage import Stage
from conceptaudit.errors import ConfigError
from conceptaudit.image.stages import ImageEncoder, StoredEmbeddings
from conceptaudit.progress import Progress

Reports = dict[str, StageReport]
"""What running each stage did, by stage."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditStages:
    """A plan, and who runs its stages in which folder."""

    plan: AuditPlan
    runner: StageRunner

    @classmethod
    def of(
        cls, plan: AuditPlan, folder: Path, progress: Progress, part: Part | None = None
    ) -> AuditStages:
        """Take over a folder that this process holds."""
        runner = StageRunner(
            folder=folder,
            workers=plan.options.engine_choice,
            progress=progress,
            part=part,
            skip_unreadable=plan.options.skip_unreadable,
        )
        return cls(plan=plan, runner=runner)

    def run(self, *stages: Stage | None) -> Reports:
        """Run those stages that there are, each over this process's shards."""
        shards = self.runner.share(self.plan.shards)
        return {
            stage.name: self.runner.run(
                stage,
                self.plan.dataset,
                shards,
                on_gpu=isinstance(stage, ImageEncoder) and stage.clip.device != "cpu",
            )
            for stage in stages
            if stage is not None
        }

    def over(
        self, task: Callable[[Shard], str | None], store: ShardStore, shards: Sequence[Shard]
    ) -> StageReport:
        """Run a task over the results of earlier stages."""
        return run_shards(
            task,
            store,
            shards,
            engine=self.runner.engine(len(shards)),
            progress=self.runner.progress,
            tidy=self.runner.part is None,
        )

    def embedded(self, shards: tuple[Shard, ...]) -> tuple[Dataset, tuple[Shard, ...]]:
        """Return where the images' vectors are read: from the folder, or from the dataset."""
        if self.plan.encoder is None:
            return self.plan.dataset, shards
        source = StoredEmbeddings(folder=self.runner.folder / self.plan.encoder.name, source=shards)
        return source, source.shards()

    def calibration_data(self, reports: Mapping[str, StageReport]) -> CalibrationData:
        """Return what a calibration is learned from, once captions are tagged."""
        plan = self.plan
        if plan.image is None or plan.background is None:
            raise ConfigError("Calibration needs images.")
        source, shards = self.embedded(plan.shards)
        return CalibrationData(
            source=source,
            shards=shards,
            text=None if plan.text is None else reports[plan.text.name].store,
            mentions=reports["mentions"].store if "mentions" in reports else None,
            vocabulary=plan.vocabulary,
            vectors=plan.image.concepts,
            background=plan.background,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class CountedShards:
    """The shards that every audited side has, and what the stages hold of them."""

    stages: AuditStages
    shards: tuple[Shard, ...]  # identified by their tags
    stores: Mapping[str, ShardStore]  # results by stage
    index: ImageIndex | None = None  # which samples share an image, where that matters

    @property
    def plan(self) -> AuditPlan:
        """What was audited, and how."""
        return self.stages.plan

    @property
    def folder(self) -> Path:
        """The run folder."""
        return self.stages.runner.folder

    def paths(self, stage: str, ending: str) -> list[Path]:
        """Return the files of a stage that there are."""
        files = (self.stores[stage].path(shard.name, ending) for shard in self.shards)
        return [file for file in files if file.exists()]
