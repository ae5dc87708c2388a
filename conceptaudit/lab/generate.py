"""Generate a dataset: all shards, on one or many processes, and the truth about them."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from conceptaudit.artifacts import STARTED, RunFolder, digest_of
from conceptaudit.engine import open_engine
from conceptaudit.errors import ConfigError
from conceptaudit.lab.concepts import DATA
from conceptaudit.lab.config import LabConfig
from conceptaudit.lab.shards import FORMATS, whole_file, write_shard
from conceptaudit.lab.truth import SETTINGS, TRUTH, LabTruth, truth_schema
from conceptaudit.store.places import output_path
from conceptaudit.store.removing import remove

if TYPE_CHECKING:
    import pyarrow as pa

Progress = Callable[[int, int], None]


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
        A folder that is new or empty, or that a killed process has begun to write this to.
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
        A parameter is impossible.
    ArtifactMismatchError
        The folder holds something else.

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
    if processes < 1:
        raise ConfigError(
            f"The 'processes' parameter of generate must be at least 1. Got {processes} instead."
        )
    with new_folder(out, config, {"format": format, "n_shards": config.n_shards}) as folder:
        if folder is not None:
            write = partial(write_shard, config, folder, format)
            _write_truth(config, folder, _tables(write, config.n_shards, processes), progress)
    return LabTruth(folder=output_path(out), config=config, format=format)


@contextmanager
def new_folder(out: Path | str, config: LabConfig, extra: dict[str, Any]) -> Iterator[Path | None]:
    """Yield the folder to write into, or None where it holds the same data already.

    While it is written it is a run folder, whose ``run.json`` says of what: a killed process can
    be run again. ``lab.json`` comes last, and then it is data like anybody's.
    """
    sprites = json.loads((DATA / "sprites.json").read_text(encoding="utf-8"))
    settings = {
        "config": asdict(config),
        **extra,
        "sprites": {name: sprites[name] for name in ("font", "font_version", "sheet_sha256")},
    }
    text = (json.dumps(settings, indent=2, ensure_ascii=False) + "\n").encode()
    run = RunFolder.at(out, kind="lab", digest=digest_of(text.decode()), options=())
    path = run.path / SETTINGS
    if not (run.path / STARTED).exists() and path.is_file() and path.read_bytes() == text:
        yield None
        return
    with run.hold():
        yield run.path
        with whole_file(path) as file:
            file.write(text)
        remove(run.path, [STARTED])


def _tables(
    write: Callable[[int], "pa.Table"], n_shards: int, processes: int
) -> Iterator["pa.Table"]:
    """Write all shards; yield their truths in order, whichever is done first."""
    done: dict[int, pa.Table] = {}
    shards = iter(range(n_shards))
    following = next(shards)
    for shard, table in open_engine(processes, n_items=n_shards).run(write, range(n_shards)):
        done[shard] = table
        while following in done:
            yield done.pop(following)
            following = next(shards, -1)


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
