"""One shard of a simulated dataset, written as img2dataset writes it."""

import io
import json
import tarfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from conceptaudit import artifacts
from conceptaudit.lab.config import LabConfig
from conceptaudit.lab.dice import Dice, Purpose
from conceptaudit.lab.stored import SHARD_DIGITS, StoredSample, sample_key, store
from conceptaudit.lab.truth import truth_table

if TYPE_CHECKING:
    import pyarrow as pa

FORMATS = ("webdataset", "parquet")

ROWS_PER_GROUP = 100
"""img2dataset flushes its tables every hundred rows."""

Row = dict[str, Any]


def write_shard(config: LabConfig, folder: Path, layout: str, shard: int) -> "pa.Table":
    """Write the files of one shard and return its rows of the truth, in order of index.

    Parameters
    ----------
    config : LabConfig
        The knobs.
    folder : pathlib.Path
        An existing folder.
    layout : str
        One of `FORMATS`.
    shard : int
        Which shard, from 0.
    """
    start = shard * config.shard_size
    indexes = range(start, min(start + config.shard_size, config.n_samples))
    # Downloads end in any order, and img2dataset's tables keep the order in which they ended.
    order = Dice(seed=config.seed, index=shard, purpose=Purpose.ORDER).shuffled(indexes)
    name = f"{shard:0{SHARD_DIGITS}d}"
    if layout == "webdataset":
        light = _write_tar(folder / f"{name}.tar", (store(config, index) for index in indexes))
        ended = [light[index - start] for index in order]
        _write_rows(folder / f"{name}.parquet", ([sample.metadata] for sample in ended))
    else:
        light = []
        rows = _rows_with_image((store(config, index) for index in order), light)
        _write_rows(folder / f"{name}.parquet", rows, image=True)
        light.sort(key=lambda sample: sample.truth.index)
    _write_stats(folder / f"{name}_stats.json", light)
    truths = [sample.truth for sample in light]
    sources = [sample_key(config, truth.fate.source) for truth in truths]
    return truth_table(truths, [sample.key for sample in light], sources)


def _without_files(sample: StoredSample) -> StoredSample:
    """Keep what the tables need: a shard's pictures would not fit into memory."""
    return StoredSample(
        key=sample.key,
        image=None,
        caption=None,
        metadata=sample.metadata,
        truth=sample.truth,
    )


def _write_tar(path: Path, samples: Iterable[StoredSample]) -> list[StoredSample]:
    light = []
    with whole_file(path) as file, tarfile.open(fileobj=file, mode="w") as tar:
        for sample in samples:
            light.append(_without_files(sample))
            if sample.truth.fate.link_rot:
                continue
            members = {
                "jpg": sample.image,
                "txt": sample.caption,
                "json": json.dumps(sample.metadata, indent=4).encode(),
            }
            for ending, content in [*members.items()] * sample.times:
                if content is not None:
                    # TarInfo's defaults are time 0 and no owner: the same bytes every time.
                    member = tarfile.TarInfo(f"{sample.key}.{ending}")
                    member.size = len(content)
                    tar.addfile(member, io.BytesIO(content))
    return light


def _rows_with_image(
    samples: Iterable[StoredSample], light: list[StoredSample]
) -> Iterator[list[Row]]:
    for sample in samples:
        light.append(_without_files(sample))
        row = sample.metadata | {"jpg": sample.image}
        if not sample.truth.fate.link_rot:
            row["caption"] = sample.caption
        yield [row] * sample.times


@cache
def _row_schema(*, image: bool) -> "pa.Schema":
    import pyarrow as pa

    columns: dict[str, pa.DataType] = dict.fromkeys(
        ("url", "caption", "key", "status", "error_message"), pa.string()
    )
    columns |= dict.fromkeys(("width", "height", "original_width", "original_height"), pa.int32())
    columns |= dict.fromkeys(("exif", "sha256"), pa.string())
    return pa.schema(columns | {"jpg": pa.binary()} if image else columns)


def _write_rows(path: Path, samples: Iterable[list[Row]], *, image: bool = False) -> None:
    import pyarrow.parquet as pq

    schema = _row_schema(image=image)
    with whole_file(path) as file, pq.ParquetWriter(file, schema) as writer:
        group: list[Row] = []
        for rows in samples:
            group += rows
            if len(group) >= ROWS_PER_GROUP:
                writer.write_table(_row_table(group, schema))
                group = []
        if group:
            writer.write_table(_row_table(group, schema))


def _row_table(rows: Sequence[Row], schema: "pa.Schema") -> "pa.Table":
    import pyarrow as pa

    columns = []
    for field in schema:
        values = [row[field.name] for row in rows]
        if field.name == "caption":
            # Bytes taken for text without a check: so bad UTF-8 gets into real tables, too.
            coded = [value.encode() if isinstance(value, str) else value for value in values]
            columns.append(pa.array(coded, pa.binary()).view(pa.string()))
        else:
            columns.append(pa.array(values, field.type))
    return pa.Table.from_arrays(columns, schema=schema)


def _write_stats(path: Path, samples: Sequence[StoredSample]) -> None:
    outcomes = Counter(sample.outcome for sample in samples)
    stats = {
        "count": len(samples),
        "successes": outcomes["success"],
        "failed_to_download": len(samples) - outcomes["success"],
        "failed_to_resize": 0,
        # True times would make the bytes of two runs differ.
        "duration": 0.0,
        "start_time": 0.0,
        "end_time": 0.0,
        "status_dict": dict(sorted(outcomes.items())),
    }
    with whole_file(path) as file:
        file.write(json.dumps(stats, indent=4).encode())


@contextmanager
def whole_file(path: Path) -> Iterator[IO[bytes]]:
    """Open a file that appears under its name only once it is complete.

    Raises
    ------
    DataError
        The folder cannot be written to, or the disk is full.
    """
    with artifacts.whole_file(path) as partial, partial.open("wb") as file:
        yield file
