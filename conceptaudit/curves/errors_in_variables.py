"""What error in the counts does to a slope, and the slope without it.

A count with an interval is the true one times an error, and error in x flattens a line. Regression
calibration replaces each x by what is to be expected of the true x given the one observed.

What this assumes: errors on the log scale are independent of the true frequency, of accuracy and
of each other, with the standard deviation that the interval tells (a 90 % interval is 3.29 of
them wide); true frequencies are spread normally within each dataset. An error that all concepts
share, such as a counter that finds half of everything, shifts the curve and leaves its slope; an
error that grows with rarity breaks the first assumption.

References
----------
Carroll, Ruppert, Stefanski and Crainiceanu, "Measurement Error in Nonlinear Models", 2nd edition
(2006), chapter 4.
"""

from dataclasses import replace

import numpy as np

from conceptaudit.curves.fit_data import FitData
from conceptaudit.curves.statistics import FloatArray

LEAST_RELIABILITY = 0.05
"""Below this share of real variance a dataset's x is all error, and no correction is possible."""


def calibrated(rows: FitData) -> tuple[FitData, float]:
    """Replace each x by its expectation given the observed one.

    Within each dataset, E[true | x] = m + r (x - m), where r is the share of the variance of x that
    is not error, row by row. Rows of few concepts share a pooled variance.

    Returns `rows`: with `x` calibrated; unchanged where no row has an error; `reliability`: share
    of the variance within datasets that is not error, in (0, 1].
    """
    variance = rows.x_sd**2
    if not variance.any():
        return rows, 1.0
    n_datasets = len(rows.datasets)

    def total(values: FloatArray) -> FloatArray:
        sums = np.bincount(rows.dataset, weights=values, minlength=n_datasets)
        return sums.astype(np.float64)

    n = total(np.ones_like(rows.x))
    mean = total(rows.x) / np.maximum(n, 1.0)
    deviation = rows.x - mean[rows.dataset]
    squares, noise = total(deviation**2), total(variance)
    freedom = np.maximum(n - 1, 0.0)
    pooled = max(float(squares.sum() - (noise * freedom / np.maximum(n, 1)).sum()), 0.0)
    pooled /= max(float(freedom.sum()), 1.0)
    # A dataset's own variance of true x leans on the pooled one as on ten further concepts.
    own = squares - noise * freedom / np.maximum(n, 1.0)
    true = np.maximum((own + 10.0 * pooled) / (freedom + 10.0), 0.0)[rows.dataset]
    observed = np.where(true + variance > 0, true + variance, 1.0)
    share = np.where(variance > 0, np.maximum(true / observed, LEAST_RELIABILITY), 1.0)
    spread = float((deviation**2).sum())
    reliability = 1.0 - float(variance.sum()) / spread if spread > 0 else 1.0
    return (
        replace(rows, x=mean[rows.dataset] + share * deviation, x_sd=np.zeros_like(rows.x_sd)),
        float(np.clip(reliability, LEAST_RELIABILITY, 1.0)),
    )
