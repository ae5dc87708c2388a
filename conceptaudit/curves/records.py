"""Parts of a fit: one `ModelFit` per model, and what it is made of."""

from dataclasses import dataclass
from typing import Any

from conceptaudit.curves.binned import BinnedFit

# Columns of `Curve.points`; ``fit`` is a position in `Curve.fits`.
#
# ``n_images`` and the ends of the count's 90 % interval are NaN where they are unknown. ``counted``
# is the count as it was counted; where that was in a sample, ``count`` is expected of the whole.
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

# Columns of `Curve.unmatched`; ``side`` is ``accuracies`` or ``frequencies``.
UNMATCHED_COLUMNS = ("side", "dataset", "concept")


# Columns of `Curve.folded`: a name in the accuracies, and what it met in the frequencies.
FOLDED_COLUMNS = ("dataset", "concept", "matched")


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Which rows went into a fit."""

    # accuracies that the model came with (a concept counts once per evaluation set)
    n_concepts: int
    n_used: int  # rows in the fit; `n_concepts` minus everything in `dropped`
    n_zero: int  # rows whose frequency is zero, used or not
    dropped: dict[str, int]  # rows left out, by reason


@dataclass(frozen=True, slots=True, kw_only=True)
class LineFit:
    """The population curve of a fit, with the straight line that sums it up."""

    # accuracy per decade, with its interval. For a family that is not a straight line, the
    # least-squares slope of its population curve over the fitted concepts
    slope: float
    slope_low: float
    slope_high: float
    # accuracy at x = 0 of that line: at a count of zero, or of one under ``exclude`` and ``one``
    intercept: float
    # standard deviation of accuracy about what the fit expects of each row in its dataset, n - 2
    # degrees of freedom
    residual_sd: float
    # Pearson correlation per concept (never of bins), with its interval; NaN where accuracy is
    # constant
    r: float
    r_low: float
    r_high: float
    rho: float  # Spearman's rank correlation per concept
    # what the intervals take as the sampled unit: ``"dataset"`` or, with a single dataset,
    # ``"concept"``
    resampled: str
    # how the interval of the slope and the band were computed: ``"CR2"`` (bias-reduced
    # cluster-robust variance) or ``"jackknife"`` (leave one unit out), both with Student's t
    method: str
    df: float  # degrees of freedom of the slope's interval
    # percentile interval of the slope from resampling units; with few datasets it is known to be
    # too narrow, and stands here for comparison
    boot_low: float
    boot_high: float
    x_min: float  # fitted range of x
    x_max: float
    band_x: tuple[float, ...]  # the population curve over that range, with its pointwise interval
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
    """The pooled slope taken apart: inside evaluation sets, and between them."""

    # slope with one intercept per dataset (equals the slope for a single dataset), with its
    # interval over datasets
    slope_within: float
    slope_within_low: float
    slope_within_high: float
    # slope of dataset means, weighted by their concepts; NaN for a single dataset
    slope_between: float
    # two-sided permutation p value of `slope_within`, accuracies shuffled within dataset
    p_within: float
    n_shuffles: int  # shuffles behind `p_within`; it cannot be below 1 / (n_shuffles + 1)
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
    """Effect of the error of the counts on the slope within datasets.

    A count with an error in it flattens the slope. Regression calibration replaces each x by what
    is expected of the true one, given its dataset; see `errors_in_variables` for what it assumes.
    """

    reliability: float  # share of the variance of x within datasets that is not error, in (0, 1]
    n_with_interval: int  # rows whose count has an interval
    # the slope of the family on calibrated x, to be read beside the `LineFit.slope` of the same
    # fit, which is right for predicting from counts with the same error
    slope: float
    slope_low: float
    slope_high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFit:
    """The curve of one model, with everything that is needed to doubt it."""

    model: str
    pretraining: str
    metric: str
    usage: Usage
    line: LineFit
    effects: DatasetEffects
    binned: BinnedFit
    # variance of accuracies about the fit over what their numbers of test images alone would give
    # (Pearson's chi-square per degree of freedom); NaN where no such number is known
    overdispersion: float
    count_error: CountError | None  # None where no count has an interval
    parameters: dict[str, Any]  # what the family has learned; `Curve.fitted` makes a curve of it
    notes: tuple[str, ...] = ()  # what a reader should know before quoting a number

    @property
    def label(self) -> str:
        """``model/pretraining/metric``, without empty parts; unique in a curve."""
        return "/".join(part for part in (self.model, self.pretraining, self.metric) if part)
