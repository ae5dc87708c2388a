"""How counts become the x axis of a curve, and what becomes of a count of zero."""

import numpy as np

from conceptaudit.curves.statistics import FloatArray

ZERO_POLICIES = ("log1p", "exclude", "hurdle")
"""What a user can ask for.

``log1p``: log10(1 + count), so that zero is a frequency like any other. ``exclude``: log10(count)
without the concepts whose count is zero. ``hurdle``: log10(1 + count), and concepts whose count
is zero have an accuracy of their own that the slope knows nothing of.
"""

ZERO_TO_ONE = "one"
"""The paper's own policy: a count of zero is taken as one."""


def log_frequency(counts: FloatArray, zero_policy: str) -> FloatArray:
    """Turn counts into the x axis of a curve, in decades.

    Parameters
    ----------
    counts : numpy.ndarray of float64, shape (n,)
        Counts, at least 0; NaN stays NaN.
    zero_policy : {"log1p", "exclude", "hurdle", "one"}

    Returns
    -------
    numpy.ndarray of float64, shape (n,)
        log10(1 + count) for ``log1p`` and ``hurdle``, which is 0 only where the count is;
        log10(count) with NaN for zero; or log10(max(count, 1)).

    Examples
    --------
    >>> log_frequency(np.array([0.0, 9.0]), "log1p").tolist()
    [0.0, 1.0]
    """
    if zero_policy in {"log1p", "hurdle"}:
        return np.log10(1.0 + counts)
    if zero_policy == ZERO_TO_ONE:
        return np.log10(np.maximum(counts, 1.0))
    result = np.full(counts.shape, np.nan)
    np.log10(counts, out=result, where=counts > 0)
    return result


def count_at(x: FloatArray, zero_policy: str) -> FloatArray:
    """Turn places on the x axis of a curve back into counts: the inverse of `log_frequency`.

    Parameters
    ----------
    x : numpy.ndarray of float64, shape (n,)
        In decades.
    zero_policy : {"log1p", "exclude", "hurdle", "one"}

    Examples
    --------
    >>> count_at(np.array([1.0]), "log1p").tolist(), count_at(np.array([1.0]), "exclude").tolist()
    ([9.0], [10.0])
    """
    return 10.0**x - (1.0 if zero_policy in {"log1p", "hurdle"} else 0.0)
