"""How probable a sample is to be kept, and how much it weighs, given how frequent concepts are."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from conceptaudit.errors import DataError

FloatArray = npt.NDArray[np.float64]
Int64Array = npt.NDArray[np.int64]


def threshold_of_share(counts: FloatArray, share: float) -> float:
    """Choose the threshold below which concepts hold a share of all matches, as MetaCLIP does.

    Parameters
    ----------
    counts : numpy.ndarray of float, shape (n_concepts,)
    share : float
        In (0, 1). MetaCLIP's threshold of 20,000 leaves 6 % to its tail.

    Returns
    -------
    float
        The count of the first concept, counted from the rarest, with which the share is exceeded.

    References
    ----------
    Xu et al., "Demystifying CLIP Data" (2024), algorithm 1 and section 3.3.

    Examples
    --------
    >>> threshold_of_share(np.array([1.0, 2.0, 3.0, 94.0]), 0.05)
    3.0
    """
    ordered = np.sort(counts)
    sums = np.cumsum(ordered)
    if not len(sums) or sums[-1] <= 0:
        raise DataError("No concept occurs in what is left: there is no tail to balance.")
    place = int(np.searchsorted(sums, share * sums[-1], side="right"))
    return float(ordered[min(place, len(ordered) - 1)])


def tail_share(counts: FloatArray, threshold: float) -> float:
    """Share of all matches that concepts below the threshold hold."""
    total = float(counts.sum())
    return float(counts[counts < threshold].sum()) / total if total else 0.0


def entry_probability(counts: FloatArray, threshold: float) -> FloatArray:
    """Probability with which a concept keeps a sample: min(1, T / count); shape (n_concepts,).

    Examples
    --------
    >>> entry_probability(np.array([0.0, 10.0, 40.0]), 20.0).tolist()
    [1.0, 1.0, 0.5]
    """
    return np.minimum(1.0, threshold / np.maximum(counts, threshold))


def kept_by_any(
    place: Int64Array, probability: FloatArray, share: FloatArray, n_samples: int
) -> FloatArray:
    """Probability that any concept keeps a sample, each by a draw of its own.

    Parameters
    ----------
    place : numpy.ndarray of int64, shape (n_pairs,)
        Position of each pair's sample, rising.
    probability, share : numpy.ndarray of float64, shape (n_pairs,)
        Of the pair's concept; and that the sample has it.
    n_samples : int

    Returns
    -------
    numpy.ndarray of float64, shape (n_samples,)
        0 for a sample without a concept.

    Examples
    --------
    >>> kept_by_any(np.array([0, 0, 2]), np.array([0.5, 0.5, 1.0]), np.ones(3), 3).tolist()
    [0.75, 0.0, 1.0]
    """
    missed = np.ones(n_samples)
    np.multiply.at(missed, place, 1.0 - probability * share)
    return 1.0 - missed


def tempered(
    place: Int64Array, counts: FloatArray, exponent: float, n_samples: int, untagged: float
) -> FloatArray:
    """Weight samples by count^-A of their rarest concept.

    Parameters
    ----------
    place : numpy.ndarray of int64, shape (n_pairs,)
        Position of each pair's sample.
    counts : numpy.ndarray of float64, shape (n_pairs,)
        Of the pair's concept, at least 1.
    exponent : float
        A.
    n_samples : int
    untagged : float
        Count that stands for a sample without a concept: the most frequent concept's.

    Examples
    --------
    >>> tempered(np.array([0, 0]), np.array([4.0, 16.0]), 0.5, 2, 100.0).tolist()
    [0.5, 0.1]
    """
    rarest = np.full(n_samples, np.inf)
    np.minimum.at(rarest, place, counts)
    rarest[np.isinf(rarest)] = untagged
    return np.asarray(np.maximum(rarest, 1.0) ** -exponent, dtype=np.float64)


def uniform(sample_ids: Int64Array, seed: int, stream: int) -> FloatArray:
    """Draw a number in (0, 1) for each sample from its id alone, so that no sharding changes it.

    Parameters
    ----------
    sample_ids : numpy.ndarray of int64, shape (n,)
    seed : int
    stream : int
        Another stream, other numbers.

    References
    ----------
    SplitMix64: Steele, Lea and Flood, "Fast splittable pseudorandom number generators" (2014).
    """
    with np.errstate(over="ignore"):
        start = np.uint64(seed % (1 << 64)) * np.uint64(0x9E3779B97F4A7C15)
        start += np.uint64(stream) * np.uint64(0xD1342543DE82EF95)
        z = _mixed(sample_ids.astype(np.uint64) + _mixed(np.array([start], dtype=np.uint64)))
    return np.asarray(((z >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53)


def _mixed(z: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    z = (z + np.uint64(0x9E3779B97F4A7C15)) & np.uint64(0xFFFFFFFFFFFFFFFF)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))
