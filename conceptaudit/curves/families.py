"""The shapes of curve that can be fitted, by name, and how counts become an x axis.

A family is one function that fits a line once per resampled set of rows; a new one is an entry
in `FAMILIES`.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from conceptaudit.curves.binned import BinRecipe, binned_lines
from conceptaudit.curves.statistics import FloatArray, IntArray, Lines, resampled_lines
from conceptaudit.errors import ConfigError

ZERO_POLICIES = ("log1p", "exclude")
"""What a user can ask for: log10(1 + count), or leave concepts with a count of zero out."""

ZERO_TO_ONE = "one"
"""The paper's own policy: a count of zero is taken as one."""


class FamilyLines(Protocol):
    """Fits one line per resampled set of rows; see `statistics.resampled_lines`."""

    def __call__(
        self, x: FloatArray, y: FloatArray, groups: IntArray, draws: IntArray, recipe: BinRecipe
    ) -> Lines:
        """Fit y against x once per row of `draws`."""


def log_frequency(counts: FloatArray, zero_policy: str) -> FloatArray:
    """Turn counts into the x axis of a curve, in decades.

    Parameters
    ----------
    counts : numpy.ndarray of float64, shape (n,)
        Counts, at least 0; NaN stays NaN.
    zero_policy : {"log1p", "exclude", "one"}

    Returns
    -------
    numpy.ndarray of float64, shape (n,)
        log10(1 + count); log10(count) with NaN for zero; or log10(max(count, 1)).

    Examples
    --------
    >>> log_frequency(np.array([0.0, 9.0]), "log1p").tolist()
    [0.0, 1.0]
    """
    if zero_policy == "log1p":
        return np.log10(1.0 + counts)
    if zero_policy == ZERO_TO_ONE:
        return np.log10(np.maximum(counts, 1.0))
    result = np.full(counts.shape, np.nan)
    np.log10(counts, out=result, where=counts > 0)
    return result


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """A way to fit accuracy against log frequency.

    Parameters
    ----------
    name : str
        What ``--family`` takes.
    lines : callable
        Fits one line per resampled set of rows.
    zero_policy : str or None
        The policy the family insists on; None leaves the choice to the user.
    has_levels : bool
        Whether a dataset in the fit is predicted at its own level, or all on the same line.
    summary : str
        One line for help texts.
    """

    name: str
    lines: FamilyLines
    zero_policy: str | None
    has_levels: bool
    summary: str


def _least_squares(
    x: FloatArray, y: FloatArray, groups: IntArray, draws: IntArray, recipe: BinRecipe
) -> Lines:
    """Fit the rows themselves; the bins of `recipe` have no part in it."""
    del recipe
    return resampled_lines(x, y, groups, draws)


FAMILIES = {
    family.name: family
    for family in (
        Family(
            name="loglinear",
            lines=_least_squares,
            zero_policy=None,
            has_levels=True,
            summary="least squares of per-concept accuracy on log10 frequency",
        ),
        Family(
            name="paper",
            lines=binned_lines,
            zero_policy=ZERO_TO_ONE,
            has_levels=False,
            summary="the published recipe: a line through trimmed bin means, zeros taken as one",
        ),
    )
}


def family_named(name: str) -> Family:
    """Look a family up.

    Raises
    ------
    ConfigError
        There is none of that name.
    """
    try:
        return FAMILIES[name]
    except KeyError:
        raise ConfigError(
            f"The 'family' parameter of fit_curve must be one of {sorted(FAMILIES)}. "
            f"Got {name!r} instead."
        ) from None
