"""Valid files to be damaged, and what a reader under test is; for `fuzz_targets.py`."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

Files = dict[str, bytes]
CONCEPTS = ("dog", "hot dog", "=1+1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reader:
    """One reader under test.

    Parameters
    ----------
    seeds : callable
        Makes sets of valid files, by name; all are read together.
    read : callable
        Reads the files in a folder.
    spared : tuple of str
        Files that are left as they are.
    manifest : str
        The file that holds the digests of the others, where there is one. It is mostly made right
        again after a file was damaged, as a careful forger would.
    trusted : tuple of str
        Files for which it is not: the promise is that a wrong digest keeps them from being read.
    """

    seeds: Callable[[], list[Files]]
    read: Callable[[Path], object]
    spared: tuple[str, ...] = ()
    manifest: str = ""
    trusted: tuple[str, ...] = ()


class BrokenPromiseError(Exception):
    """A reader gave something that it promises never to give."""


def read_dataset(folder: Path, name: str = "", **options: Any) -> int:
    """Read every part of every sample, and check the promises of `Dataset.read`."""
    from conceptaudit.datasets import open_dataset

    dataset = open_dataset(folder / name if name else folder, shard_rows=3, **options)
    seen: set[int] = set()
    for shard in dataset.shards():
        for batch in dataset.read(shard, dataset.provides):
            ids = batch.sample_ids.tolist()
            dropped = [drop.sample_id for drop in batch.drops if drop.part == "sample"]
            if len(set(ids)) < len(ids) or seen.intersection(ids):
                raise BrokenPromiseError(f"samples come twice in {shard.name}")
            seen.update(ids)
            if set(dropped) & seen:
                raise BrokenPromiseError(f"samples are used and dropped in {shard.name}")
            for part in (batch.keys, batch.captions, batch.images, batch.embeddings):
                if part is not None and len(part) != len(ids):
                    raise BrokenPromiseError(f"parts of other lengths in {shard.name}")
            for text in (*batch.keys, *(caption for caption in batch.captions or () if caption)):
                text.encode()
    return len(seen)


def only(folder: Path) -> Path:
    """Name the one file of a folder."""
    return next(path for path in sorted(folder.iterdir()) if path.is_file())


def parquet_of(table: pd.DataFrame, **options: Any) -> bytes:
    """Write a table as parquet."""
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pandas(table, preserve_index=False), buffer, **options)
    return buffer.getvalue()


def some_captions() -> pd.DataFrame:
    """Make a metadata table with what captions hold."""
    texts = ["a dog", "two hot dogs", None, "caf\u00e9", '"quoted", text', "", "x" * 50, "a watch"]
    return pd.DataFrame(
        {
            "url": [f"http://a/{i}.jpg" for i in range(8)],
            "caption": texts,
            "key": [f"{i:05d}" for i in range(8)],
            "width": range(8),
        }
    )


def some_download() -> pd.DataFrame:
    """Make a table as img2dataset writes beside a shard."""
    status = ["success"] * 6 + ["failed_to_download"] * 2
    return some_captions().assign(status=status, error_message=[None] * 6 + ["404", "DNS"])


def tar_of(members: list[tuple[str, bytes]]) -> bytes:
    """Write members as a tar archive."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()[: 512 * (2 * len(members) + 3)]


def some_members() -> list[tuple[str, bytes]]:
    """Make the members of four samples."""
    return [
        part
        for i in range(4)
        for part in (
            (f"{i:05d}.jpg", b"\xff\xd8not a picture"),
            (f"{i:05d}.txt", f"a dog {i}".encode()),
            (f"{i:05d}.json", json.dumps({"caption": f"a dog {i}", "key": f"{i:05d}"}).encode()),
        )
    ]


def npy_of(array: Any) -> bytes:
    """Write an array as ``.npy``."""
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()


def some_vectors(rows: int = 8) -> Any:
    """Make vectors of shape (rows, 4)."""
    return np.random.default_rng(0).standard_normal((rows, 4)).astype(np.float32)


def json_lines_of(table: pd.DataFrame) -> bytes:
    """Write a table as JSON Lines."""
    rows = table.astype(object).where(table.notna(), None).to_dict("records")
    return "".join(json.dumps(row, default=int) + "\n" for row in rows).encode()


def zstd_of(data: bytes) -> bytes:
    """Compress with Zstandard."""
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(data)
    return bytes(sink.getvalue())
