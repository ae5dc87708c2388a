"""One build in progress: train, add every vector, tune the search, measure it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from conceptaudit.artifacts import Json, package_versions, whole_file
from conceptaudit.image.index.engine import (
    digest_of_index,
    load_faiss,
    make_index,
    on_cpu,
    threads,
    tune,
)
from conceptaudit.image.index.presets import Preset
from conceptaudit.image.index.records import Recall, RecallError, VectorBlock
from conceptaudit.image.index.sampling import Sample
from conceptaudit.image.index.source import VectorSource, reading_digest
from conceptaudit.image.index.store import INDEX, KIND, SAMPLES
from conceptaudit.image.index.truth import ExactNeighbours
from conceptaudit.progress import Progress

RECALL_K = 10
"""Presets promise recall@10."""

KEY_ROWS = 65_536
"""Rows per row group of the key table, which is read by row group."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildJob:
    """One build in progress.

    Parameters
    ----------
    source : VectorSource
        All vectors.
    sample : Sample
        Those that train and those that test.
    preset : Preset
        What is built.
    factory : str
        The preset's FAISS factory string, for the number of vectors in all parts.
    promise : float
        Recall@10 to reach, in (0, 1].
    gpu : int or None
        Number of the GPU to build on.
    seed : int
        With which the sample was drawn.
    progress : Progress
        Told of the vectors added.
    empty : faiss.Index or None
        A trained index without vectors, to fill in place of training a new one.
    """

    source: VectorSource
    sample: Sample
    preset: Preset
    factory: str
    promise: float
    gpu: int | None
    seed: int
    progress: Progress
    empty: Any = None

    def fill(self, keys: Path) -> tuple[Any, ExactNeighbours, str]:
        """Train, add every vector, and write the key table on the way.

        Returns
        -------
        faiss.Index
            Filled.
        ExactNeighbours
            Of the queries.
        str
            Digest of the index before the first vector: what parts must share to be merged.
        """
        sample = self.sample
        index = self.empty
        if index is None:
            index = make_index(self.factory, sample.training, gpu=self.gpu)
        trained = digest_of_index(on_cpu(index))
        truth = ExactNeighbours(
            sample.query_ids, sample.queries, min(RECALL_K, max(sample.n_rows - 1, 1))
        )
        self.progress.start("index", sample.n_rows, unit="vectors")
        with _key_table(keys) as write_keys, threads(self.preset.threads):
            for block in self.source.blocks():
                index.add_with_ids(block.vectors, block.sample_ids)
                truth.add(block)
                write_keys(block)
                self.progress.advance(len(block))
        self.progress.finish()
        return on_cpu(index), truth, trained

    def tune(self, index: Any, truth: ExactNeighbours) -> tuple[int, list[Json], Recall]:
        """Raise the search setting until the promise is kept.

        Raises
        ------
        RecallError
            It is not kept at any setting.
        """
        tried: list[Json] = []
        for value in self.preset.values or (0,):
            recall = measure(index, truth, self.preset.setting, value)
            tried.append({"value": value, "recall": recall.as_json()["value"]})
            if recall.value >= self.promise:
                return value, tried, recall
        best = max(tried, key=lambda one: float(one["recall"]))
        setting = f" with {self.preset.setting} {best['value']}" if self.preset.setting else ""
        raise RecallError(
            f"The index finds {best['recall']:.1%} of the {truth.k} nearest vectors{setting}, but "
            f"{self.promise:.1%} are required (preset {self.preset.name!r} promises "
            f"{self.preset.recall:.1%}). Nothing was written. Use a preset that stores vectors "
            "more precisely (--preset ivf-flat, or flat for an exact one), or accept less with "
            "--recall."
        )

    def finish(self, index: Any, truth: ExactNeighbours, folder: Path) -> dict[str, Json]:
        """Tune and write a filled index, and return what its manifest says of it.

        Raises
        ------
        RecallError
            It finds less than is required; it is not written then.
        """
        value, tried, measured = self.tune(index, truth)
        with whole_file(folder / INDEX) as partial:
            load_faiss().write_index(index, str(partial))
        source, sample, preset = self.source, self.sample, self.preset
        return {
            "kind": KIND,
            "preset": preset.name,
            "factory": self.factory,
            "metric": "inner product of unit vectors",
            "n_vectors": sample.n_rows,
            "dimension": sample.dimension,
            "ids": f"sample ids; their keys are in {SAMPLES}",
            "search": {"setting": preset.setting, "value": value, "tried": tried},
            "recall": {**measured.as_json(), "promised": self.promise},
            "n_training": len(sample.training),
            "seed": self.seed,
            "source": source.location,
            "part": list(source.part),
            "images": source.images,
            "reading": reading_digest(source.dataset, source.dataset.shards()),
            "dropped": dict(sorted(source.dropped.items())),
            "versions": package_versions("faiss-cpu", "faiss-gpu"),
            "bytes": (folder / INDEX).stat().st_size,
        }


def measure(index: Any, truth: ExactNeighbours, setting: str, value: int) -> Recall:
    """Search for the queries with a setting, and compare with the exact answer."""
    tune(index, setting, value)
    _, found = index.search(truth.queries, truth.k + 1)
    return truth.recall(found)


@contextmanager
def _key_table(path: Path) -> Iterator[Any]:
    """Yield a function that appends a block's ids and keys to the table at `path`."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    fields: list[Any] = [pa.field("sample_id", pa.int64()), pa.field("key", pa.string())]
    schema = pa.schema(fields)
    with (
        whole_file(path) as partial,
        pq.ParquetWriter(partial, schema, compression="zstd", write_page_checksum=True) as writer,
    ):

        def write(block: VectorBlock) -> None:
            columns: list[Any] = [pa.array(block.sample_ids), pa.array(block.keys, pa.string())]
            writer.write_table(
                pa.Table.from_arrays(columns, schema=schema), row_group_size=KEY_ROWS
            )

        yield write
