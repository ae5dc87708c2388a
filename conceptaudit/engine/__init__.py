"""Engines that run one task over many items: in this process, in several, or on a Ray cluster."""

from conceptaudit.engine.base import Engine
from conceptaudit.engine.dispatcher import workers_kept
from conceptaudit.engine.runner import open_engine
from conceptaudit.engine.stage import ShardResult, Stage, StageReport, run_shards, run_stage
from conceptaudit.options.engine import EngineChoice

__all__ = [
    "Engine",
    "EngineChoice",
    "ShardResult",
    "Stage",
    "StageReport",
    "open_engine",
    "run_shards",
    "run_stage",
    "workers_kept",
]
