"""Concepts that never occur, apart from the curve of those that do.

Under the ``hurdle`` policy the curve is fitted to concepts with a count above zero, and concepts
with a count of zero are expected a constant distance from where that curve begins. A count of zero
is often a name that the counter missed, and then has no place on the line.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from conceptaudit.curves.fitted import FittedFamily
from conceptaudit.curves.rows import Rows
from conceptaudit.curves.statistics import FloatArray, IntArray


@dataclass(frozen=True, slots=True, kw_only=True)
class FittedHurdle:
    """A curve for counts above zero, and its distance to concepts with a count of zero.

    Parameters
    ----------
    above : FittedFamily
        The curve of concepts with a count above zero.
    zero_shift : float
        Mean accuracy of the concepts without, minus the curve at x = 0 in their datasets.
    n_zero : int
        Rows behind `zero_shift`.
    """

    above: FittedFamily
    zero_shift: float
    n_zero: int

    def predict(self, x: FloatArray, dataset: IntArray) -> FloatArray:
        """Return the expected accuracy of each row, see `FittedFamily.predict`."""
        shifted = self.above.predict(x, dataset) + np.where(x == 0, self.zero_shift, 0.0)
        return np.clip(shifted, 0.0, 1.0)

    @property
    def parameters(self) -> dict[str, Any]:
        """See `FittedFamily.parameters`."""
        return {
            "above": self.above.parameters,
            "zero_shift": self.zero_shift,
            "n_zero": self.n_zero,
        }


def above_zero(rows: Rows) -> Rows:
    """Return the rows that the curve itself is fitted to: under ``hurdle`` those above zero."""
    return rows.take(rows.x > 0) if rows.zero_policy == "hurdle" else rows


def add_hurdle(above: FittedFamily, rows: Rows) -> FittedHurdle:
    """Measure how far the concepts with a count of zero lie from where the curve begins."""
    zeros = rows.take(rows.x == 0)
    shift = float((zeros.y - above.predict(zeros.x, zeros.dataset)).mean()) if len(zeros) else 0.0
    return FittedHurdle(above=above, zero_shift=shift, n_zero=len(zeros))
