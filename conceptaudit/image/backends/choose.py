"""Which backend searches: by name, or the fastest that this machine has."""

from __future__ import annotations

from conceptaudit.errors import ConfigError
from conceptaudit.image.backends.base import Proposer
from conceptaudit.image.backends.blas import BlasProposer
from conceptaudit.image.backends.faiss_range import FaissProposer
from conceptaudit.image.backends.resilient import ResilientProposer
from conceptaudit.image.backends.topk import TopKProposer, gpu_searcher
from conceptaudit.image.backends.torch_product import (
    GPU_BLOCK,
    TorchProposer,
    multiplies_bfloat16,
)
from conceptaudit.records import Float32Array

BACKENDS = ("auto", "blas", "faiss", "faiss-gpu", "torch")

CPU_BLOCK = 8_192
"""Images per call on CPUs, where the backends cut blocks of their own."""


def cuda_device(device: str) -> str | None:
    """Return the CUDA device to use, or None for the CPU.

    Parameters
    ----------
    device : str
        ``"auto"`` for the first GPU where there is one, ``"cpu"`` or ``"cuda:0"``.

    Raises
    ------
    ConfigError
        There is no such device.
    """
    if device == "cpu":
        return None
    import torch

    if torch.cuda.is_available() and (device == "auto" or device.startswith("cuda")):
        return "cuda:0" if device in ("auto", "cuda") else device
    if device == "auto":
        return None
    raise ConfigError(
        f"The 'device' parameter must be 'auto', 'cpu' or 'cuda:0', with a GPU that torch sees. "
        f"Got {device!r} instead."
    )


def choose_backend(device: str = "auto") -> str:
    """Name the fastest backend for this machine: ``"torch"`` or ``"blas"``.

    torch where there is a GPU or a processor with bfloat16 products, else numpy's BLAS; see
    docs/benchmarks-image.md.
    """
    return "torch" if multiplies_bfloat16() or cuda_device(device) else "blas"


def open_backend(
    name: str, concepts: Float32Array, thresholds: Float32Array, *, device: str = "auto"
) -> Proposer:
    """Make a backend ready for these concepts.

    Parameters
    ----------
    name : str
        One of `BACKENDS`.
    concepts : numpy.ndarray of float32, shape (n_concepts, dimension)
        Unit vectors.
    thresholds : numpy.ndarray of float32, shape (n_concepts,)
        Cosine similarities.
    device : str
        ``"auto"``, ``"cpu"`` or ``"cuda:0"``, for ``"torch"`` and ``"faiss-gpu"``.

    Raises
    ------
    ConfigError
        The name is not known, or the device is not there.
    MissingDependencyError
        The backend needs FAISS, which is not installed.
    """
    if name not in BACKENDS:
        raise ConfigError(
            f"The 'backend' parameter must be one of {list(BACKENDS)}. Got {name!r} instead."
        )

    def on_cpu() -> Proposer:
        return BlasProposer(concepts, thresholds)

    chosen = choose_backend(device) if name == "auto" else name
    if chosen == "blas":
        return ResilientProposer(on_cpu(), None, block=CPU_BLOCK)
    if chosen == "faiss":
        return ResilientProposer(FaissProposer(concepts, thresholds), on_cpu, block=CPU_BLOCK)
    if chosen == "faiss-gpu":
        number = device.partition(":")[2]
        searcher = gpu_searcher(int(number) if number.isdigit() else 0)
        gpu = TopKProposer(concepts, thresholds, searcher)
        return ResilientProposer(gpu, on_cpu, block=GPU_BLOCK)
    cuda = cuda_device(device)
    product = TorchProposer(concepts, thresholds, device=cuda or "cpu")
    return ResilientProposer(product, on_cpu, block=GPU_BLOCK if cuda else CPU_BLOCK)
