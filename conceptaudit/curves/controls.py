"""Controls on whether accuracy follows frequency for the reason that is claimed.

* Without the pretraining images that resemble the test images: is it more than memory?
* With a pretraining set whose concepts follow a law of our choice: is it more than what frequent
  concepts happen to be like?

References
----------
Udandarao et al., "No 'Zero-Shot' Without Exponential Data", arXiv 2404.04125, sections 4 and 5.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from conceptaudit.counts import BOTH, choose_count, counts_of
from conceptaudit.curves.statistics import FloatArray
from conceptaudit.display import quantity
from conceptaudit.errors import ConfigError, DataError
from conceptaudit.records import ConceptFrequencies

BLOCK = 16_384  # pretraining vectors compared with the test set at a time


def similar_to_test(
    vectors: npt.NDArray[np.floating], test: npt.NDArray[np.floating], *, threshold: float
) -> npt.NDArray[np.bool_]:
    """Return which pretraining images resemble any test image.

    Shapes: `vectors` (n, d); `test` (m, d). Returns (n,).
    """
    if not -1.0 <= threshold <= 1.0:
        raise ConfigError(
            "The 'threshold' parameter of similar_to_test must be a cosine similarity between -1 "
            f"and 1. Got {threshold!r} instead."
        )
    if vectors.ndim != 2 or test.ndim != 2 or vectors.shape[1] != test.shape[1] or not len(test):
        raise DataError(
            "Pretraining and test vectors must be two tables of the same number of columns, and "
            f"the second must not be empty. Got {vectors.shape} and {test.shape} instead."
        )
    reference = _unit(test).T
    return np.concatenate(
        [
            (_unit(vectors[start : start + BLOCK]) @ reference).max(axis=1) >= threshold
            for start in range(0, len(vectors), BLOCK)
        ]
        or [np.zeros(0, dtype=bool)]
    )


def without_samples(
    frequencies: ConceptFrequencies,
    hits: pd.DataFrame,
    excluded: Sequence[int] | npt.NDArray[np.integer],
    *,
    count: str = "auto",
) -> ConceptFrequencies:
    """Count concepts again without some of the samples.

    With this count alone, and without intervals, which were those of another count.
    """
    column = choose_count(frequencies, count).column
    missing = {"sample_id", "concept"} - set(hits)
    if missing:
        raise DataError(f"Hits must have the columns sample_id and concept. {missing} are missing.")
    table = frequencies.table
    lost = hits[hits["sample_id"].isin(excluded)].drop_duplicates(["sample_id", "concept"])
    per_concept = lost["concept"].value_counts()
    unknown = sorted(set(per_concept.index) - set(table["concept"]))
    if unknown:
        raise DataError(
            f"Every hit must be of a concept with a count. Got hits of {unknown[:5]}, which have "
            "none. Are the hits of another audit?"
        )
    taken = per_concept.reindex(table["concept"], fill_value=0).to_numpy()
    left = pd.to_numeric(table[column]).astype("Int64") - taken
    impossible = (left < 0).fillna(value=False).to_numpy(dtype=bool)
    if impossible.any():
        row = int(np.flatnonzero(impossible)[0])
        raise DataError(
            "A concept cannot have more hits than its count. Got "
            f"{quantity(int(taken[row]), 'hit')} of {table['concept'].iloc[row]!r}, whose "
            f"{column} is {table[column].iloc[row]:,}."
        )
    keys = [name for name in ("dataset", "concept") if name in table]
    return ConceptFrequencies(table[keys].assign(**{column: left}), frequencies.source)


def resample_to_power_law(
    frequencies: ConceptFrequencies,
    *,
    exponent: float,
    highest: int | None = None,
    count: str = "auto",
    seed: int = 0,
) -> pd.DataFrame:
    """Choose a part of a pretraining set in which concepts follow a law of our own.

    Concepts are ranked at random, so that a concept's new frequency has nothing to do with what it
    is like; concept of rank k is to be kept ``highest * k ** -exponent`` times, or as often as
    there is. Samples of several concepts tie these together: count the result, do not assume it.

    ``dataset`` (where given), ``concept, available, rank, wanted, keep`` (the share of the
    concept's samples to keep, in [0, 1]) and ``count`` (how many a draw with that share left).
    """
    if exponent < 0 or (highest is not None and highest < 1):
        raise ConfigError(
            "The 'exponent' of a law must be at least 0 (--law) and 'highest' at least 1. Got "
            f"{exponent!r} and {highest!r} instead."
        )
    column = choose_count(frequencies, count).column
    counts = counts_of(frequencies, column)
    present = np.flatnonzero(counts > 0)
    rng = np.random.default_rng(seed)
    # Ranked by name first: the order of the rows has no influence.
    names = frequencies.table["concept"].astype("str").to_numpy()
    ordered = present[np.argsort(names[present], kind="stable")]
    chosen = ordered[rng.permutation(len(ordered))]
    rank = np.arange(1, len(chosen) + 1)
    top = float(np.median(counts[present])) if highest is None else float(highest)
    available = counts[chosen]
    wanted = np.maximum(np.round(top * rank.astype(np.float64) ** -exponent), 1.0)
    keep = np.minimum(wanted / available, 1.0)
    head = frequencies.table[[name for name in ("dataset",) if name in frequencies.table]]
    return (
        head.iloc[chosen]
        .reset_index(drop=True)
        .assign(
            concept=names[chosen],
            available=available.astype(np.int64),
            rank=rank,
            wanted=wanted.astype(np.int64),
            keep=keep,
            count=rng.binomial(available.astype(np.int64), keep),
        )
    )


def frequencies_under_law(
    frequencies: ConceptFrequencies, *, exponent: float, count: str, seed: int = 0
) -> ConceptFrequencies:
    """Return counts that a draw by `resample_to_power_law` leaves: a control of a slope.

    Accuracies of models that saw all samples know nothing of the draw, so that a slope on its
    counts is what ranks at random leave of the one that was found.
    """
    drawn = resample_to_power_law(frequencies, exponent=exponent, count=count, seed=seed)
    columns = [name for name in ("dataset", "concept") if name in drawn]
    counted = dict.fromkeys(choose_count(frequencies, count).column.split(BOTH), drawn["count"])
    return ConceptFrequencies(drawn[columns].assign(**counted), frequencies.source)


def _unit(vectors: npt.NDArray[np.floating]) -> FloatArray:
    values = vectors.astype(np.float64)
    lengths = np.linalg.norm(values, axis=1, keepdims=True)
    return values / np.where(lengths > 0, lengths, 1.0)
