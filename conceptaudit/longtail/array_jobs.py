"""The search for candidates as an array of jobs: each looks at its share of the pool."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from conceptaudit.datasets.base import Dataset
from conceptaudit.engine import EngineChoice
from conceptaudit.engine.array_tasks import Part, PartRun, mark_finished
from conceptaudit.longtail.build import choose_concepts, places_read
from conceptaudit.longtail.pool_setup import make_pool, open_pool
from conceptaudit.longtail.set_storage import WORK, work_folder
from conceptaudit.longtail.source import read_audit
from conceptaudit.options.longtail import LongTailOptions
from conceptaudit.progress import Progress, SilentProgress
from conceptaudit.store.places import check_apart, output_path

if TYPE_CHECKING:
    from conceptaudit.image.clip import ClipModel


def collect_part(
    run: str | Path,
    pool: str | Path | Dataset,
    out: str | Path,
    part: Part,
    *,
    options: LongTailOptions | None = None,
    clip: ClipModel | None = None,
    workers: int | EngineChoice | None = 1,
    progress: Progress | None = None,
) -> PartRun:
    """Look for candidates in one part's share of a pool; `build_long_tail` does the rest.

    Parts may run side by side, be killed and run again. What they find is kept beside `out`, which
    appears when `build_long_tail` with the same arguments has finished the set.
    """
    options = options or LongTailOptions()
    audit = read_audit(run)
    opened = open_pool(pool, options.layout) if isinstance(pool, str | Path) else pool
    made = make_pool(opened, audit, choose_concepts(audit, options).concepts, options, clip)
    folder, n_all = output_path(out), len(made.looked_at)
    check_apart([folder], (run, *places_read(pool, options)))
    held = work_folder(folder, [shard.name for shard in made.looked_at])
    site, told = held.path, progress or SilentProgress()
    with held.hold_part(str(part), resume=True):
        report = made.look(site / WORK, workers=workers, progress=told, part=part)
        mark_finished(site, part, n_all)
    return PartRun.of(site, part, n_all, {made.stage.name: report})
