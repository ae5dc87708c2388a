"""The calls to FAISS: importing it, making, training, filling and setting up an index."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from conceptaudit.errors import ConfigError, MissingDependencyError
from conceptaudit.records import Float32Array

FAISS_HINT = (
    "FAISS is not installed. Install one of: pip install 'conceptaudit[cpu]' or, on Linux with an "
    "NVIDIA GPU, pip install 'conceptaudit[gpu]'."
)

KMEANS_ROUNDS = 10
"""As FAISS's own default; more rounds gain less than more lists visited at search."""

OPQ_ROUNDS = 8
"""FAISS makes 50 by default, each as long as training the rest of the index; the error falls
steeply in the first few (Ge et al. 2013, figure 3)."""

OPQ_POINTS = 20_000


def load_faiss() -> Any:
    """Import FAISS, or say how to install it."""
    try:
        import faiss
    except ImportError as error:
        raise MissingDependencyError(FAISS_HINT) from error
    return faiss


def find_gpu(device: str) -> int | None:
    """Return the number of the GPU that FAISS is to build on, or None for the CPU."""
    faiss = load_faiss()
    n_gpus = faiss.get_num_gpus() if hasattr(faiss, "StandardGpuResources") else 0
    if device == "cpu" or (device == "auto" and not n_gpus):
        return None
    kind, _, number = device.partition(":")
    wanted = int(number) if number.isdigit() else 0
    if device == "auto" or (kind == "cuda" and wanted < n_gpus):
        return wanted
    raise ConfigError(
        f"The 'device' parameter must be 'auto', 'cpu' or 'cuda:N' with a GPU that FAISS can "
        f"work on (this one sees {n_gpus}). Got {device!r} instead. pip install "
        "'conceptaudit[gpu]' installs FAISS for NVIDIA GPUs on Linux."
    )


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Let FAISS use this many threads; 0 leaves it as it is."""
    faiss = load_faiss()
    before = faiss.omp_get_max_threads()
    try:
        if count:
            faiss.omp_set_num_threads(count)
        yield
    finally:
        faiss.omp_set_num_threads(before)


def make_index(factory: str, training: Float32Array, *, gpu: int | None) -> Any:
    """Make an empty index and train it on unit vectors, shape (n_training, dimension).

    A GPU trains and fills plain inverted lists; it takes neither graphs nor rotations.
    """
    faiss = load_faiss()
    dimension = training.shape[1]
    index = faiss.index_factory(dimension, factory, faiss.METRIC_INNER_PRODUCT)
    rotated = isinstance(index, faiss.IndexPreTransform)
    if rotated:
        rotation = faiss.downcast_VectorTransform(index.chain.at(0))
        rotation.niter, rotation.max_train_points = OPQ_ROUNDS, OPQ_POINTS
    lists = faiss.try_extract_index_ivf(index)
    if lists is not None:
        lists.cp.niter = KMEANS_ROUNDS
        lists.cp.min_points_per_centroid = 1  # FAISS would print a warning for small sets
    quantiser = getattr(lists, "pq", None)
    if quantiser is not None:
        quantiser.cp.min_points_per_centroid = 1
    if gpu is not None and lists is not None and not rotated:
        options = faiss.GpuClonerOptions()
        # tables of more than 48 sub-quantisers fit a multiprocessor's 48 KiB in half precision only
        options.useFloat16 = quantiser is not None
        index = faiss.index_cpu_to_gpu(faiss.StandardGpuResources(), gpu, index, options)
    if not index.is_trained:
        index.train(training)
    return index


def on_cpu(index: Any) -> Any:
    """Return an index that was built on a GPU as one that can be written."""
    faiss = load_faiss()
    is_gpu = hasattr(faiss, "GpuIndex") and isinstance(index, faiss.GpuIndex)
    return faiss.index_gpu_to_cpu(index) if is_gpu else index


def digest_of_index(index: Any) -> str:
    """SHA-256 of an index as FAISS would write it."""
    return hashlib.sha256(load_faiss().serialize_index(index).tobytes()).hexdigest()


def emptied(path: Path) -> Any:
    """Read an index and take its vectors out: what is left is trained."""
    index = load_faiss().read_index(str(path))
    index.reset()
    return index


def tune(index: Any, setting: str, value: int) -> None:
    """Set a search setting (``"nprobe"``, ``"efSearch"``) wherever in the index it belongs."""
    if setting:
        load_faiss().ParameterSpace().set_index_parameter(index, setting, value)


def map_index(path: Path, factory: str) -> Any:
    """Open an index file without loading its vectors: pages come in as searches touch them."""
    faiss = load_faiss()
    # inverted lists know one kind of map, flat codes and graphs the other, FAISS before 1.11 none
    flags = faiss.IO_FLAG_MMAP if "IVF" in factory else getattr(faiss, "IO_FLAG_MMAP_IFC", 0)
    return faiss.read_index(str(path), flags)
