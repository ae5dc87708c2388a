"""The stages of a planned audit, run in a folder."""

from __future__ import annotations

from pathlib import Path

from conceptaudit.auditing.plan import AuditPlan
from conceptaudit.datasets.base import Dataset, Shard
from conceptaudit.engine import StageReport
from conceptaudit.engine.parts import Part
from conceptaudit.engine.runner import StageRunner
from conceptaudit.engine.stage import Stage
from conceptaudit.image.stages import ImageEncoder, StoredEmbeddings
from conceptaudit.progress import Progress


def runner_of(
    plan: AuditPlan, folder: Path, progress: Progress, part: Part | None = None
) -> StageRunner:
    """Return what runs a plan's stages in a folder."""
    return StageRunner(
        folder=folder,
        workers=plan.options.engine_choice,
        progress=progress,
        part=part,
        skip_unreadable=plan.options.skip_unreadable,
    )


def run_stages(
    plan: AuditPlan, runner: StageRunner, *stages: Stage | None
) -> dict[str, StageReport]:
    """Run those stages that there are, each over this process's shards."""
    shards = runner.share(plan.shards)
    return {
        stage.name: runner.run(
            stage,
            plan.dataset,
            shards,
            on_gpu=isinstance(stage, ImageEncoder) and stage.clip.device != "cpu",
        )
        for stage in stages
        if stage is not None
    }


def embedded(
    plan: AuditPlan, folder: Path, shards: tuple[Shard, ...]
) -> tuple[Dataset, tuple[Shard, ...]]:
    """Return where the images' vectors are read: from the run's folder, or from the dataset."""
    if plan.encoder is None:
        return plan.dataset, shards
    source = StoredEmbeddings(folder=folder / plan.encoder.name, source=shards)
    return source, source.shards()
