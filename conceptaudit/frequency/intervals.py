"""Intervals for counts and shares."""

import numpy as np
import numpy.typing as npt

from conceptaudit.options import shared

LEVEL = shared.LEVEL

FloatArray = npt.NDArray[np.float64]


def poisson_interval(counts: npt.ArrayLike, level: float = LEVEL) -> tuple[FloatArray, FloatArray]:
    """Exact (Garwood) interval of the mean of a Poisson count.

    Read as: how often the concept would be expected in another sample of this size from the same
    source. A count of zero has lower bound zero and an upper bound of about three at 90 %.

    Shapes: `counts` (n,). Returns `low, high` (n,). See F. Garwood, "Fiducial limits for the
    Poisson distribution", Biometrika 28 (1936).
    """
    from scipy.special import gammaincinv

    n = np.asarray(counts, dtype=np.float64)
    tail = (1.0 - level) / 2.0
    low = np.where(n > 0, gammaincinv(np.maximum(n, 1.0), tail), 0.0)
    return np.asarray(low), np.asarray(gammaincinv(n + 1.0, 1.0 - tail), dtype=np.float64)


def normal_reach(level: float = LEVEL) -> float:
    """Return how many standard errors a normal interval reaches to either side."""
    from scipy.special import ndtri

    return float(ndtri((1.0 + level) / 2.0))


def wilson_interval(successes: float, trials: float, level: float = LEVEL) -> tuple[float, float]:
    """Wilson score interval of a share.

    Returns `low, high`: (0, 1) where there are no trials. See E. B. Wilson, "Probable inference,
    the law of succession, and statistical inference", JASA 22 (1927).
    """
    from scipy.special import ndtri

    if trials == 0:
        return 0.0, 1.0
    z = float(ndtri(1.0 - (1.0 - level) / 2.0))
    share = successes / trials
    spread = z * np.sqrt(share * (1 - share) / trials + (z / (2 * trials)) ** 2)
    centre = share + z * z / (2 * trials)
    scale = 1 + z * z / trials
    return max(0.0, float((centre - spread) / scale)), min(1.0, float((centre + spread) / scale))
