"""Curves for those who have frequencies and no evaluation: the published ones.

A user's audit is compared with the five pretraining sets that have published counts (`published`),
and the one whose counts of shared class names are nearest in scale is taken.

References
----------
Udandarao et al., "No 'Zero-Shot' Without Exponential Data", arXiv 2404.04125;
bethgelab/frequency_determines_performance (MIT).
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from conceptaudit.counts import AUTO_COUNT, CORRECTED_COLUMNS, choose_count
from conceptaudit.curves.curve import Curve
from conceptaudit.curves.fitting import fit_curve
from conceptaudit.curves.joining import normalise_name, numbers
from conceptaudit.curves.published import (
    PRETRAINING_SAMPLES,
    reference_accuracies,
    reference_frequencies,
)
from conceptaudit.curves.statistics import FloatArray
from conceptaudit.errors import DataError
from conceptaudit.records import ConceptFrequencies

MIN_SHARED = 20
"""Shared class names with counts above zero below which scales cannot be compared."""

OF_OTHERS = (
    "No evaluation of yours is in this: the curve is of published models (arXiv 2404.04125). Give "
    "measured accuracies to `conceptaudit fit`, or anchors, for anything that matters."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """A published curve chosen for a user's frequencies.

    Parameters
    ----------
    curve : Curve
    frequencies : ConceptFrequencies
        The user's, multiplied by `factor` if that was asked for.
    pretraining : str
        The published pretraining set.
    factor : float
        From the user's counts to the published ones, median over shared names; NaN where unknown.
    spread : float
        Half of the middle 50 % of the differences in scale, in decades; NaN where unknown.
    notes : tuple of str
        What was chosen and why, for whoever reads the predictions.
    """

    curve: Curve
    frequencies: ConceptFrequencies
    pretraining: str
    factor: float
    spread: float
    notes: tuple[str, ...]


def reference_curve(
    frequencies: ConceptFrequencies,
    *,
    pretraining: str = "auto",
    count: str = "auto",
    rescale: bool = False,
    seed: int = 0,
) -> Reference:
    """Choose the published setting nearest to an audit, and fit it.

    Two audits of one dataset by different counters differ by a factor, and so do audits of two
    datasets of different size by one counter. The former should be taken out before predicting;
    the latter should not, because more data is what makes the larger dataset better. Nothing in
    the counts tells which it is, so counts are taken as they are unless `rescale` says otherwise.

    Parameters
    ----------
    frequencies : ConceptFrequencies
        Of the user's data.
    pretraining : str
        ``"auto"``, or one of `PRETRAINING_SAMPLES`.
    count : {"auto", "n_text", "n_image", "n_joint"}
        Which count to go by, as for `fit_curve`.
    rescale : bool
        Multiply the counts by the factor to the published ones: for counters unlike the paper's
        (spaCy lemmas in captions, RAM++ tags in images) on data about as large.
    seed : int

    Returns
    -------
    Reference
        For ``predict(reference.curve, reference.frequencies, same_model=False)``.

    Raises
    ------
    ConfigError
        There is no such pretraining set or count.
    """
    column = choose_count(frequencies, count).column
    if column in CORRECTED_COLUMNS and count == AUTO_COUNT:
        # published counts have no corrected columns: captions are what both sides have
        column = frequencies.counted[0]
    compared = {name: _difference(frequencies, name, column) for name in PRETRAINING_SAMPLES}
    notes = [OF_OTHERS]
    name, why = _nearest(frequencies, compared, pretraining)
    notes.append(f"Published setting: {name} ({why}).")
    difference = compared[name]
    factor, spread = float("nan"), float("nan")
    if len(difference) >= MIN_SHARED:
        factor = float(10.0 ** np.median(difference))
        spread = float(np.subtract(*np.quantile(difference, [0.75, 0.25])) / 2)
        done = "were multiplied by that" if rescale else "were taken as they are"
        notes.append(
            f"Counts in {name} are {factor:.3g} times yours: median over {len(difference):,} class "
            f"names counted in both, give or take {spread:.2f} decades. Your {column} {done}."
        )
    elif rescale:
        raise DataError(
            f"Counts cannot be rescaled: only {len(difference)} class names are counted above zero "
            f"both in your data and in {name}, and {MIN_SHARED} are needed."
        )
    else:
        notes.append(
            f"Only {len(difference)} class names are counted above zero in both your data and "
            f"{name}: whether counts are on the same scale is unknown."
        )
    curve = fit_curve(
        reference_frequencies(name), reference_accuracies(name), count=column, seed=seed
    )
    if rescale:
        scaled = frequencies.table.assign(**{column: numbers(frequencies.table[column]) * factor})
        frequencies = replace(frequencies, table=scaled)
    return Reference(
        curve=curve,
        frequencies=frequencies,
        pretraining=name,
        factor=factor,
        spread=spread,
        notes=tuple(notes),
    )


def _difference(frequencies: ConceptFrequencies, name: str, column: str) -> FloatArray:
    """Decades from the user's count to the published one, for each class name in both."""
    published = reference_frequencies(name).table
    theirs = pd.Series(
        numbers(published[column]), index=[normalise_name(str(c)) for c in published["concept"]]
    )
    mine = pd.Series(
        numbers(frequencies.table[column]),
        index=[normalise_name(str(c)) for c in frequencies.table["concept"]],
    )
    both = pd.concat(
        [side[side > 0].groupby(level=0).first() for side in (mine, theirs)], axis=1, join="inner"
    ).to_numpy(np.float64)
    logs: FloatArray = np.log10(both)
    return logs[:, 1] - logs[:, 0]


def _nearest(
    frequencies: ConceptFrequencies, compared: Mapping[str, FloatArray], pretraining: str
) -> tuple[str, str]:
    if pretraining != "auto":
        if pretraining not in PRETRAINING_SAMPLES:
            reference_frequencies(pretraining)
        return pretraining, "as asked for"
    folded = "".join(c for c in frequencies.source.casefold() if c.isalnum())
    for name in PRETRAINING_SAMPLES:
        if name in folded:
            return name, f"your data are called {frequencies.source!r}"
    usable = {name: d for name, d in compared.items() if len(d) >= MIN_SHARED}
    if not usable:
        raise DataError(
            f"Fewer than {MIN_SHARED} of your concepts are class names with published counts, so "
            "no published setting can be told to be near. Choose one with --pretraining: "
            f"{', '.join(PRETRAINING_SAMPLES)}."
        )
    # Synthetic captions make frequencies of another kind; never a match of size alone.
    sized = {name: abs(float(np.median(d))) for name, d in usable.items() if name != "synthci30m"}
    best = min(sized, key=lambda name: sized[name])
    return best, f"nearest in scale, {len(usable[best]):,} class names in common"
