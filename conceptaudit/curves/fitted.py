"""What a family leaves behind once it is fitted: something that predicts, and its numbers.

`FittedFamily` is the seam between fitting and predicting. Everything a fitted family knows is in
its ``parameters``, plain JSON values from which `families.Family.restore` builds it again.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import numpy as np
from scipy.special import expit

from conceptaudit.curves.statistics import FloatArray, IntArray

NEW_DATASET = -1
"""Stands for a dataset that the fit has not seen: the population curve."""


class FittedFamily(Protocol):
    """Expected accuracy at a frequency, in a dataset of the fit or in a new one."""

    def predict(self, x: FloatArray, dataset: IntArray) -> FloatArray:
        """Return the expected accuracy of each row.

        Parameters
        ----------
        x : numpy.ndarray of float64, shape (n,)
            Frequency in decades, on the scale of the rows that were fitted; NaN gives NaN.
        dataset : numpy.ndarray of int, shape (n,)
            Positions in `Rows.datasets`; `NEW_DATASET` for a dataset not among them.

        Returns
        -------
        numpy.ndarray of float64, shape (n,)
            In [0, 1].
        """

    @property
    def parameters(self) -> dict[str, Any]:
        """Everything the fit has learned, as JSON values."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FittedLine:
    """A straight line, on the scale of accuracy or of its logit, for all or for each dataset.

    Parameters
    ----------
    intercept, slope : float
        The population line.
    intercepts, slopes : tuple of float
        The line of each dataset of the fit; empty where all share one line.
    new : tuple of two floats, optional
        Intercept and slope of what is expected in a dataset that the fit has not seen, where that
        is not the population line: there, how frequent its concepts are also tells what kind of
        dataset it is.
    link : {"identity", "logit"}
    details : mapping of str to float
        What else was estimated: variances, dispersion.
    """

    intercept: float
    slope: float
    intercepts: tuple[float, ...] = ()
    slopes: tuple[float, ...] = ()
    new: tuple[float, float] | None = None
    link: str = "identity"
    details: Mapping[str, float]

    def predict(self, x: FloatArray, dataset: IntArray) -> FloatArray:
        """Return the expected accuracy of each row, see `FittedFamily.predict`."""
        # The line of a new dataset stands last, where position -1 finds it.
        last = self.new if self.new is not None else (self.intercept, self.slope)
        known = np.where(dataset < len(self.intercepts), dataset, NEW_DATASET)
        intercept = np.array([*self.intercepts, last[0]])[known]
        slope = np.array([*self.slopes, last[1]])[known]
        value = intercept + slope * x
        return expit(value) if self.link == "logit" else np.clip(value, 0.0, 1.0)

    @property
    def parameters(self) -> dict[str, Any]:
        """See `FittedFamily.parameters`."""
        return {
            **asdict(self),
            "intercepts": list(self.intercepts),
            "slopes": list(self.slopes),
            "new": None if self.new is None else list(self.new),
            "details": dict(self.details),
        }

    @staticmethod
    def restore(parameters: Mapping[str, Any]) -> "FittedLine":
        """Build a line from its `parameters`."""
        new = parameters.get("new")
        return FittedLine(
            intercept=float(parameters["intercept"]),
            slope=float(parameters["slope"]),
            intercepts=tuple(float(value) for value in parameters["intercepts"]),
            slopes=tuple(float(value) for value in parameters["slopes"]),
            new=None if new is None else (float(new[0]), float(new[1])),
            link=str(parameters["link"]),
            details={str(k): float(v) for k, v in parameters["details"].items()},
        )


def population(fitted: FittedFamily, x: FloatArray) -> FloatArray:
    """Return what a fit expects in a dataset it has not seen at each x, shape (n,)."""
    return fitted.predict(x, np.full(len(x), NEW_DATASET, dtype=np.intp))
