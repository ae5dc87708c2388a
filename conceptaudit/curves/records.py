"""Parts of a fit: one `ModelFit` per model, and what it is made of."""

from dataclasses import dataclass
from typing import Any

from conceptaudit.curves.binned import BinnedFit

POINT_COLUMNS = (
    "fit",
    "dataset",
    "concept",
    "count",
    "accuracy",
    "n_images",
    "count_low",
    "count_high",
    "counted",
)
"""Columns of `Curve.points`; ``fit`` is a position in `Curve.fits`.

``n_images`` and the ends of the count's 90 % interval are NaN where they are unknown. ``counted``
is the count as it was counted; where that was in a sample, ``count`` is expected of the whole.
"""

UNMATCHED_COLUMNS = ("side", "dataset", "concept")
"""Columns of `Curve.unmatched`; ``side`` is ``accuracies`` or ``frequencies``."""


FOLDED_COLUMNS = ("dataset", "concept", "matched")
"""Columns of `Curve.folded`: a name in the accuracies, and what it met in the frequencies."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Which rows went into a fit.

    Parameters
    ----------
    n_concepts : int
        Accuracies that the model came with (a concept counts once per evaluation set).
    n_used : int
        FitData in the fit; `n_concepts` minus everything in `dropped`.
    n_zero : int
        FitData whose frequency is zero, used or not.
    dropped : dict of str to int
        FitData left out, by reason.
    """

    n_concepts: int
    n_used: int
    n_zero: int
    dropped: dict[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class LineFit:
    """The population curve of a fit, with the straight line that sums it up.

    Parameters
    ----------
    slope, slope_low, slope_high : float
        Accuracy per decade, with its interval. For a family that is not a straight line, the
        least-squares slope of its population curve over the fitted concepts.
    intercept : float
        Accuracy at x = 0 of that line: at a count of zero, or of one under ``exclude`` and ``one``.
    residual_sd : float
        Standard deviation of accuracy about what the fit expects of each row in its dataset,
        n - 2 degrees of freedom.
    r, r_low, r_high : float
        Pearson correlation per concept (never of bins), with its interval; NaN where accuracy
        is constant.
    rho : float
        Spearman's rank correlation per concept.
    resampled : str
        What the intervals take as the sampled unit: ``"dataset"`` or, with a single dataset,
        ``"concept"``.
    method : str
        How the interval of the slope and the band were computed: ``"CR2"`` (bias-reduced
        cluster-robust variance) or ``"jackknife"`` (leave one unit out), both with Student's t.
    df : float
        Degrees of freedom of the slope's interval.
    boot_low, boot_high : float
        Percentile interval of the slope from resampling units; with few datasets it is known to
        be too narrow, and stands here for comparison.
    x_min, x_max : float
        Fitted range of x.
    band_x, band_mid, band_low, band_high : tuple of float
        The population curve over that range, with its pointwise interval.
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
    method: str
    df: float
    boot_low: float
    boot_high: float
    x_min: float
    x_max: float
    band_x: tuple[float, ...]
    band_mid: tuple[float, ...]
    band_low: tuple[float, ...]
    band_high: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetSlope:
    """The line of one evaluation set alone; NaN where it cannot be fitted."""

    dataset: str
    n: int
    slope: float
    slope_low: float
    slope_high: float
    r: float
    mean_accuracy: float


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetEffects:
    """The pooled slope taken apart: inside evaluation sets, and between them.

    Parameters
    ----------
    slope_within, slope_within_low, slope_within_high : float
        Slope with one intercept per dataset (equals the slope for a single dataset), with its
        interval over datasets.
    slope_between : float
        Slope of dataset means, weighted by their concepts; NaN for a single dataset.
    p_within : float
        Two-sided permutation p value of `slope_within`, accuracies shuffled within dataset.
    n_shuffles : int
        Shuffles behind `p_within`; it cannot be below 1 / (n_shuffles + 1).
    slopes : tuple of DatasetSlope
    """

    slope_within: float
    slope_within_low: float
    slope_within_high: float
    slope_between: float
    p_within: float
    n_shuffles: int
    slopes: tuple[DatasetSlope, ...]

    @property
    def n_negative(self) -> int:
        """How many datasets have a negative slope of their own."""
        return sum(one.slope < 0 for one in self.slopes)

    @property
    def n_sloped(self) -> int:
        """How many datasets have a slope at all."""
        return sum(one.slope == one.slope for one in self.slopes)


@dataclass(frozen=True, slots=True, kw_only=True)
class CountError:
    """What the error of the counts does to the slope within datasets.

    A count with an error in it flattens the slope. Regression calibration replaces each x by what
    is expected of the true one, given its dataset; see `errors_in_variables` for what it assumes.

    Parameters
    ----------
    reliability : float
        Share of the variance of x within datasets that is not error, in (0, 1].
    n_with_interval : int
        FitData whose count has an interval.
    slope, slope_low, slope_high : float
        The slope of the family on calibrated x, to be read beside the `LineFit.slope` of the same
        fit, which is right for predicting from counts with the same error.
    """

    reliability: float
    n_with_interval: int
    slope: float
    slope_low: float
    slope_high: float


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
    overdispersion : float
        Variance of accuracies about the fit over what their numbers of test images alone would
        give (Pearson's chi-square per degree of freedom); NaN where no such number is known.
    count_error : CountError or None
        None where no count has an interval.
    parameters : dict of str to JSON values
        What the family has learned; `Curve.fitted` makes a curve of it.
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
    overdispersion: float
    count_error: CountError | None
    parameters: dict[str, Any]
    notes: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """``model/pretraining/metric``, without empty parts; unique in a curve."""
        return "/".join(part for part in (self.model, self.pretraining, self.metric) if part)
