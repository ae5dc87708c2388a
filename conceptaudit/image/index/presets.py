"""FAISS presets: what each is, when it is taken, and what it needs."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from conceptaudit.display import quantity
from conceptaudit.errors import ConfigError, DataError

FLOAT_BYTES = 4
POINTS_PER_LIST = 40
"""Training vectors per list: FAISS warns below 39, and more cost time and gain little."""

MAX_LISTS = 65_536

GPU_CODE_BYTES = (1, 2, 3, 4, 8, 12, 16, 20, 24, 28, 32, 40, 48, 56, 64, 96)
"""Sub-quantisers of 8 bits that FAISS has GPU kernels for (``IVFPQ::isSupportedPQCodeLength``);
above 48 with float16 tables only, which `conceptaudit.image.faiss_ops` asks for."""

GPU_DIMENSIONS = (1, 2, 3, 4, 6, 8, 10, 12, 16, 20, 24, 28, 32)
"""Dimensions per sub-quantiser that they take (``isSupportedNoPrecomputedSubDimSize``)."""

FIXED_BYTES = 400 << 20  # Python, FAISS and the blocks in flight

_TYPES: dict[str, type | tuple[type, ...]] = {
    "summary": str, "factory": str, "when": str, "reason": str, "device": str, "order": int,
    "min_vectors": int, "max_vectors": int, "bytes_per_dimension": (int, float),
    "bytes_per_vector": int, "growth": (int, float), "recall": (int, float), "setting": str,
    "values": list, "threads": int, "divisor": int,
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """One way to build an index; see ``indexes/README.md`` for the fields of its file."""

    name: str
    summary: str
    when: str
    reason: str
    # FAISS factory string, with ``{nlist}`` for the number of lists and ``{m}`` for the number of
    # sub-quantisers
    factory: str
    device: str  # "gpu" where its codes are cut as a GPU needs them, else "any"
    order: int  # automatic choice takes the lowest that fits
    # numbers of vectors for which automatic choice takes it; 0 for no limit
    min_vectors: int
    max_vectors: int
    # stored per vector, together with `bytes_per_vector` for ids and links
    bytes_per_dimension: float
    bytes_per_vector: int
    # peak memory while vectors are added, as a multiple of what is stored, at least 1
    growth: float
    recall: float  # promised recall@10 on held-out vectors, in (0, 1]
    setting: str  # the search setting that trades time for recall; empty where there is none
    # values of the setting that are tried, rising, until the promise is kept
    values: tuple[int, ...]
    threads: int  # threads that add vectors; 0 for all
    divisor: int  # dimensions per sub-quantiser

    def lists(self, n: int) -> int:
        """Return the number of lists for n vectors: 4·√n as a power of two, with enough to train.

        FAISS's own guideline ("Guidelines to choose an index") is 4·√n to 16·√n.
        """
        lists = 1
        while lists * 2 <= min(4.0 * n**0.5 * 2**0.5, n / POINTS_PER_LIST, MAX_LISTS):
            lists *= 2
        return lists

    def training_size(self, n: int) -> int:
        """Return how many vectors train it."""
        if "{" not in self.factory:
            return 0
        return max(POINTS_PER_LIST * self.lists(n), 256 * POINTS_PER_LIST)

    def factory_string(self, n: int, dimension: int) -> str:
        """Return the FAISS factory string for n vectors of this dimension."""
        m = self._subquantisers(dimension) if "{m}" in self.factory else 1
        return self.factory.replace("{nlist}", str(self.lists(n))).replace("{m}", str(m))

    def _subquantisers(self, dimension: int) -> int:
        """Return the largest number of sub-quantisers with at least `divisor` dimensions each."""
        most = max(dimension // max(self.divisor, 1), 1)
        fitting = [m for m in range(1, most + 1) if dimension % m == 0]
        if self.device == "gpu":
            fitting = [
                m for m in fitting if m in GPU_CODE_BYTES and dimension // m in GPU_DIMENSIONS
            ]
        if not fitting:
            raise ConfigError(
                f"The preset {self.name!r} cannot cut vectors of dimension {dimension} as a GPU "
                f"needs it (into one of {GPU_CODE_BYTES} parts of one of {GPU_DIMENSIONS} "
                "dimensions). Use ivf-pq."
            )
        return fitting[-1]

    def stored_bytes(self, n: int, dimension: int) -> int:
        """Size of the built index, in bytes."""
        each = self.bytes_per_dimension * dimension + self.bytes_per_vector
        lists = self.lists(n) * dimension * FLOAT_BYTES if "{nlist}" in self.factory else 0
        return int(n * each) + lists

    def peak_bytes(self, n: int, dimension: int) -> int:
        """Bound on the memory that building takes, in bytes."""
        # the sample is held once here and once, permuted, by FAISS
        training = 2 * min(self.training_size(n), n) * dimension * FLOAT_BYTES
        return FIXED_BYTES + max(training, int(self.growth * self.stored_bytes(n, dimension)))

    def suits(self, n: int) -> bool:
        """Say whether automatic choice may take it for n vectors."""
        return self.min_vectors <= n and (not self.max_vectors or n <= self.max_vectors)


def preset_folder() -> Path:
    """Return the folder of presets: in the installed package, or beside it in a clone."""
    installed = resources.files("conceptaudit") / "indexes"
    for folder in (Path(str(installed)), Path(str(installed)).parents[1] / "indexes"):
        if any(folder.glob("*.toml")):
            return folder
    raise DataError(f"The FAISS presets are missing from {installed}. Install conceptaudit again.")


@cache
def read_presets() -> Mapping[str, Preset]:
    """Read all presets, in the order in which automatic choice tries them."""
    found = [read_preset(path) for path in preset_folder().glob("*.toml")]
    return {preset.name: preset for preset in sorted(found, key=lambda p: (p.order, p.name))}


def read_preset(path: Path) -> Preset:
    """Read one preset's file."""
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"Cannot read the preset {path}: {error}.") from error
    wrong = sorted(content.keys() ^ _TYPES.keys())
    if wrong:
        raise DataError(f"The preset {path} must have the fields {sorted(_TYPES)}. See {wrong}.")
    for name, kind in _TYPES.items():
        if not isinstance(content[name], kind) or isinstance(content[name], bool):
            raise DataError(f"{path}: {name!r} has a wrong type. Got {content[name]!r}.")
    values: list[Any] = content.pop("values")
    good = all(type(v) is int and v > 0 for v in values) and values == sorted(values)
    if not (good and bool(values) == bool(content["setting"]) and 0 < content["recall"] <= 1):
        raise DataError(
            f"{path}: 'values' must be rising positive integers where 'setting' is not empty, and "
            f"'recall' must lie in (0, 1]. Got {values} and {content['recall']} instead."
        )
    return Preset(name=path.stem, values=tuple(values), **content)


