"""The shapes of curve that can be fitted, by name.

A family is a function from rows to a fitted curve; a new one is an entry in `FAMILIES`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from conceptaudit.curves.binned import N_EDGES, TRIM, BinRecipe, binned_lines
from conceptaudit.curves.binomial import fit_beta_binomial, fit_binomial
from conceptaudit.curves.fitted import FittedFamily, FittedLine
from conceptaudit.curves.hurdle import FittedHurdle, above_zero, add_hurdle
from conceptaudit.curves.levels import FittedLevels, add_levels
from conceptaudit.curves.pooling import fit_partial_pooling
from conceptaudit.curves.rows import Rows
from conceptaudit.curves.shapes import (
    FittedAsymptote,
    FittedKnots,
    fit_isotonic,
    fit_over_training,
    fit_saturating,
    fit_spline,
)
from conceptaudit.curves.statistics import FloatArray, IntArray, Lines, resampled_lines
from conceptaudit.curves.zeros import ZERO_POLICIES, ZERO_TO_ONE, log_frequency
from conceptaudit.errors import ConfigError, FitError

__all__ = [
    "DEFAULT_FAMILY",
    "FAMILIES",
    "ZERO_POLICIES",
    "ZERO_TO_ONE",
    "Family",
    "family_named",
    "log_frequency",
]

DEFAULT_RECIPE = BinRecipe(n_edges=N_EDGES, first=TRIM[0], last=TRIM[1])
DEFAULT_FAMILY = "partial-pooling"


class FamilyLines(Protocol):
    """Fits one line per resampled set of rows; see `statistics.resampled_lines`."""

    def __call__(
        self, x: FloatArray, y: FloatArray, groups: IntArray, draws: IntArray, recipe: BinRecipe
    ) -> Lines:
        """Fit y against x once per row of `draws`."""


Estimate = Callable[[Rows, int, BinRecipe], FittedFamily]
"""(rows, seed, recipe of the paper's bins) to a fitted curve."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """A way to fit accuracy against log frequency.

    Parameters
    ----------
    name : str
        What ``--family`` takes.
    estimate : callable
        Fits the rows; `fit` is how to call it.
    rebuild : callable
        Builds the fitted curve again from its ``parameters``; `restore` is how to call it.
    zero_policy : str or None
        The policy the family insists on; None leaves the choice to the user.
    has_levels : bool
        Whether a dataset in the fit is predicted at its own level, see `levels`, or all on the
        same line.
    summary : str
        One line for help texts.
    straight : bool
        Whether the population curve is a straight line in x, fitted by (weighted) least squares.
    pools : bool
        Whether each dataset has a line of its own, drawn towards the others.
    """

    name: str
    estimate: Estimate
    rebuild: Callable[[Mapping[str, Any]], FittedFamily]
    zero_policy: str | None
    has_levels: bool
    summary: str
    straight: bool = False
    pools: bool = False

    def fit(self, rows: Rows, *, seed: int = 0, recipe: BinRecipe = DEFAULT_RECIPE) -> FittedFamily:
        """Fit the rows.

        Parameters
        ----------
        rows : Rows
            All rows of a model or any subset of them, such as a fold.
        seed : int
            For families that draw random numbers.
        recipe : BinRecipe
            Edges and trim of the paper's bins, for the family ``paper``.

        Returns
        -------
        FittedFamily

        Raises
        ------
        FitError
            The family has no curve through these rows.
        """
        fitted = self.estimate(above_zero(rows), seed, recipe)
        if rows.zero_policy == "hurdle":
            fitted = add_hurdle(fitted, rows)
        return add_levels(fitted, rows) if self.has_levels and not self.pools else fitted

    def restore(self, parameters: Mapping[str, Any]) -> FittedFamily:
        """Build a fitted curve again from its ``parameters``."""
        if "levels" in parameters:
            return FittedLevels(
                shape=self.restore(parameters["shape"]),
                levels=tuple(float(value) for value in parameters["levels"]),
            )
        if "zero_shift" not in parameters:
            return self.rebuild(parameters)
        return FittedHurdle(
            above=self.rebuild(parameters["above"]),
            zero_shift=float(parameters["zero_shift"]),
            n_zero=int(parameters["n_zero"]),
        )


_NO_BINS = (
    "The 'paper' family needs three of its bins, and fewer than 3 of its bins hold concepts. Use "
    "family='loglinear', which needs no bins."
)


def _least_squares(
    x: FloatArray, y: FloatArray, groups: IntArray, draws: IntArray, recipe: BinRecipe
) -> Lines:
    """Fit the rows themselves; the bins of `recipe` have no part in it."""
    del recipe
    return resampled_lines(x, y, groups, draws)


def _line(rows: Rows, seed: int, recipe: BinRecipe) -> FittedLine:
    del seed
    return _one_line(_least_squares, rows, recipe, "All of them have the same frequency.")


def _paper(rows: Rows, seed: int, recipe: BinRecipe) -> FittedLine:
    del seed
    return _one_line(binned_lines, rows, recipe, _NO_BINS)


def _one_line(lines: FamilyLines, rows: Rows, recipe: BinRecipe, reason: str) -> FittedLine:
    once = np.ones((1, 1), dtype=np.intp)
    found = lines(rows.x, rows.y, np.zeros(len(rows), dtype=np.intp), once, recipe)
    slope, intercept = float(found.slope[0]), float(found.intercept[0])
    if not np.isfinite(slope):
        raise FitError(f"There is no line through these {len(rows)} concepts. {reason}")
    residuals = rows.y - intercept - slope * rows.x
    return FittedLine(
        intercept=intercept,
        slope=slope,
        details={"residual_variance": float(residuals @ residuals / max(len(rows) - 2, 1))},
    )


def _simple(fit: Callable[[Rows], FittedFamily]) -> Estimate:
    """Adapt a fit that needs neither a seed nor bins."""

    def estimate(rows: Rows, seed: int, recipe: BinRecipe) -> FittedFamily:
        del seed, recipe
        return fit(rows)

    return estimate


def _shape(
    name: str,
    fit: Callable[[Rows], FittedFamily],
    rebuild: Callable[[Mapping[str, Any]], FittedFamily],
    summary: str,
) -> Family:
    """Describe a family that is no straight line."""
    return Family(
        name=name,
        estimate=_simple(fit),
        rebuild=rebuild,
        zero_policy=None,
        has_levels=True,
        summary=summary,
    )


FAMILIES = {
    family.name: family
    for family in (
        Family(
            name="partial-pooling",
            estimate=_simple(fit_partial_pooling),
            rebuild=FittedLine.restore,
            zero_policy=None,
            has_levels=True,
            summary="a line per dataset, drawn towards the line of all datasets",
            straight=True,
            pools=True,
        ),
        Family(
            name="loglinear",
            estimate=_line,
            rebuild=FittedLine.restore,
            zero_policy=None,
            has_levels=True,
            summary="least squares of per-concept accuracy on log10 frequency",
            straight=True,
        ),
        Family(
            name="paper",
            estimate=_paper,
            rebuild=FittedLine.restore,
            zero_policy=ZERO_TO_ONE,
            has_levels=False,
            summary="the published recipe: a line through trimmed bin means, zeros taken as one",
        ),
        _shape(
            "binomial",
            fit_binomial,
            FittedLine.restore,
            "a logit line through numbers of correct images",
        ),
        _shape(
            "beta-binomial",
            fit_beta_binomial,
            FittedLine.restore,
            "the same, with concepts that differ by more than their numbers of images",
        ),
        _shape("isotonic", fit_isotonic, FittedKnots.restore, "the nearest curve that never falls"),
        _shape("spline", fit_spline, FittedKnots.restore, "a smooth curve that never falls"),
        _shape(
            "saturating",
            fit_saturating,
            FittedAsymptote.restore,
            "error falls as a power of frequency, towards an asymptote",
        ),
        _shape(
            "over-training",
            fit_over_training,
            FittedAsymptote.restore,
            "error falls exponentially with a loss that is a power of frequency",
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
