"""What a fit produces: one `ModelFit` per model, and the `Curve` that holds them.

A curve carries the rows it was fitted to, so that predictions can be given honest intervals.
"""

from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from conceptaudit.curves.binned import BinnedFit
from conceptaudit.errors import ConfigError

POINT_COLUMNS = ("fit", "dataset", "concept", "count", "accuracy")
"""Columns of `Curve.points`; ``fit`` is a position in `Curve.fits`."""

UNMATCHED_COLUMNS = ("side", "dataset", "concept")
"""Columns of `Curve.unmatched`; ``side`` is ``accuracies`` or ``frequencies``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Which rows went into a fit.

    Parameters
    ----------
    n_concepts : int
        Accuracies that the model came with (a concept counts once per evaluation set).
    n_used : int
        Rows in the fit; `n_concepts` minus everything in `dropped`.
    n_zero : int
        Rows whose frequency is zero, used or not.
    dropped : dict of str to int
        Rows left out, by reason.
    """

    n_concepts: int
    n_used: int
    n_zero: int
    dropped: dict[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class LineFit:
    """Accuracy = intercept + slope x, x in decades of frequency.

    Parameters
    ----------
    slope, slope_low, slope_high : float
        Accuracy per decade, with its interval.
    intercept : float
        Accuracy at x = 0 (a count of zero under ``log1p``, of one otherwise).
    residual_sd : float
        Standard deviation of accuracy about the line, n - 2 degrees of freedom.
    r, r_low, r_high : float
        Pearson correlation per concept (never of bins), with its interval; NaN where accuracy
        is constant.
    rho : float
        Spearman's rank correlation per concept.
    resampled : str
        What the interval resamples: ``"dataset"`` or, with a single dataset, ``"concept"``.
    x_min, x_max : float
        Fitted range of x.
    band_x, band_low, band_high : tuple of float
        Pointwise interval of the line over that range.
    """

    slope: float
    slope_low: float
    slope_high: float
    intercept: float
    residual_sd: float
    r: float
    r_low: float
    r_high: float
    rho: float
    resampled: str
    x_min: float
    x_max: float
    band_x: tuple[float, ...]
    band_low: tuple[float, ...]
    band_high: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetSlope:
    """The line of one evaluation set alone; NaN where it cannot be fitted."""

    dataset: str
    n: int
    slope: float
    r: float
    mean_accuracy: float


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetEffects:
    """The pooled slope taken apart: inside evaluation sets, and between them.

    Parameters
    ----------
    slope_within : float
        Slope with one intercept per dataset (equals the slope for a single dataset).
    slope_between : float
        Slope of dataset means, weighted by their concepts; NaN for a single dataset.
    p_within : float
        Two-sided permutation p value of `slope_within`, accuracies shuffled within dataset.
    n_shuffles : int
        Shuffles behind `p_within`; it cannot be below 1 / (n_shuffles + 1).
    slopes : tuple of DatasetSlope
    """

    slope_within: float
    slope_between: float
    p_within: float
    n_shuffles: int
    slopes: tuple[DatasetSlope, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFit:
    """The curve of one model, with everything that is needed to doubt it.

    Parameters
    ----------
    model, pretraining, metric : str
    usage : Usage
    line : LineFit
    effects : DatasetEffects
    binned : BinnedFit
    notes : tuple of str
        What a reader should know before quoting a number.
    """

    model: str
    pretraining: str
    metric: str
    usage: Usage
    line: LineFit
    effects: DatasetEffects
    binned: BinnedFit
    notes: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """``model/pretraining/metric``, without empty parts; unique in a curve."""
        return "/".join(part for part in (self.model, self.pretraining, self.metric) if part)


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """Accuracy against frequency, for one or many models on the same frequencies.

    Parameters
    ----------
    family : str
        ``"loglinear"`` or ``"paper"``.
    count : str
        ``"n_text"``, ``"n_image"`` or ``"n_joint"``.
    zero_policy : str
        What a count of zero became: ``"log1p"``, ``"exclude"`` or (``paper``) ``"one"``.
    level : float
        Level of the intervals in `fits`.
    seed : int
    source : str
        The audited dataset.
    fits : tuple of ModelFit
    digest : str
        SHA-256 of the joined rows and the settings.
    notes : tuple of str
    points : pandas.DataFrame
        The rows in the fits, columns `POINT_COLUMNS`.
    unmatched : pandas.DataFrame
        Concepts on one side only, columns `UNMATCHED_COLUMNS`.
    """

    family: str
    count: str
    zero_policy: str
    level: float
    seed: int
    source: str
    fits: tuple[ModelFit, ...]
    digest: str
    notes: tuple[str, ...]
    points: pd.DataFrame = field(repr=False, compare=False)
    unmatched: pd.DataFrame = field(repr=False, compare=False)

    @property
    def table(self) -> pd.DataFrame:
        """One row per model: what ``fit.csv`` holds."""
        from conceptaudit.curves.table import curve_table

        return curve_table(self)

    def select(self, model: str | None) -> tuple[ModelFit, ...]:
        """Return the fits of a model, named by `ModelFit.label` or by its model name.

        Raises
        ------
        ConfigError
            There is none.
        """
        if model is None:
            return self.fits
        found = tuple(fit for fit in self.fits if model in (fit.label, fit.model))
        if not found:
            known = ", ".join(fit.label for fit in self.fits[:20])
            raise ConfigError(
                f"The 'model' parameter must name a model of the curve ({known}). "
                f"Got {model!r} instead."
            )
        return found

    def points_of(self, fit: ModelFit) -> pd.DataFrame:
        """Return the rows that a fit was made from."""
        return self.points[self.points["fit"] == self.fits.index(fit)]

    def save(self, path: Path | str) -> None:
        """Write the curve as JSON, whole or not at all; see `load`."""
        from conceptaudit.curves.store import save_curve

        save_curve(self, Path(path))

    @staticmethod
    def load(path: Path | str) -> "Curve":
        """Read a curve that `save` wrote, from its file or its folder.

        Raises
        ------
        DataError
            The file is missing, damaged or of another schema version.
        """
        from conceptaudit.curves.store import load_curve

        return load_curve(Path(path))
