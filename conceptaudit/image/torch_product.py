"""A matrix product in half the bits, with a margin that provably loses nothing.

Images x and concepts c are rounded to x̂ = x + dx and ĉ = c + dc (bfloat16 on CPUs, float16 on
GPUs). Then |x·c − x̂·ĉ| = |dx·ĉ + x·dc| ≤ ‖dx‖‖ĉ‖ + ‖x‖‖dc‖ by Cauchy and Schwarz. Both norms of
rounding errors are measured, not bounded by the unit roundoff, which makes the margin half as
wide (about 0.0035 with bfloat16 at 512 dimensions) and holds for subnormal numbers as well.
Products of two rounded numbers are exact in float32 and are added there: that error, with
additions that truncate, and the one of the canonical product stay below twice
`rounding_margins`. Results are rounded to half the bits again, but rounding keeps order: what is
not below a floor that can be represented is not below it after rounding, so the floor is
rounded down and no further margin is needed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from conceptaudit.image.backends import Candidates, rounding_margins, split_pairs
from conceptaudit.image.vectors import in_parts
from conceptaudit.records import Float32Array, Int64Array

CPU_BLOCK = 1024
GPU_BLOCK = 16_384

MOST_AT_ONCE = 2**31 - 1
"""Flags that `torch.nonzero` takes on a GPU: 16,384 images and 200,000 concepts are more."""

SAFETY = 1.001  # covers lengths that are not exactly 1 and the rounding of the norms themselves

BFLOAT16_FLAGS = frozenset({"avx512_bf16", "amx_bf16"})
"""In /proc/cpuinfo: processors that multiply bfloat16 faster than float32."""


def multiplies_bfloat16() -> bool:
    """Say whether this processor has instructions for bfloat16 products."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:  # not Linux
        return False
    flags = next((line for line in text.splitlines() if line.startswith("flags")), "")
    return not BFLOAT16_FLAGS.isdisjoint(flags.split())


class TorchSearch:
    """`torch.mm` of rounded images and concepts, compared with the thresholds."""

    def __init__(
        self, concepts: Float32Array, thresholds: Float32Array, *, device: str = "cpu"
    ) -> None:
        import torch

        self._device = device
        self._dtype = torch.bfloat16 if device == "cpu" else torch.float16
        exact = torch.from_numpy(concepts)
        rounded = exact.to(self._dtype)
        self._columns = rounded.t().contiguous().to(device)
        self._lengths = _lengths(rounded.float())
        fixed = _lengths(rounded.float() - exact) + 2.0 * rounding_margins(concepts)
        self._reach = thresholds.astype(np.float64) - SAFETY * fixed
        self._scores: Any = None

    def candidates(self, images: Float32Array) -> Candidates:
        """Find candidate pairs among unit vectors of shape (n, dimension)."""
        if self._device == "cpu":
            found = []
            for first in range(0, len(images), CPU_BLOCK):
                found += self._on_cpu(images[first : first + CPU_BLOCK], first)
            return split_pairs(found, len(self._reach))
        return split_pairs([self._on_gpu(images)], len(self._reach))

    def _on_cpu(self, images: Float32Array, first: int) -> list[Int64Array]:
        import torch

        rounded, floors = self._rounded(images)
        if self._scores is None:
            self._scores = torch.empty((CPU_BLOCK, len(self._reach)), dtype=self._dtype)
        scores = self._scores[: len(images)]
        torch.mm(rounded, self._columns, out=scores)
        above = _as_integers if bool((floors > 0).all()) else _as_numbers

        def passed(start: int, stop: int) -> Int64Array:
            flat = np.flatnonzero(above(scores[start:stop], floors))
            return flat + (first + start) * len(self._reach)

        return in_parts(len(images), passed)

    def _on_gpu(self, images: Float32Array) -> Int64Array:
        import torch

        rounded, floors = self._rounded(images)
        matmul = torch.backends.cuda.matmul
        before = matmul.allow_fp16_reduced_precision_reduction
        # partial sums in float16 would break the margin
        matmul.allow_fp16_reduced_precision_reduction = False
        try:
            scores = torch.mm(rounded.to(self._device), self._columns)
        finally:
            matmul.allow_fp16_reduced_precision_reduction = before
        passed = torch.ge(scores, floors.to(self._device))
        return _positions(passed)

    def _rounded(self, images: Float32Array) -> tuple[Any, Any]:
        """Round a block of images, and the thresholds by as much as that may matter."""
        import torch

        exact = torch.from_numpy(images)
        rounded = exact.to(self._dtype)
        error = float(_lengths(rounded.float() - exact).max(initial=0.0))
        floors = self._reach - SAFETY * error * self._lengths
        return rounded, _rounded_down(floors, self._dtype)


def _positions(passed: Any, most: int = MOST_AT_ONCE) -> Int64Array:
    """Find where a matrix of flags is set, in order, as positions in the flattened matrix."""
    import torch

    n_rows = max(most // max(passed.shape[1], 1), 1)
    parts = [
        torch.nonzero(passed[first : first + n_rows].reshape(-1)).view(-1) + first * passed.shape[1]
        for first in range(0, len(passed), n_rows)
    ]
    positions: Int64Array = torch.cat(parts).cpu().numpy() if parts else np.empty(0, np.int64)
    return positions


def _lengths(rows: Any) -> npt.NDArray[np.float64]:
    import torch

    lengths: npt.NDArray[np.float64] = torch.linalg.vector_norm(rows, dim=1).double().numpy()
    return lengths


def _rounded_down(floors: npt.NDArray[np.float64], dtype: Any) -> Any:
    """Return the largest numbers of a type that are not above the floors."""
    import torch

    exact = torch.from_numpy(floors)
    near = exact.to(dtype)
    below = torch.nextafter(near, torch.full_like(near, -np.inf))
    return torch.where(near.double() > exact, below, near)


def _as_integers(scores: Any, floors: Any) -> npt.NDArray[np.bool_]:
    """Compare with positive floors by the bits alone, which numpy does several times faster.

    As integers, positive numbers keep their order and negative ones are below them.
    """
    import torch

    found: npt.NDArray[np.bool_] = np.greater_equal(
        scores.view(torch.int16).numpy(), floors.view(torch.int16).numpy()
    )
    return found


def _as_numbers(scores: Any, floors: Any) -> npt.NDArray[np.bool_]:
    found: npt.NDArray[np.bool_] = (scores >= floors).numpy()
    return found