def choose_preset(name: str, *, n: int, dimension: int, memory: int, gpu: bool) -> Preset:
    """Choose how to index n vectors within a memory limit."""
    presets = read_presets()
    able = [p for p in presets.values() if gpu or p.device != "gpu"]
    fitting = [p for p in able if p.peak_bytes(n, dimension) <= memory]
    if name == "auto":
        chosen = next((p for p in fitting if p.suits(n)), None)
        if chosen is None:
            raise ConfigError(_too_large("No preset", n, dimension, memory, able, fitting))
        return chosen
    if name not in presets:
        raise ConfigError(
            f"The 'preset' parameter must be 'auto' or one of {list(presets)}. Got {name!r} "
            "instead."
        )
    if presets[name] not in able:
        raise ConfigError(
            f"The preset {name!r} is built on a GPU, and this FAISS has none to work on. Install "
            "it with pip install 'conceptaudit[gpu]' on Linux with an NVIDIA GPU, or use another "
            f"preset: {[p.name for p in able]}."
        )
    if presets[name] not in fitting:
        needs = presets[name].peak_bytes(n, dimension)
        what = f"The preset {name!r} needs {_gb(needs)} and"
        raise ConfigError(_too_large(what, n, dimension, memory, able, fitting))
    return presets[name]


def _too_large(
    what: str, n: int, dimension: int, memory: int, able: list[Preset], fitting: list[Preset]
) -> str:
    where = f"{quantity(n, 'vector')} of dimension {dimension}"
    if fitting:
        said = ", ".join(f"{p.name} ({_gb(p.peak_bytes(n, dimension))})" for p in fitting)
        return (
            f"{what} does not fit the memory limit of {_gb(memory)} for {where}. It fits: {said}."
        )
    least = min(able, key=lambda p: p.peak_bytes(n, dimension))
    return (
        f"{what} does not fit the limit of {_gb(memory)} for {where}. The smallest, "
        f"{least.name}, needs {_gb(least.peak_bytes(n, dimension))}: allow as much with --memory, "
        "or index parts of the data apart."
    )


def _gb(size: int) -> str:
    return f"{size / 1e9:,.1f} GB"
