"""Tiny files of every layout, and a reader of everything in a dataset."""

import io
import tarfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import fsspec
import numpy as np
import pytest


@dataclass
class Everything:
    ids: list = field(default_factory=list)
    keys: list = field(default_factory=list)
    captions: list = field(default_factory=list)
    images: list = field(default_factory=list)
    embeddings: list = field(default_factory=list)
    drops: list = field(default_factory=list)

    @property
    def pairs(self):
        return list(zip(self.keys, self.captions, strict=True))

    @property
    def reasons(self):
        return Counter(f"{drop.part}:{drop.reason}" for drop in self.drops)


@pytest.fixture
def read_all() -> Callable[..., Everything]:
    def read(dataset, parts=None) -> Everything:
        found = Everything()
        for shard in dataset.shards():
            for batch in dataset.read(shard, dataset.provides if parts is None else parts):
                found.ids += batch.sample_ids.tolist()
                found.keys += batch.keys
                found.captions += batch.captions or []
                found.images += batch.images or []
                found.drops += batch.drops
                if batch.embeddings is not None:
                    assert batch.embeddings.dtype == np.float32
                    found.embeddings += list(batch.embeddings)
        return found

    return read


@pytest.fixture
def write_tar() -> Callable[..., Path]:
    def write(path: Path, members: Sequence[tuple[str, bytes]]) -> Path:
        path.write_bytes(tar_bytes(members))
        return path

    return write


def tar_bytes(members: Sequence[tuple[str, bytes]]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


@pytest.fixture
def memory() -> Iterator[Callable[[Path, str], str]]:
    """Copy a local file or folder to a memory:// URL, forgotten after the test."""
    store = fsspec.filesystem("memory")

    def copy(source: Path, name: str) -> str:
        for path in [source] if source.is_file() else sorted(source.rglob("*")):
            if path.is_file():
                below = "" if source.is_file() else f"/{path.relative_to(source).as_posix()}"
                store.pipe_file(f"/{name}{below}", path.read_bytes())
        return f"memory://{name}"

    yield copy
    store.rm("/", recursive=True)
