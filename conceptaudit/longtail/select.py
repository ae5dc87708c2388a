"""Which concepts the set is about: the rare ones, by a rule or by hand."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from conceptaudit.counts import CORRECTED_COLUMNS, available_counts, choose_count, counts_of
from conceptaudit.display import quantity
from conceptaudit.errors import ConfigError, DataError
from conceptaudit.frequency.intervals import normal_reach
from conceptaudit.longtail.safe_filenames import csv_text
from conceptaudit.options.longtail import DEFAULT_K, LongTailOptions
from conceptaudit.options.shared import AUTO
from conceptaudit.records import (
    FREQUENCY_COLUMNS,
    ConceptFrequencies,
    Int64Array,
)

Mask = npt.NDArray[np.bool_]

COUNT_ERROR, SENSES, REJECTED_SHARE = "count_error", "n_senses", "text_rejected_share"
# Columns of a selection that say how far a count can be trusted, where the audit knows.
FILTER_COLUMNS = (COUNT_ERROR, SENSES, REJECTED_SHARE)

COLUMNS = ("concept", *FREQUENCY_COLUMNS, *FILTER_COLUMNS, "stratum", "why")
ZERO_STRATUM = 0
PINNED = "pinned"


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """The concepts of a long-tail set.

    Parameters
    ----------
    table : pandas.DataFrame
        ``concept``, ``n_text``, ``n_image``, ``n_joint`` (NA where not counted), ``count_error``,
        ``n_senses``, ``text_rejected_share`` (where known), ``stratum`` (NA where none were drawn)
        and ``why``; one row per concept, rarest first.
    notes : tuple of str
        What the user should know about the choice.
    """

    table: pd.DataFrame
    notes: tuple[str, ...] = ()

    @property
    def concepts(self) -> tuple[str, ...]:
        """The names, in order."""
        return tuple(self.table["concept"])


def select_concepts(
    frequencies: ConceptFrequencies, options: LongTailOptions | None = None
) -> Selection:
    """Choose rare concepts by their counts.

    Parameters
    ----------
    frequencies : ConceptFrequencies
        One row per concept.
    options : LongTailOptions, optional
        Of which `count`, `k`, `below`, `quantile`, `strata`, `pins`, `exclusions`,
        `include_zero`, `seed` and the filters (see `apply_filters`) matter here; pins
        pass every filter.

    Raises
    ------
    ConfigError
        A pinned or excluded concept is not in the audit, the audit has not counted the side
        asked for, or the rule leaves no concept.

    Examples
    --------
    >>> table = pd.DataFrame({"concept": ["cat", "dhole", "yeti"], "n_text": [900, 3, 0]})
    >>> select_concepts(ConceptFrequencies(table), LongTailOptions(k=1)).concepts
    ('dhole',)
    """
    options = options or LongTailOptions()
    choice = choose_count(frequencies, options.count)
    column = choice.column
    table = frequencies.table
    names = table["concept"].tolist()
    for what, given in (("pins", options.pins), ("exclusions", options.exclusions)):
        for name in given:
            if name not in names:
                raise ConfigError(
                    f"The '{what}' parameter must name concepts of the audit. Got {name!r} "
                    f"instead{close_name(name, names)}."
                )
    both = sorted(set(options.pins) & set(options.exclusions))
    if both:
        raise ConfigError(f"Concepts cannot be pinned and excluded at once. Got {both} as both.")
    counts = counts_of(frequencies, column)
    apart = {*options.pins, *options.exclusions}
    free = np.array([name not in apart for name in names], dtype=bool)
    allowed, told = apply_filters(frequencies, column, options)
    rows = np.flatnonzero(free & allowed & (counts >= 0 if options.include_zero else counts > 0))
    chosen, reasons, notes = _by_rule(counts, rows, column, options)
    if options.count == AUTO and len(available_counts(frequencies)) > 1:
        notes = [choice.note, *notes]
    notes = [*told, *notes]
    pinned = [names.index(name) for name in dict.fromkeys(options.pins)]
    reasons |= dict.fromkeys(pinned, (None, PINNED))
    if not reasons:
        raise ConfigError(
            f"No concept is left to select: {int((counts == 0).sum())} of {len(names)} have a "
            f"{column} of zero, {int(np.isnan(counts).sum())} were not counted and "
            f"{int((~allowed).sum())} pass no filter. Relax --below, --quantile or the filters, "
            "add --include-zero, or name another --count."
        )
    order = sorted(reasons, key=lambda row: (np.nan_to_num(counts[row], nan=-1.0), names[row]))
    wanted = options.k
    if wanted is not None and len(chosen) < wanted:
        notes.append(f"{wanted} concepts were asked for; the rule leaves {len(chosen)}.")
    return Selection(
        table=selection_table(frequencies, order, [reasons[row] for row in order], column),
        notes=tuple(notes),
    )


def _by_rule(
    counts: npt.NDArray[np.floating],
    rows: Int64Array,
    column: str,
    options: LongTailOptions,
) -> tuple[Int64Array, dict[int, tuple[int | None, str]], list[str]]:
    """Apply the filters and then the draw; return rows, their (stratum, why), and notes."""
    filters = []
    if options.quantile is not None and len(rows):
        limit = float(np.quantile(counts[rows], options.quantile))
        rows = rows[counts[rows] <= limit]
        filters.append(f"in the lowest {options.quantile:.0%} ({column} <= {limit:g})")
    if options.below is not None:
        rows = rows[counts[rows] < options.below]
        filters.append(f"{column} < {options.below}")
    k = options.k if options.k is not None else (len(rows) if filters else DEFAULT_K)
    rng = np.random.default_rng(options.seed)
    if options.strata is not None:
        chosen, strata, labels = _stratified(counts, rows, k, options.strata, rng)
        why = [", ".join([*filters, f"{column} {label}"]) for label in labels]
        found = zip(strata, why, strict=True)
        return chosen, dict(zip(chosen.tolist(), found, strict=True)), []
    shuffled = rows[rng.permutation(len(rows))]
    chosen = shuffled[np.argsort(counts[shuffled], kind="stable")][:k]
    notes = []
    if 0 < len(chosen) < len(rows):
        edge = counts[chosen[-1]]
        tied, taken = int((counts[rows] == edge).sum()), int((counts[chosen] == edge).sum())
        if taken < tied:
            notes.append(
                f"{tied} concepts share the {column} {edge:g} at the edge of the selection; "
                f"{taken} of them were drawn with seed {options.seed}."
            )
    why_all = ", ".join([*filters, f"among the {len(chosen)} with the lowest {column}"])
    return chosen, {int(row): (None, why_all) for row in chosen}, notes


def _stratified(
    counts: npt.NDArray[np.floating],
    rows: Int64Array,
    k: int,
    n_strata: int,
    rng: np.random.Generator,
) -> tuple[Int64Array, list[int], list[str]]:
    """Draw one concept from each stratum in turn until `k` are drawn; zeros are a stratum."""
    values = counts[rows]
    positive = np.log10(values[values > 0])
    low, high = (positive.min(), positive.max()) if len(positive) else (0.0, 0.0)
    edges = np.linspace(low, high, n_strata + 1)
    bins = np.full(len(rows), ZERO_STRATUM)
    bins[values > 0] = 1 + np.clip(
        np.searchsorted(edges, positive, side="right") - 1, 0, n_strata - 1
    )
    queues = {
        int(stratum): list(rng.permutation(rows[bins == stratum])) for stratum in np.unique(bins)
    }
    drawn: list[tuple[int, int]] = []
    while len(drawn) < k and any(queues.values()):
        for stratum, queue in queues.items():
            if queue and len(drawn) < k:
                drawn.append((int(queue.pop()), stratum))
    labels = {ZERO_STRATUM: "0"} | {
        i: f"from {10 ** edges[i - 1]:.4g} to {10 ** edges[i]:.4g}" for i in range(1, n_strata + 1)
    }
    return (
        np.array([row for row, _ in drawn], dtype=np.int64),
        [stratum for _, stratum in drawn],
        [labels[stratum] for _, stratum in drawn],
    )


def selection_table(
    frequencies: ConceptFrequencies,
    rows: Sequence[int],
    found: Sequence[tuple[int | None, str]],
    column: str,
) -> pd.DataFrame:
    """Lay out the selected rows of a frequency table with their (stratum, why).

    `column` is the count whose error is told.
    """
    chosen = frequencies.table.iloc[list(rows)]
    table = pd.DataFrame({"concept": pd.Series(chosen["concept"].tolist(), dtype="str")})
    for name in FREQUENCY_COLUMNS:
        values = chosen[name].tolist() if name in chosen else [pd.NA] * len(table)
        table[name] = pd.array(values, dtype="Int64")
    if column in CORRECTED_COLUMNS:
        table[column] = counts_of(frequencies, column)[list(rows)].round(1)
    errors = count_errors(frequencies, column)[list(rows)]
    table[COUNT_ERROR] = np.round(np.where(np.isfinite(errors), errors, np.nan), 4)
    for name in (SENSES, REJECTED_SHARE):
        values = chosen[name].tolist() if name in chosen else [pd.NA] * len(table)
        table[name] = pd.array(values, dtype="Int64" if name == SENSES else "Float64")
    table["stratum"] = pd.array([stratum for stratum, _ in found], dtype="Int64")
    table["why"] = pd.Series([why for _, why in found], dtype="str")
    return table


def close_name(name: str, names: Sequence[str]) -> str:
    """Suggest a name that was perhaps meant, in brackets; empty where none is close."""
    close = get_close_matches(name, names, n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""


def count_errors(frequencies: ConceptFrequencies, column: str) -> npt.NDArray[np.float64]:
    """Half the width of each count's 90 % interval as a share of the count, shape (n_concepts,).

    An audit at another level has its intervals scaled to it.

    Infinite for counts of zero, NaN where the audit has no count or no interval.

    >>> table = pd.DataFrame(
    ...     {"concept": ["a"], "n_text": [50], "n_text_low": [39.0], "n_text_high": [63.0]}
    ... )
    >>> count_errors(ConceptFrequencies(table), "n_text").tolist()
    [0.24]
    """
    table = frequencies.table
    ends = [f"{column}_low", f"{column}_high"]
    if not set(ends) <= set(table):
        return np.full(len(table), np.nan)
    count, low, high = (_numbers(table[name]) for name in (column, *ends))
    with np.errstate(divide="ignore", invalid="ignore"):
        errors = np.where(count == 0, np.inf, (high - low) / 2.0 / count)
    return np.asarray(errors * (normal_reach() / normal_reach(frequencies.level)))


def apply_filters(
    frequencies: ConceptFrequencies, column: str, options: LongTailOptions
) -> tuple[Mask, list[str]]:
    """Tell which concepts pass the filters, and how many each one leaves out.

    Shapes: result (n_concepts,).
    """
    allowed = np.ones(len(frequencies.table), dtype=bool)
    notes = []
    for name, passes, unknown in _filters(frequencies, column, options):
        dropped = int((allowed & ~passes).sum())
        note = f"{name} leaves out {dropped:,} of {quantity(int(allowed.sum()), 'concept')}."
        if unknown:
            note = f"{note[:-1]}; of {unknown:,} it cannot tell, and keeps them."
        notes.append(note)
        allowed &= passes
    return allowed, notes


def _filters(
    frequencies: ConceptFrequencies, column: str, options: LongTailOptions
) -> Iterator[tuple[str, Mask, int]]:
    """Each filter as (what it is called, which concepts pass, of how many it cannot tell)."""
    if options.max_count_error is not None:
        errors = count_errors(frequencies, column)
        if np.isnan(errors).all():
            raise ConfigError(f"--max-count-error needs the interval of {column}, {_LACKS}.")
        yield f"--max-count-error {options.max_count_error:g}", errors <= options.max_count_error, 0
    for flag, limit, name in (
        ("--max-senses", options.max_senses, SENSES),
        ("--max-rejected-share", options.max_rejected_share, REJECTED_SHARE),
    ):
        if limit is not None:
            if name not in frequencies.table:
                raise ConfigError(f"{flag} needs the column {name!r}, {_LACKS}.")
            values = _numbers(frequencies.table[name])
            unknown = np.isnan(values)
            yield f"{flag} {limit:g}", unknown | (values <= limit), int(unknown.sum())
    if options.under:
        yield f"--under {', '.join(options.under)}", *_under(frequencies, options.under)


_LACKS = (
    "which the audit does not have. Audit captions again with this version of conceptaudit, "
    "or leave the filter out"
)


def _under(frequencies: ConceptFrequencies, parents: tuple[str, ...]) -> tuple[Mask, int]:
    """Concepts one of whose senses is a kind of a parent; unknown ones are left out."""
    from conceptaudit.text.wordnet import is_hyponym_of, senses_of

    for parent in parents:
        if not senses_of(parent):
            raise ConfigError(
                f"The 'under' parameter must name nouns of Open English WordNet. Got {parent!r} "
                "instead."
            )
    table = frequencies.table
    synsets = table["synset"].tolist() if "synset" in table else [None] * len(table)
    passes = [
        any(
            is_hyponym_of(name, parent, synset if isinstance(synset, str) else None)
            for parent in parents
        )
        for name, synset in zip(table["concept"], synsets, strict=True)
    ]
    return np.array(passes, dtype=bool), 0


def _numbers(column: pd.Series[float]) -> npt.NDArray[np.float64]:
    numbers = pd.to_numeric(column).astype("Float64")
    return np.asarray(numbers.to_numpy(dtype=float, na_value=np.nan))


def read_selection(
    path: str | Path, frequencies: ConceptFrequencies, *, count: str = AUTO
) -> Selection:
    """Read a selection that a person may have edited.

    Only the column ``concept`` is needed; ``stratum`` and ``why`` are kept where they are there,
    and the counts are taken from the audit; `count` says whose error is told, as
    `LongTailOptions.count` does.

    Raises
    ------
    DataError
        The file cannot be read, has no ``concept`` column or no row, or names a concept that the
        audit does not know.
    """
    fields, rows = edited_rows(Path(path), "the selection")
    if "concept" not in fields:
        raise DataError(f"{path} must have a column 'concept'. Got {fields} instead.")
    rows = [(line, row) for line, row in rows if row["concept"].strip()]
    if not rows:
        raise DataError(f"{path} names no concept.")
    names = frequencies.table["concept"].tolist()
    known = {name: row for row, name in enumerate(names)}
    known |= {csv_text(name): row for row, name in enumerate(names)}
    order: dict[int, tuple[int | None, str]] = {}
    notes = []
    for line, row in rows:
        name = row["concept"]
        found = known.get(name, known.get(name.strip()))
        if found is None:
            raise DataError(
                f"Line {line} of {path} names {name!r}, which is not a concept of the audit"
                f"{close_name(name, names)}."
            )
        if found in order:
            notes.append(f"{name!r} stands in {path} more than once (line {line}).")
            continue
        stratum = row.get("stratum") or ""
        order[found] = (
            int(stratum) if stratum.isascii() and stratum.isdigit() and len(stratum) < 10 else None,
            row.get("why") or "in the selection file",
        )
    return Selection(
        table=selection_table(
            frequencies, list(order), list(order.values()), choose_count(frequencies, count).column
        ),
        notes=tuple(notes),
    )


def edited_rows(path: Path, what: str) -> tuple[list[str], list[tuple[int, dict[str, str]]]]:
    """Read a CSV file that a person may have edited: its columns, and its rows with their lines."""
    try:
        text = path.read_text(encoding="utf-8-sig")  # spreadsheets add a byte order mark
        header = text.split("\n", 1)[0]
        # and write semicolons where the comma is the decimal mark
        mark = ";" if "," not in header and ";" in header else ","
        reader = csv.DictReader(
            io.StringIO(text, newline=""), delimiter=mark, restval="", strict=True
        )
        fields = [name.strip().lower() for name in reader.fieldnames or []]
        reader.fieldnames = fields
        return fields, [(reader.line_num, row) for row in reader]
    except (OSError, ValueError, csv.Error) as error:
        raise DataError(f"Cannot read {what} {path}: {error}.") from error
