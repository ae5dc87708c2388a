"""What evaluation and retrieval share: models by name, a stage per model, what is written."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from conceptaudit.artifacts import (
    RUN_PACKAGES,
    Json,
    RunFolder,
    ShardStore,
    package_versions,
    write_json,
)
from conceptaudit.datasets import Dataset, Shard
from conceptaudit.engine import EngineChoice, StageReport
from conceptaudit.engine.array_tasks import Part, PartRun, mark_finished
from conceptaudit.engine.runner import StageRunner
from conceptaudit.engine.stage import Stage
from conceptaudit.errors import ConfigError, DataError
from conceptaudit.image.clip import ClipModel, find_clip
from conceptaudit.image.clip_models import label_of
from conceptaudit.progress import Progress, SilentProgress
from conceptaudit.records import merge_counts


class ModelStage(Stage, Protocol):
    """A stage that one model computes."""

    @property
    def clip(self) -> ClipModel:
        """The model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRun:
    """One model over all shards of a dataset."""

    stage: ModelStage
    dataset: Dataset
    shards: tuple[Shard, ...]  # all of the dataset's

    @property
    def on_gpu(self) -> bool:
        """Whether the stage computes on a GPU."""
        return self.stage.clip.device != "cpu"

    def begin(self, folder: Path) -> None:
        """Write what the stage needs, or remove what another run left, in the run folder."""

    def report(self, runner: StageRunner) -> StageReport:
        """Bring the shards' results up to date."""
        self.begin(runner.folder)
        shards = runner.share(self.shards)
        return runner.run(self.stage, self.dataset, shards, on_gpu=self.on_gpu)


def run_part(
    run: RunFolder,
    models: Sequence[ModelRun],
    part: Part,
    *,
    workers: int | EngineChoice | None,
    resume: bool,
    progress: Progress | None,
) -> PartRun:
    """Run all models over one part's share of the shards."""
    told = progress or SilentProgress()
    runner = StageRunner(folder=run.path, workers=workers, progress=told, part=part)
    n_all = max(len(model.shards) for model in models)
    with run.hold_part(str(part), resume=resume):
        reports = {model.stage.name: model.report(runner) for model in models}
        mark_finished(run.path, part, n_all)
    return PartRun.of(run.path, part, n_all, reports)


def encoding_settings(clip: ClipModel) -> dict[str, Json]:
    """Everything of a model and how it runs that can change a vector."""
    return {
        "clip": clip.digest,
        "device": clip.device.split(":")[0],
        "batch": clip.batch,
        "precision": clip.precision,
        "versions": package_versions("open_clip_torch", "torch", "pillow"),
    }


def check_width(clip: ClipModel, width: int, shard: Shard) -> None:
    """Refuse stored vectors that are wider or narrower than the model's."""
    if width != clip.dimension:
        raise DataError(
            f"The embeddings in {shard.files[0]} have {width} numbers, those of {clip.name!r} "
            f"{clip.dimension}: another model made them."
        )


def load_models(models: Sequence[str | ClipModel], device: str) -> list[ClipModel]:
    """Find the models that a user named."""
    if not models:
        raise ConfigError("The 'models' parameter must name at least one model. Got none instead.")
    return [find_clip(m, device=device) if isinstance(m, str) else m for m in models]


def slug(text: str) -> str:
    """Return a safe file name for a model."""
    return re.sub(r"[^A-Za-z0-9._-]+", "_", text).strip("._") or "model"


def model_slugs(clips: Sequence[ClipModel]) -> list[str]:
    """Return a folder name per model, unique on any file system."""
    slugs = [slug(clip.name) for clip in clips]
    if len({name.lower() for name in slugs}) < len(slugs):
        raise ConfigError(
            f"Models must be named once each. Got {[clip.name for clip in clips]} instead."
        )
    return slugs


def model_labels(clip: ClipModel, pretraining: str | None) -> tuple[str, str]:
    """Split a model's name into architecture and pretraining, as result tables carry them.

    >>> model_labels(ClipModel(name="ViT-B-32/laion2b_s34b_b79k", digest="", dimension=512), None)
    ('ViT-B-32', 'laion2b_s34b_b79k')
    """
    architecture, weights = label_of(clip.name)
    return architecture, pretraining if pretraining is not None else weights


def added_accounts(store: ShardStore, shards: Sequence[str]) -> Json:
    """Add up what the shards read, used and dropped."""
    records = [store.read(shard) for shard in shards]
    return {
        "n_samples": sum(record["n_samples"] for record in records),
        "n_used": sum(record["n_used"] for record in records),
        "dropped": merge_counts([record["dropped"] for record in records]),
    }


def write_benchmark_record(
    folder: Path,
    *,
    model: str,
    pretraining: str,
    dataset: str,
    task: str,
    metrics: Mapping[str, float],
) -> Path:
    """Write a model's overall scores as CLIP_benchmark writes them; return the file."""
    path = folder / "clip_benchmark" / f"{slug(f'{model}_{pretraining}')}.json"
    record = {
        "dataset": dataset,
        "model": model,
        "pretrained": pretraining,
        "task": task,
        "metrics": dict(metrics),
        "language": "en",
    }
    write_json(path, record)
    return path


def finish_run(run: RunFolder, record: Mapping[str, Json], listed: Iterable[Path]) -> None:
    """Write the manifest of a finished run, last, with the digest of every file.

    `record`: what it says of this kind of run; `listed`: files whose names depend on the data.
    """
    run.finish(
        {**record, "versions": package_versions(*RUN_PACKAGES)},
        [path.relative_to(run.path).as_posix() for path in listed],
    )
