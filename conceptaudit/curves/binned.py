"""The published recipe: a correlation of trimmed bin means, and what shuffled data make of it.

It is kept for comparison under the name ``paper``. A correlation of a few bin means says little
about concepts, so it never stands without the value that the same recipe gives when accuracies
are shuffled within each evaluation set, which leaves no effect of frequency inside any set.

References
----------
Udandarao et al., "No 'Zero-Shot' Without Exponential Data", arXiv 2404.04125; the constants below
are those of the notebooks in bethgelab/frequency_determines_performance (MIT).
"""

import re
from dataclasses import dataclass

import numpy as np
from scipy import stats

from conceptaudit.curves.statistics import (
    FloatArray,
    IntArray,
    Lines,
    divide,
    group_means,
    shuffled_within,
)

N_EDGES = 12
N_EDGES_RETRIEVAL = 7
N_SHUFFLES = 200
SHUFFLE_LEVEL = 0.9

# Bins [first:last] that the paper's figures keep, by pretraining set; all others `TRIM`.
TRIMS = {"laion400m": (2, -1), "synthci30m": (0, -4), "synthci": (0, -4)}
TRIM = (1, -1)

# The figures of retrieval keep the last four of their bins, whatever the pretraining set.
TRIM_RETRIEVAL = (-4, None)
_LN10 = float(np.log(10.0))


@dataclass(frozen=True, slots=True, kw_only=True)
class BinRecipe:
    """How many bin edges there are, and which bins the correlation is computed over."""

    n_edges: int  # edges spaced evenly over the log frequency; each is the right end of a bin
    # the bins kept are ``[first:last]``, either counted from the end where it is negative; no
    # `last` keeps all from `first` on
    first: int
    last: int | None


def recipe_for(pretraining: str, metric: str) -> BinRecipe:
    """Choose the paper's edges and trim for a pretraining set and a metric."""
    if "recall@" in metric:
        first, last = TRIM_RETRIEVAL
        return BinRecipe(n_edges=N_EDGES_RETRIEVAL, first=first, last=last)
    name = re.sub(r"[^a-z0-9]", "", pretraining.casefold())
    first, last = TRIMS.get(name, TRIM)
    return BinRecipe(n_edges=N_EDGES, first=first, last=last)


@dataclass(frozen=True, slots=True, kw_only=True)
class BinnedFit:
    """The paper's binned correlation, with the bins it comes from."""

    r: float  # Pearson correlation over the kept, non-empty bins; NaN below three of them
    p_value: float
    # median and 90 % range of `r` when accuracies are shuffled within each dataset
    r_shuffled: float
    r_shuffled_low: float
    r_shuffled_high: float
    frequencies: tuple[float, ...]  # right edge of each bin, as a count
    # unweighted mean accuracy of the concepts in each bin; NaN where it is empty
    accuracies: tuple[float, ...]
    counts: tuple[int, ...]  # concepts in each bin
    first: int  # the correlation uses bins ``[first:last]``
    last: int | None
    n_concepts: int  # concepts in all bins, and in the bins that the correlation uses
    n_in_kept_bins: int

    @property
    def kept(self) -> range:
        """Positions of the bins that the correlation uses."""
        return range(*slice(self.first, self.last).indices(len(self.counts)))


def assign_bins(x: FloatArray, n_edges: int) -> tuple[FloatArray, IntArray]:
    """Cut log10 frequencies at evenly spaced edges; a value belongs to the edge at its right.

    Returns `edges` (n_edges,); `bins` (n,): bin 0 holds only the smallest value, as in the
    published code.
    """
    # The published code bins natural logarithms. Edges are found on that scale, because a
    # frequency that falls on an edge may change its bin with the base through rounding.
    natural = x * _LN10
    edges = np.linspace(natural.min(), natural.max(), n_edges)
    bins = np.digitize(natural, edges, right=True)
    return edges / _LN10, np.minimum(bins, n_edges - 1)


def line_through_bins(x: FloatArray, y: FloatArray, recipe: BinRecipe) -> Lines:
    """Fit one line through the kept bin means; NaN where fewer than three bins hold rows."""
    edges, bins = assign_bins(x, recipe.n_edges)
    return _lines_through(edges, group_means(y, bins, recipe.n_edges)[None, :], recipe)


def _lines_through(edges: FloatArray, means: FloatArray, recipe: BinRecipe) -> Lines:
    """Least squares through each row of bin means, shape (replicates, n_edges), without NaN."""
    kept = slice(recipe.first, recipe.last)
    y = means[:, kept]
    present = np.isfinite(y)
    n = present.sum(axis=1).astype(np.float64)
    y = np.where(present, y, 0.0)
    x = np.where(present, edges[kept], 0.0)
    mean_x, mean_y = divide(x.sum(axis=1), n), divide(y.sum(axis=1), n)
    dx = np.where(present, x - mean_x[:, None], 0.0)
    dy = np.where(present, y - mean_y[:, None], 0.0)
    cxx, cxy, cyy = (dx * dx).sum(axis=1), (dx * dy).sum(axis=1), (dy * dy).sum(axis=1)
    cyy[cyy <= 1e-24 * n] = 0.0
    slope = divide(cxy, cxx)
    few = n < 3
    return Lines(
        slope=np.where(few, np.nan, slope),
        intercept=np.where(few, np.nan, mean_y - slope * mean_x),
        r=np.where(few, np.nan, np.clip(divide(cxy, np.sqrt(cxx * cyy)), -1.0, 1.0)),
    )


def fit_bins(
    x: FloatArray,
    y: FloatArray,
    datasets: IntArray,
    recipe: BinRecipe,
    rng: np.random.Generator,
) -> BinnedFit:
    """Apply the paper's recipe, and apply it again to shuffled accuracies.

    Shapes: `x`, `y`, `datasets` (n,).
    """
    edges, bins = assign_bins(x, recipe.n_edges)
    sizes = np.bincount(bins, minlength=recipe.n_edges)
    n = sizes.astype(np.float64)
    means = group_means(y, bins, recipe.n_edges)
    r = float(_lines_through(edges, means[None, :], recipe).r[0])
    n_points = int(np.isfinite(means[recipe.first : recipe.last]).sum())
    member = np.eye(recipe.n_edges)[bins]
    shuffled = np.concatenate(
        [
            _lines_through(edges, divide(chunk @ member, n[None, :]), recipe).r
            for chunk in shuffled_within(y, datasets, N_SHUFFLES, rng)
        ]
    )
    defined = shuffled[np.isfinite(shuffled)]
    tail = (1 - SHUFFLE_LEVEL) / 2
    low, median, high = (
        np.quantile(defined, [tail, 0.5, 1 - tail]) if len(defined) else (np.nan,) * 3
    )
    return BinnedFit(
        r=r,
        p_value=correlation_p(r, n_points),
        r_shuffled=float(median),
        r_shuffled_low=float(low),
        r_shuffled_high=float(high),
        frequencies=tuple(float(value) for value in 10.0**edges),
        accuracies=tuple(float(value) for value in means),
        counts=tuple(int(size) for size in sizes),
        first=recipe.first,
        last=recipe.last,
        n_concepts=len(y),
        n_in_kept_bins=int(sizes[recipe.first : recipe.last].sum()),
    )


def correlation_p(r: float, n: int) -> float:
    """Two-sided p value of a Pearson correlation of n points (the exact beta distribution)."""
    if n < 3 or not np.isfinite(r):
        return float("nan")
    shape = n / 2 - 1
    return float(2 * stats.beta(shape, shape, loc=-1, scale=2).sf(abs(r)))
