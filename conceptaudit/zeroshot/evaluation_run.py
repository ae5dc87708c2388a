"""What every evaluation shares: names of models, the run folder, its stages, its manifest."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from conceptaudit.artifacts import RUN_PACKAGES, Json, RunFolder, ShardStore, package_versions
from conceptaudit.errors import ConfigError
from conceptaudit.image.clip import ClipModel, find_clip
from conceptaudit.image.clip_models import label_of
from conceptaudit.records import merge_counts


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


def finish_run(run: RunFolder, record: dict[str, Any], listed: Iterable[Path]) -> None:
    """Write the manifest of a finished run, last, with the digest of every file."""
    run.finish(
        {**record, "versions": package_versions(*RUN_PACKAGES)},
        [path.relative_to(run.path).as_posix() for path in listed],
    )
