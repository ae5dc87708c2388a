"""Curves for those who have frequencies and no evaluation: the published ones.

A user's audit is compared with the pretraining sets that have published counts and models, and the
one whose counts of shared class names are nearest in scale is taken. Several groups counted some
of them: `frequency.reference` says which counts stand for a corpus, by held-out accuracy. Text
counts of a name are the same in every evaluation set, so they also serve sets that their authors
did not count.

References
----------
Udandarao et al., "No 'Zero-Shot' Without Exponential Data", arXiv 2404.04125; accuracies from
bethgelab/frequency_determines_performance (MIT, see ``NOTICE``), packed by
``scripts/package_data/make_reference.py``. Counts: see `frequency.reference`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd

from conceptaudit.counts import AUTO_COUNT, CORRECTED_COLUMNS, choose_count
from conceptaudit.curves.curve import Curve
from conceptaudit.curves.fitting import fit_curve
from conceptaudit.curves.joining import numbers
from conceptaudit.curves.statistics import FloatArray
from conceptaudit.display import quantity
from conceptaudit.errors import ConfigError, DataError
from conceptaudit.frequency.reference import (
    reference_counts,
    reference_frequencies,
    registry,
)
from conceptaudit.names import name_keys
from conceptaudit.records import ConceptAccuracies, ConceptFrequencies

PACKED = Path(__file__).parent / "data" / "published.parquet"

# Accuracies of classes whose number of test images is unknown are kept in these parts.
SCALE = 10_000


@cache
def _packed() -> pd.DataFrame:
    return pd.read_parquet(PACKED)


def reference_accuracies(pretraining: str | None = None) -> ConceptAccuracies:
    """Return the published accuracies (ensemble prompts), of the models of one pretraining set."""
    table, parts = _packed(), []
    known = table["n_images"].to_numpy(np.int64)
    units = np.where(known > 0, known, SCALE)
    for column in table.columns[table.columns.str.startswith("correct ")]:
        origin, model = column.removeprefix("correct ").split("/")
        if pretraining not in {None, origin}:
            continue
        correct = table[column].to_numpy(np.int64)
        parts.append(
            table[["dataset", "concept"]].assign(
                model=model,
                pretraining=origin,
                n_correct=pd.array(correct, dtype="Int64"),
                n_images=pd.array(known, dtype="Int64"),
                accuracy=correct / units,
                metric="accuracy_ensemble",
            )
        )
    if not parts:
        raise ConfigError(
            f"The 'pretraining' parameter must name a set with published models. Got "
            f"{pretraining!r} instead."
        )
    merged = pd.concat(parts, ignore_index=True)
    sized = merged["n_images"] > 0
    merged[["n_correct", "n_images"]] = merged[["n_correct", "n_images"]].where(sized)
    return ConceptAccuracies(merged, ("Published accuracies, arXiv 2404.04125, MIT.",))


# Pretraining sets with published counts and models.
PRETRAININGS = ("cc3m", "cc12m", "yfcc15m", "synthci30m", "laion400m", "laion2b")
MIN_SHARED = 20  # shared class names with counts above zero below which scales cannot be compared

OF_OTHERS = (
    "No evaluation of yours is in this: the curve is of published models (arXiv 2404.04125). Give "
    "measured accuracies to `conceptaudit fit`, or anchors, for anything that matters."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """A published curve chosen for a user's frequencies."""

    curve: Curve
    # the user's, as a share of the published scale if that was asked for
    frequencies: ConceptFrequencies
    pretraining: str  # the published pretraining set
    # from the user's counts to the published ones, median over shared names; NaN where unknown
    factor: float
    # half of the middle 50 % of the differences in scale, in decades; NaN where unknown
    spread: float
    notes: tuple[str, ...]  # what was chosen and why, for whoever reads the predictions


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

    For ``predict(reference.curve, reference.frequencies, same_model=False)``.
    """
    column = choose_count(frequencies, count).column
    if column in CORRECTED_COLUMNS and count == AUTO_COUNT:
        # published counts have no corrected columns: captions are what both sides have
        column = frequencies.counted[0]
    compared = {name: _difference(frequencies, name, column) for name in _settings(column)}
    notes = [OF_OTHERS]
    name, why = _nearest(frequencies, compared, pretraining)
    counts = reference_counts(name, column)
    notes.append(f"Published setting: {counts.corpus} ({why}); counts by {counts.by}.")
    difference = _difference(frequencies, name, column)
    factor, spread = float("nan"), float("nan")
    if len(difference) >= MIN_SHARED:
        factor = float(10.0 ** np.median(difference))
        spread = float(np.subtract(*np.quantile(difference, [0.75, 0.25])) / 2)
        done = "count as a sample of those" if rescale and factor > 1 else "were taken as they are"
        notes.append(
            f"Counts in {name} are {factor:.3g} times yours: median over {len(difference):,} class "
            f"names counted in both, give or take {spread:.2f} decades. Your {column} {done}."
        )
    elif rescale:
        raise DataError(
            "Counts cannot be rescaled: only "
            f"{quantity(len(difference), 'class name is', 'class names are')} counted above zero "
            f"both in your data and in {name}, and {MIN_SHARED} are needed."
        )
    else:
        notes.append(
            f"Only {quantity(len(difference), 'class name is', 'class names are')} counted above "
            f"zero in both your data and {name}: whether counts are on the same scale is unknown."
        )
    accuracies = reference_accuracies(counts.corpus)
    curve = fit_curve(
        counted_by_name(counts.frequencies(), accuracies), accuracies, count=column, seed=seed
    )
    if rescale and factor > 1.0:
        frequencies = replace(frequencies, share=frequencies.share / factor)
    return Reference(
        curve=curve,
        frequencies=frequencies,
        pretraining=counts.corpus,
        factor=factor,
        spread=spread,
        notes=tuple(notes),
    )


def _settings(column: str) -> list[str]:
    """Pretraining sets of which somebody published this count."""
    return [
        name
        for name in PRETRAININGS
        if any(one.corpus == name and column in one.columns for one in registry().values())
    ]


def counted_by_name(
    frequencies: ConceptFrequencies, accuracies: ConceptAccuracies
) -> ConceptFrequencies:
    """Add rows for evaluation sets that were not counted, from the same names in sets that were."""
    table = frequencies.table
    if frequencies.counted != ("n_text",):
        return frequencies
    scored = accuracies.table[["dataset", "concept"]].drop_duplicates()
    scored = scored[~scored["dataset"].isin(set(table["dataset"]))]
    counts = pd.Series(table["n_text"].to_numpy(), index=name_keys(table["concept"]))
    counts = counts[~counts.index.duplicated()]
    keys = name_keys(scored["concept"])
    added = scored.assign(n_text=counts.reindex(keys).to_numpy()).dropna()
    columns = ["dataset", "concept", "n_text"]
    both = pd.concat([table[columns], added[columns]], ignore_index=True)
    return replace(frequencies, table=both.astype({"n_text": "Int64"}))


def _difference(frequencies: ConceptFrequencies, name: str, column: str) -> FloatArray:
    """Decades from the user's count to the published one, for each class name in both."""
    published = reference_frequencies(name, column)
    mine, theirs = (
        pd.Series(numbers(side.table[column]), index=name_keys(side.table["concept"]))
        for side in (frequencies, published)
    )
    # a name of several sets counts once
    both = [side[side > 0].groupby(level=0).first() for side in (mine, theirs)]
    logs = np.log10(pd.concat(both, axis=1, join="inner").to_numpy(np.float64))
    return np.asarray(logs[:, 1] - logs[:, 0])


