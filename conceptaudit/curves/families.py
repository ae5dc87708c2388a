"""The shapes of curve that can be fitted, by name: our own, and those that installed packages add.

A family is a function from rows to a fitted curve. A package adds one with an entry point of the
group ``conceptaudit.curve_families`` that names a `Family`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np

from conceptaudit.curves.binned import N_EDGES, TRIM, BinRecipe, line_through_bins
from conceptaudit.curves.fit_data import ZERO_TO_ONE, FitData
from conceptaudit.curves.fitted import (
    FittedFamily,
    FittedHurdle,
    FittedLevels,
    FittedLine,
    above_zero,
    add_hurdle,
    add_levels,
)
from conceptaudit.curves.pooling import fit_partial_pooling
from conceptaudit.curves.shapes import (
    FittedAsymptote,
    FittedKnots,
    fit_binomial,
    fit_isotonic,
    fit_saturating,
)
from conceptaudit.curves.statistics import line
from conceptaudit.display import quantity
from conceptaudit.errors import ConfigError, FitError
from conceptaudit.plugins import installed

DEFAULT_RECIPE = BinRecipe(n_edges=N_EDGES, first=TRIM[0], last=TRIM[1])
DEFAULT_FAMILY = "partial-pooling"


# (rows, seed, recipe of the paper's bins) to a fitted curve.
Estimate = Callable[[FitData, int, BinRecipe], FittedFamily]


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

    def fit(
        self, rows: FitData, *, seed: int = 0, recipe: BinRecipe = DEFAULT_RECIPE
    ) -> FittedFamily:
        """Fit the rows.

        Parameters
        ----------
        rows : FitData
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimator:
    """A family with what it needs to be fitted, to rows or to any part of them."""

    family: Family
    recipe: BinRecipe = DEFAULT_RECIPE
    seed: int = 0
    use_names: bool = True  # whether what class names say may be added, see `point_model`

    def fit(self, rows: FitData) -> FittedFamily:
        """Fit the rows; raises `FitError` where the family has no curve through them."""
        return self.family.fit(rows, seed=self.seed, recipe=self.recipe)


def _log_linear(rows: FitData) -> FittedLine:
    slope, intercept, _ = line(rows.x, rows.y)
    return _one_line(rows, slope, intercept, "All of them have the same frequency.")


def _paper(rows: FitData, seed: int, recipe: BinRecipe) -> FittedLine:
    del seed
    lines = line_through_bins(rows.x, rows.y, recipe)
    return _one_line(
        rows,
        float(lines.slope[0]),
        float(lines.intercept[0]),
        "The 'paper' family needs three of its bins, and fewer than 3 of its bins hold concepts. "
        "Use family='loglinear', which needs no bins.",
    )


def _one_line(rows: FitData, slope: float, intercept: float, why_none: str) -> FittedLine:
    if not np.isfinite(slope):
        raise FitError(
            f"There is no line through these {quantity(len(rows), 'concept')}. {why_none}"
        )
    residuals = rows.y - intercept - slope * rows.x
    return FittedLine(
        intercept=intercept,
        slope=slope,
        details={"residual_variance": float(residuals @ residuals / max(len(rows) - 2, 1))},
    )


def simple_family(
    name: str,
    fit: Callable[[FitData], FittedFamily],
    rebuild: Callable[[Mapping[str, Any]], FittedFamily],
    summary: str,
) -> Family:
    """Describe a family whose fit needs neither a seed nor bins, with a level per dataset.

    Parameters
    ----------
    name, summary : str
        See `Family`.
    fit : callable
        Fits rows.
    rebuild : callable
        Builds the fitted curve again from its ``parameters``.
    """
    return Family(
        name=name,
        estimate=lambda rows, seed, recipe: fit(rows),  # noqa: ARG005 -- of `Estimate`
        rebuild=rebuild,
        zero_policy=None,
        has_levels=True,
        summary=summary,
    )


OWN = (
    replace(
        simple_family(
            "partial-pooling",
            fit_partial_pooling,
            FittedLine.restore,
            "a line per dataset, drawn towards the line of all datasets",
        ),
        straight=True,
        pools=True,
    ),
    replace(
        simple_family(
            "loglinear",
            _log_linear,
            FittedLine.restore,
            "least squares of per-concept accuracy on log10 frequency",
        ),
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
    simple_family(
        "binomial",
        fit_binomial,
        FittedLine.restore,
        "a logit line through numbers of correct images",
    ),
    simple_family(
        "isotonic", fit_isotonic, FittedKnots.restore, "the nearest curve that never falls"
    ),
    simple_family(
        "saturating",
        fit_saturating,
        FittedAsymptote.restore,
        "error falls towards an asymptote, as a power of frequency or exponentially",
    ),
)

GROUP = "conceptaudit.curve_families"


@cache
def known_families() -> dict[str, Family]:
    """Find all families by name, our own first."""
    others = [family for _, family in installed(GROUP, Family)]
    return {family.name: family for family in (*OWN, *others)}


# Families of version 0.1 that no data told from their neighbours, and what stands nearest.
RETIRED = {"beta-binomial": "binomial", "spline": "isotonic", "over-training": "saturating"}


def family_named(name: str) -> Family:
    """Look a family up."""
    families = known_families()
    if name in families:
        return families[name]
    retired = f" Use {RETIRED[name]!r} instead of it." if name in RETIRED else ""
    raise ConfigError(
        f"The 'family' parameter (--family) must be one of {sorted(families)}. "
        f"Got {name!r} instead.{retired}"
    )
