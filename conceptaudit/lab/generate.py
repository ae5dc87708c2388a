"""Generate a dataset: all shards, on one or many processes, and the truth about them."""

import json
import multiprocessing
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from conceptaudit.errors import ConfigError
from conceptaudit.lab.concepts import DATA
from conceptaudit.lab.config import LabConfig
from conceptaudit.lab.shards import FORMATS, whole_file, write_shard
from conceptaudit.lab.truth import SETTINGS, TRUTH, LabTruth, truth_schema

if TYPE_CHECKING:
    import pyarrow as pa

Progress = Callable[[int, int], None]

SHARDS_AHEAD = 2
"""Shards in flight per process: enough to keep it busy, few enough to hold in memory."""


def generate(
    config: LabConfig,
    out: Path | str,
    *,
    format: str = "webdataset",  # noqa: A002 -- what img2dataset calls it
    processes: int = 1,
    progress: Progress | None = None,
) -> LabTruth:
    """Write a simulated dataset with known truth.

    Parameters
    ----------
    config : LabConfig
        What the dataset is like.
    out : path
        A folder that is new or empty.
    format : str
        img2dataset's ``"webdataset"`` (tar files) or ``"parquet"`` (images in tables).
    processes : int
        Worker processes, at least 1. The bytes do not depend on it.
    progress : callable or None
        Called with the samples done and the samples in all, after every shard.

    Returns
    -------
    LabTruth
        Where everything lies. The folder holds, per shard, ``00000.tar`` (webdataset),
        ``00000.parquet`` and ``00000_stats.json``; ``truth.parquet`` with one row per sample;
        and ``lab.json`` with every knob.

    Raises
    ------
    ConfigError
        The folder is not empty, or a parameter is impossible.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     truth = generate(LabConfig(n_samples=3), folder)
    ...     [path.name for path in truth.shards], len(truth.read())
    (['00000.tar'], 3)
    """
    if format not in FORMATS:
        raise ConfigError(
            f"The 'format' parameter of generate must be one of {list(FORMATS)}. "
            f"Got {format!r} instead."
        )
    folder = empty_folder(out, "generate")
    tables = _tables(partial(write_shard, config, folder, format), config.n_shards, processes)
    _write_truth(config, folder, tables, progress)
    write_settings(config, folder, {"format": format, "n_shards": config.n_shards})
    return LabTruth(folder=folder, config=config, format=format)


def empty_folder(out: Path | str, caller: str) -> Path:
    """Make the folder to write into, and refuse one that holds something."""
    folder = Path(out)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError(
            f"The 'out' parameter of {caller} must be a new or empty folder. "
            f"Got {str(folder)!r}, which holds something, instead."
        )
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def write_settings(config: LabConfig, folder: Path, extra: dict[str, Any]) -> None:
    """Write ``lab.json``: the knobs, and the pictures that the scenes were made of."""
    sprites = json.loads((DATA / "sprites.json").read_text(encoding="utf-8"))
    settings = {
        "config": asdict(config),
        **extra,
        "sprites": {name: sprites[name] for name in ("font", "font_version", "sheet_sha256")},
    }
    with whole_file(folder / SETTINGS) as file:
        file.write((json.dumps(settings, indent=2, ensure_ascii=False) + "\n").encode())


def _tables(
    write: Callable[[int], "pa.Table"], n_shards: int, processes: int
) -> Iterator["pa.Table"]:
    """Write all shards; yield their truths in order, a bounded number of them ahead."""
    if processes < 1:
        raise ConfigError(
            f"The 'processes' parameter of generate must be at least 1. Got {processes} instead."
        )
    if processes == 1 or n_shards == 1:
        yield from map(write, range(n_shards))
        return
    # A fresh interpreter per worker: forking a process that runs threads can lock it up.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(processes, n_shards), mp_context=context) as pool:
        waiting: deque[Future[pa.Table]] = deque()
        for shard in range(n_shards):
            waiting.append(pool.submit(write, shard))
            if len(waiting) > SHARDS_AHEAD * processes:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _write_truth(
    config: LabConfig, folder: Path, tables: Iterator["pa.Table"], progress: Progress | None
) -> None:
    import pyarrow.parquet as pq

    done = 0
    with (
        whole_file(folder / TRUTH) as file,
        pq.ParquetWriter(file, truth_schema()) as writer,
    ):
        for table in tables:
            writer.write_table(table)
            done += table.num_rows
            if progress is not None:
                progress(done, config.n_samples)
