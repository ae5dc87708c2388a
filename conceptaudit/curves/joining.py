"""Join of frequencies with accuracies by concept name, with an account of every name.

Names are compared as they are first and only then through `normalise_name`; a name that is on
one side only is listed, one that could mean two rows is refused. Position is never identity.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import special

from conceptaudit.counts import AUTO_COUNT, BOTH, available_counts, choose_count, counts_of
from conceptaudit.curves.count_errors import expected_counts
from conceptaudit.curves.records import FOLDED_COLUMNS, UNMATCHED_COLUMNS
from conceptaudit.curves.statistics import FloatArray
from conceptaudit.display import quantity
from conceptaudit.errors import ConfigError, DataError
from conceptaudit.names import name_keys, normalise_name
from conceptaudit.records import (
    ACCURACY_COLUMNS,
    ConceptAccuracies,
    ConceptFrequencies,
)

KEY_COLUMNS = ("model", "pretraining", "metric")  # columns that tell one fit from another


def check_accuracies(accuracies: ConceptAccuracies) -> None:
    """Refuse rows that contradict themselves or each other."""
    table = accuracies.table
    correct = pd.to_numeric(table["n_correct"]).astype("Float64")
    images = pd.to_numeric(table["n_images"]).astype("Float64")
    impossible = ((correct > images) | (correct < 0) | (images < 0)).fillna(value=False)
    if bool(impossible.any()):
        row = table[impossible.to_numpy(dtype=bool)].iloc[0]
        raise DataError(
            f"n_correct must lie between 0 and n_images. Got n_correct = {row['n_correct']} and "
            f"n_images = {row['n_images']} for concept {row['concept']!r} of {row['dataset']!r}, "
            f"model {row['model']!r} instead."
        )
    repeated = table.duplicated([*KEY_COLUMNS, "dataset", "concept"])
    if bool(repeated.any()):
        row = table[repeated].iloc[0]
        raise DataError(
            "Each concept must have one accuracy per model, pretraining, dataset and metric. Got "
            f"{row['concept']!r} of {row['dataset']!r} twice for model {row['model']!r} "
            f"({quantity(int(repeated.sum()), 'repeated row')}). Were the same results read twice?"
        )


def numbers(values: pd.Series[Any]) -> FloatArray:
    """Turn a column of counts into float64, NaN where it is NA."""
    floats = pd.to_numeric(values).astype("Float64").to_numpy(np.float64, na_value=np.nan)
    return floats.astype(np.float64)


# A count, the ends of its 90 % interval, and what was counted where that was in a sample only.
COUNTED = ("count", "count_low", "count_high", "counted")
LEVEL = 0.9  # level of the intervals that a curve keeps
DUPLICATE_POLICIES = ("refuse", "sum", "first")


@dataclass(frozen=True, slots=True, kw_only=True)
class Joined:
    """Accuracies with the frequency of their concept."""

    # one row per accuracy whose concept has a frequency row: ``model, pretraining, metric, dataset,
    # concept, accuracy, n_images, count, count_low, count_high, counted``; count is NaN where that
    # side was not counted, its ends where they are not known or not an error. Of a sample ``count``
    # is what is expected of the whole, and ``counted`` the sample's own
    table: pd.DataFrame = field(repr=False)
    # names on one side only: ``side, dataset, concept``
    unmatched: pd.DataFrame = field(repr=False)
    # names that met only after folding: ``dataset, concept, matched``
    folded: pd.DataFrame = field(repr=False)
    count: str  # the count column used
    notes: tuple[str, ...]


def join(
    frequencies: ConceptFrequencies,
    accuracies: ConceptAccuracies,
    *,
    count: str = "auto",
    aliases: Mapping[str, str] | None = None,
    duplicates: str = "refuse",
) -> Joined:
    """Join by concept, and by evaluation set where both sides name it."""
    if duplicates not in DUPLICATE_POLICIES:
        raise ConfigError(
            f"The 'duplicates' parameter of join must be one of {list(DUPLICATE_POLICIES)}. "
            f"Got {duplicates!r} instead."
        )
    choice = choose_count(frequencies, count)
    column = choice.column
    check_accuracies(accuracies)
    by_dataset = _joins_by_dataset(frequencies, accuracies)
    counts, notes = _count_rows(frequencies, column, by_dataset, duplicates)
    if count == AUTO_COUNT and len(available_counts(frequencies)) > 1:
        notes.insert(0, choice.note)
    names = dict.fromkeys((*KEY_COLUMNS, "dataset", "concept"), "str")
    scores = accuracies.table[list(ACCURACY_COLUMNS)].astype(names)
    pairs = scores[["dataset", "concept"]].drop_duplicates()
    finder = _Finder(counts, dict(aliases or {}))
    rows = np.array(
        [
            finder.find(normalise_name(dataset) if by_dataset else "", dataset, concept)
            for dataset, concept in pairs.itertuples(index=False)
        ],
        dtype=np.intp,
    )
    found = rows >= 0
    chosen = {name: counts[name].to_numpy()[rows[found]] for name in COUNTED}
    matched = pairs[found].assign(**chosen)
    if frequencies.share < 1.0:
        matched = _of_the_whole(matched, frequencies.share)
        notes.append(sample_note(frequencies.share))
    table = scores.merge(matched, on=["dataset", "concept"], how="inner")
    if finder.folds:
        _, concept, name = finder.folds[0]
        notes.append(
            f"{quantity(len(finder.folds), 'concept name')} matched only after case, spaces, "
            f"underscores and hyphens were folded, such as {concept!r} with {name!r}."
        )
    missing = pairs[~found].assign(side="accuracies")
    unused = np.setdiff1d(np.arange(len(counts)), rows[found])
    spare = counts.iloc[unused][["dataset", "concept"]].assign(side="frequencies")
    if len(missing):
        notes.append(
            f"Without a frequency row: {quantity(len(missing), 'concept')} with an accuracy."
        )
    if len(spare):
        notes.append(f"Without an accuracy: {quantity(len(spare), 'concept')} with a frequency.")
    table = table.assign(n_images=numbers(table["n_images"]))
    columns = [*KEY_COLUMNS, "dataset", "concept", "accuracy", "n_images", *COUNTED]
    return Joined(
        table=table[columns],
        unmatched=pd.concat([missing, spare], ignore_index=True)[list(UNMATCHED_COLUMNS)],
        folded=pd.DataFrame(finder.folds, columns=list(FOLDED_COLUMNS), dtype="str"),
        count=column,
        notes=tuple(notes),
    )


def sample_note(share: float) -> str:
    """Write the note on what became of counts of a sample."""
    return (
        f"Counts are of a sample of {share:.3g} of the data: each was replaced by what is expected "
        "of the whole, given the counts of all concepts."
    )


def _of_the_whole(matched: pd.DataFrame, share: float) -> pd.DataFrame:
    """Replace the counts of a sample by those expected of the whole, dataset by dataset."""
    dataset, _ = pd.factorize(matched["dataset"], sort=True)
    counts = matched["count"].to_numpy(np.float64)
    expected = expected_counts(counts, dataset.astype(np.intp), share)
    # An expectation has no error left that would flatten a slope.
    return matched.assign(count=expected.count, count_low=np.nan, count_high=np.nan)


class _Finder:
    """Finds the frequency row of a name: alias, then the name as it is, then normalised."""

    def __init__(self, counts: pd.DataFrame, aliases: Mapping[str, str]) -> None:
        self.exact: dict[tuple[str, str], int] = {}
        self.folded: dict[tuple[str, str], list[int]] = {}
        self.names = counts["concept"].tolist()
        self.aliases = aliases
        self.folds: list[tuple[str, str, str]] = []
        for row, (key, name) in enumerate(zip(counts["key"], self.names, strict=True)):
            self.exact[key, name] = row
            self.folded.setdefault((key, normalise_name(name)), []).append(row)

    def find(self, key: str, dataset: str, concept: str) -> int:
        """Return the row, or -1 where there is none."""
        name = self.aliases.get(concept, concept)
        row = self.exact.get((key, name))
        if row is not None:
            return row
        rows = self.folded.get((key, normalise_name(name)), [])
        if len(rows) > 1:
            raise DataError(
                f"The concept {concept!r} of {dataset!r} could be any of "
                f"{[self.names[row] for row in rows]} in the frequencies. Spell it as one of them, "
                "or say which with aliases."
            )
        if rows:
            self.folds.append((dataset, concept, self.names[rows[0]]))
        return rows[0] if rows else -1


def _joins_by_dataset(frequencies: ConceptFrequencies, accuracies: ConceptAccuracies) -> bool:
    if "dataset" not in frequencies.table:
        return False
    datasets = frequencies.table["dataset"]
    if bool(datasets.isna().any()):
        row = int(np.flatnonzero(datasets.isna().to_numpy())[0])
        raise DataError(
            f"The 'dataset' column of a frequency table must be filled in every row. Row {row} "
            f"(concept {frequencies.table['concept'].iloc[row]!r}) has none."
        )
    return any(str(name) for name in accuracies.table["dataset"].unique())


def _count_rows(
    frequencies: ConceptFrequencies, column: str, by_dataset: bool, duplicates: str
) -> tuple[pd.DataFrame, list[str]]:
    """Reduce the frequencies to unique (key, concept) rows: key, dataset, concept, count."""
    table = frequencies.table
    for one in column.split(BOTH):
        given = numbers(table[one])
        impossible = np.isinf(given) | (given < 0)
        if impossible.any():
            position = int(np.flatnonzero(impossible)[0])
            raise DataError(
                f"Counts must be finite and not negative. Got {one} = {given[position]} for "
                f"{table['concept'].iloc[position]!r} (row {position}) instead."
            )
    datasets = _texts(table["dataset"]) if by_dataset else [""] * len(table)
    rows = pd.DataFrame(
        {
            "key": name_keys(datasets),
            "dataset": datasets,
            "concept": _texts(table["concept"]),
            "count": counts_of(frequencies, column),
            "count_low": _end(frequencies, column, "low"),
            "count_high": _end(frequencies, column, "high"),
        }
    )
    rows["counted"] = rows["count"]
    sampling = _is_poisson(rows, frequencies, column)
    rows.loc[sampling, ["count_low", "count_high"]] = np.nan
    repeated = rows.duplicated(["key", "concept"])
    if not bool(repeated.any()):
        return rows, []
    if duplicates == "refuse":
        row = rows[repeated].iloc[0]
        where = f" of {row['dataset']!r}" if row["dataset"] else ""
        raise DataError(
            f"Each concept must have one frequency row. Got {row['concept']!r}{where} more than "
            f"once ({quantity(int(repeated.sum()), 'repeated row')}). Remove them, or choose what "
            "they mean with duplicates='sum' or duplicates='first'."
        )
    groups = rows.groupby(["key", "concept"], sort=False)
    summed, first = groups[list(COUNTED)].sum(min_count=1), groups[["dataset", *COUNTED]].first()
    merged = (first.assign(**summed) if duplicates == "sum" else first).reset_index()
    return merged, [
        f"{int(repeated.sum()):,} repeated frequency rows were merged (duplicates={duplicates!r})."
    ]


def _is_poisson(
    rows: pd.DataFrame, frequencies: ConceptFrequencies, column: str
) -> npt.NDArray[np.bool_]:
    """Whether an interval is that of drawing samples: no error of a count of all samples."""
    if f"{column}_high" not in frequencies.table:
        return np.zeros(len(rows), dtype=bool)
    given = numbers(frequencies.table[f"{column}_high"])
    count = rows["count"].to_numpy(np.float64)
    high = special.gammaincinv(np.maximum(count, 0.0) + 1.0, (1 + frequencies.level) / 2)
    return np.asarray(np.isclose(given, high, rtol=1e-3), dtype=np.bool_)


def _end(frequencies: ConceptFrequencies, column: str, end: str) -> FloatArray:
    """One end of the counts' 90 % intervals, NaN where there is none.

    An interval of another level is scaled to that of 90 % on the axis of a curve, log(1 + count).
    """
    table, name = frequencies.table, f"{column}_{end}"
    if name not in table:
        return np.full(len(table), np.nan)
    found = numbers(table[name])
    if frequencies.level == LEVEL:
        return found
    ratio = float(special.ndtri((1 + LEVEL) / 2) / special.ndtri((1 + frequencies.level) / 2))
    count = np.log1p(numbers(table[column]))
    scaled: FloatArray = np.expm1(count + ratio * (np.log1p(np.maximum(found, 0.0)) - count))
    return np.maximum(scaled, 0.0)


def _texts(values: Iterable[object]) -> list[str]:
    return [str(value) for value in values]


def frequencies_of(source: ConceptFrequencies | pd.DataFrame) -> ConceptFrequencies:
    """Take frequencies as they are, or a table with ``concept`` and counts."""
    return ConceptFrequencies(source) if isinstance(source, pd.DataFrame) else source


def accuracies_of(source: ConceptAccuracies | pd.DataFrame) -> ConceptAccuracies:
    """Take accuracies as they are, or a table with ``concept`` and a score in [0, 1].

    A table may leave out ``model``, ``pretraining``, ``dataset`` and ``metric``, and may have
    ``acc1``, or ``n_correct`` and ``n_images``, in place of ``accuracy``.
    """
    if not isinstance(source, pd.DataFrame):
        return source
    table = source.rename(columns={} if "accuracy" in source else {"acc1": "accuracy"})
    if "concept" not in table:
        raise DataError(
            f"An accuracy table must have a column 'concept'. Got {list(source)} instead."
        )
    if "accuracy" not in table:
        if not {"n_correct", "n_images"} <= set(table):
            raise DataError(
                "An accuracy table must have 'accuracy', 'acc1', or 'n_correct' and 'n_images'. "
                f"Got {list(source)} instead."
            )
        table = table.assign(accuracy=table["n_correct"] / table["n_images"])
    table = table.copy()
    absent = {"model": "model", "pretraining": "", "dataset": "", "metric": "accuracy"}
    for column, value in absent.items():
        if column not in table:
            table[column] = value
    for column in ("n_correct", "n_images"):
        if column not in table:
            table[column] = pd.array([pd.NA] * len(table), dtype="Int64")
    return ConceptAccuracies(table.astype({"n_correct": "Int64", "n_images": "Int64"}))