def _nearest(
    frequencies: ConceptFrequencies, compared: Mapping[str, FloatArray], pretraining: str
) -> tuple[str, str]:
    if pretraining != "auto":
        if pretraining.partition("/")[0] not in PRETRAININGS:
            raise ConfigError(
                f"--pretraining must be 'auto', one of {', '.join(PRETRAININGS)}, or counts of one "
                f"('conceptaudit reference list'). Got {pretraining!r} instead."
            )
        return pretraining, "as asked for"
    folded = "".join(c for c in frequencies.source.casefold() if c.isalnum())
    for name in compared:
        if name in folded:
            return name, f"your data are called {frequencies.source!r}"
    usable = {name: d for name, d in compared.items() if len(d) >= MIN_SHARED}
    if not usable:
        raise DataError(
            f"Fewer than {MIN_SHARED} of your concepts are class names with published counts, so "
            "no published setting can be told to be near. Choose one with --pretraining: "
            f"{', '.join(compared)}."
        )
    # Synthetic captions make frequencies of another kind; never a match of size alone.
    sized = {name: abs(float(np.median(d))) for name, d in usable.items() if name != "synthci30m"}
    best = min(sized, key=lambda name: sized[name])
    return best, f"nearest in scale, {quantity(len(usable[best]), 'class name')} in common"
