"""Which concepts may be selected at all: well counted, unambiguous, of a kind."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pandas as pd

from conceptaudit.display import quantity
from conceptaudit.errors import ConfigError
from conceptaudit.frequency.intervals import normal_reach
from conceptaudit.options.longtail import LongTailOptions
from conceptaudit.records import ConceptFrequencies

Mask = npt.NDArray[np.bool_]

COUNT_ERROR, SENSES, REJECTED_SHARE = "count_error", "n_senses", "text_rejected_share"
FILTER_COLUMNS = (COUNT_ERROR, SENSES, REJECTED_SHARE)
"""Columns of a selection that say how far a count can be trusted, where the audit knows."""


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
