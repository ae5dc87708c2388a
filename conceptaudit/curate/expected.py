"""What a draw does to the counts: expected, with intervals, beside a random subset of that size."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from conceptaudit.artifacts import Json
from conceptaudit.curate.drawing import SUMS
from conceptaudit.frequency.intervals import normal_reach

FloatArray = npt.NDArray[np.float64]

GROUPS = ("head", "middle", "tail")

(EXPECTED, VARIANCE, WEIGHTED, WEIGHTED_VARIANCE, N_DRAWN, DRAWN_WEIGHT) = range(len(SUMS))


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawTotals:
    """The accounts of all shards of one run, added up.

    Parameters
    ----------
    concepts : dict of str to numpy.ndarray of float64, shape (6, n_concepts)
        By side; rows as `drawing.SUMS`.
    samples : numpy.ndarray of float64, shape (6,)
    both, agreeing, copies : numpy.ndarray of float64, shape (6,), or None
        Samples with concepts on both sides, with one in common, whose image is a copy.
    n_left, n_untagged, n_within, n_drawn : int
    """

    concepts: dict[str, FloatArray]
    samples: FloatArray
    both: FloatArray | None
    agreeing: FloatArray | None
    copies: FloatArray | None
    n_left: int
    n_untagged: int
    n_within: int
    n_drawn: int

    @classmethod
    def of(cls, records: Iterable[Json], n_concepts: int) -> DrawTotals:
        """Add up the records of `drawing.DrawShard`, in the order of shards."""
        concepts: dict[str, FloatArray] = {}
        sums: dict[str, FloatArray] = {}
        numbers = dict.fromkeys(("n_left", "n_untagged", "n_within", "n_drawn"), 0)
        for record in records:
            for name in numbers:
                numbers[name] += record[name]
            for side, (ids, values) in record["concepts"].items():
                total = concepts.setdefault(side, np.zeros((len(SUMS), n_concepts)))
                place = np.asarray(ids, dtype=np.intp)
                total[:, place] += np.asarray(values, dtype=np.float64).reshape(len(SUMS), -1)
            for name in ("samples", "both", "agreeing", "copies"):
                if name in record:
                    sums[name] = sums.get(name, np.zeros(len(SUMS))) + np.asarray(record[name])
        return cls(
            concepts=concepts,
            samples=sums.get("samples", np.zeros(len(SUMS))),
            both=sums.get("both"),
            agreeing=sums.get("agreeing"),
            copies=sums.get("copies"),
            **numbers,
        )

    def joined(self, other: DrawTotals, here: npt.NDArray[np.intp], n: int) -> DrawTotals:
        """Add the totals of another run, whose concepts have positions `here` among n of ours."""
        concepts = {}
        for side in self.concepts.keys() & other.concepts.keys():
            own = np.zeros((len(SUMS), n))
            own[:, : self.concepts[side].shape[1]] += self.concepts[side]
            own[:, here] += other.concepts[side]
            concepts[side] = own
        added: dict[str, Any] = {}
        for name in ("both", "agreeing", "copies"):
            a, b = getattr(self, name), getattr(other, name)
            added[name] = None if a is None or b is None else a + b
        numbers = ("n_left", "n_untagged", "n_within", "n_drawn")
        return DrawTotals(
            concepts=concepts,
            samples=self.samples + other.samples,
            **added,
            **{name: getattr(self, name) + getattr(other, name) for name in numbers},
        )


def join_totals(
    totals: Sequence[DrawTotals], places: Sequence[npt.NDArray[np.intp]], n: int
) -> DrawTotals:
    """Add the totals of the runs of a mixture, over the n concepts that all have."""
    taken = [
        replace(one, concepts={side: sums[:, place] for side, sums in one.concepts.items()})
        for one, place in zip(totals, places, strict=True)
    ]
    joined = taken[0]
    for other in taken[1:]:
        joined = joined.joined(other, np.arange(n), n)
    return joined


def after(sums: FloatArray, samples: FloatArray, *, sized: bool) -> tuple[FloatArray, FloatArray]:
    """Return what is expected after a draw, and its variance; shape (n,) each.

    Weights count as appearances: their mean is one, so that a sample of weight 2 is seen twice as
    often as the average of what is drawn.

    Parameters
    ----------
    sums : numpy.ndarray of float64, shape (6, n)
        See `drawing.SUMS`.
    samples : numpy.ndarray of float64, shape (6,)
        The same of all samples.
    sized : bool
        Whether exactly so many samples are drawn, which ties them together.
    """
    scale = samples[EXPECTED] / samples[WEIGHTED] if samples[WEIGHTED] else 0.0
    mean, variance = sums[WEIGHTED] * scale, sums[WEIGHTED_VARIANCE] * scale**2
    if sized and samples[VARIANCE] > 0:
        # given that exactly so many are drawn, as of jointly normal counts; weights are one here
        tied = sums[VARIANCE] / samples[VARIANCE]
        mean = mean + tied * (samples[N_DRAWN] - samples[EXPECTED])
        variance = variance - tied * sums[VARIANCE]
    return np.maximum(mean, 0.0), np.maximum(variance, 0.0)


def size_after(samples: FloatArray, *, sized: bool) -> float:
    """Return how many samples are expected after a draw, or are drawn where that is fixed."""
    return float(samples[N_DRAWN] if sized else samples[EXPECTED])


def random_subset(counts: FloatArray, n_all: float, n: float) -> tuple[FloatArray, FloatArray]:
    """Return what a random subset of n samples holds, and its (hypergeometric) variance."""
    share = n / n_all if n_all else 0.0
    spread = share * (1.0 - share) * (n_all - counts) / max(n_all - 1.0, 1.0)
    return counts * share, np.maximum(counts * spread, 0.0)


def concept_table(
    names: Sequence[str],
    before: FloatArray,
    sums: FloatArray,
    samples: FloatArray,
    n_before: int,
    *,
    sized: bool,
    level: float,
    ratio: FloatArray | None = None,
) -> pd.DataFrame:
    """Lay out counts before and after, concept by concept.

    Parameters
    ----------
    names : sequence of str
    before : numpy.ndarray of float64, shape (n_concepts,)
        Raw counts of all samples.
    sums, samples : numpy.ndarray of float64
        See `after`.
    n_before : int
        Samples before.
    sized : bool
    level : float
    ratio : numpy.ndarray of float64, shape (n_concepts,), or None
        Corrected over raw counts, where corrected counts are wanted: all columns are multiplied.

    Returns
    -------
    pandas.DataFrame
        ``concept, group, n_before, n_after, n_after_low, n_after_high, n_random, n_random_low,
        n_random_high, n_drawn``.
    """
    scale = np.ones(len(before)) if ratio is None else ratio
    reach = normal_reach(level)
    mean, variance = after(sums, samples, sized=sized)
    chance, spread = random_subset(before, n_before, size_after(samples, sized=sized))
    columns: dict[str, Any] = {
        "concept": pd.Series(list(names), dtype="str"),
        "group": pd.Series(groups(before * scale), dtype="str"),
        "n_before": before * scale,
    }
    for name, centre, square in (("after", mean, variance), ("random", chance, spread)):
        half = reach * np.sqrt(square)
        columns[f"n_{name}"] = centre * scale
        columns[f"n_{name}_low"] = np.maximum(centre - half, 0.0) * scale
        columns[f"n_{name}_high"] = (centre + half) * scale
    columns["n_drawn"] = drawn_counts(sums, samples) * scale
    return pd.DataFrame(columns)


def drawn_counts(sums: FloatArray, samples: FloatArray) -> FloatArray:
    """Return how often concepts are seen in what was drawn, by the weights there."""
    weight = samples[DRAWN_WEIGHT]
    scale = samples[N_DRAWN] / weight if weight else 0.0
    return np.asarray(sums[DRAWN_WEIGHT] * scale)


def groups(counts: FloatArray) -> list[str]:
    """Call each concept head, middle or tail: thirds of those that occur, by count; else ``""``.

    Examples
    --------
    >>> groups(np.array([100.0, 10.0, 1.0, 0.0]))
    ['head', 'middle', 'tail', '']
    """
    occurring = np.flatnonzero(counts > 0)
    order = occurring[np.argsort(-counts[occurring], kind="stable")]
    result = [""] * len(counts)
    for group, rows in zip(GROUPS, np.array_split(order, len(GROUPS)), strict=True):
        for row in rows.tolist():
            result[row] = group
    return result


def summary_table(
    table: pd.DataFrame, totals: DrawTotals, n_before: int, before: Json, *, sized: bool
) -> pd.DataFrame:
    """Say what a draw does to the set as a whole.

    Parameters
    ----------
    table : pandas.DataFrame
        As `concept_table`.
    totals : DrawTotals
    n_before : int
        Samples before.
    before : dict
        Shares before by name (``misaligned``, ``copies``); None where unknown.
    sized : bool

    Returns
    -------
    pandas.DataFrame
        ``what, before, after, random``: numbers of samples, shares of matches by group, and shares
        of samples. A random subset leaves shares as they are.
    """
    n_after = size_after(totals.samples, sized=sized)
    rows: list[tuple[str | float | None, ...]] = [
        ("samples", float(n_before), float(n_after), float(n_after)),
    ]
    for group in GROUPS:
        own = table[table["group"] == group]
        shares = [
            float(own[name].sum() / table[name].sum()) if table[name].sum() else None
            for name in ("n_before", "n_after", "n_random")
        ]
        rows.append((f"share of matches: {group}", *shares))
    reached = [float((table[name] >= 1).sum()) for name in ("n_before", "n_after", "n_random")]
    # A concept of a single sample has a mean below 1 wherever that sample may be left out.
    rows.append(("concepts with a mean count of 1 or more (others may or may not be in)", *reached))
    share = before.get("misaligned")
    if share is not None and totals.both is not None and totals.agreeing is not None:
        both, agreeing = (
            after(one[:, None], totals.samples, sized=sized)[0][0]
            for one in (totals.both, totals.agreeing)
        )
        rows.append(
            ("misaligned among tagged", share, 1 - agreeing / both if both else None, share)
        )
    copies = before.get("copies")
    if copies is not None and totals.copies is not None:
        mean = after(totals.copies[:, None], totals.samples, sized=sized)[0][0]
        rows.append(("share of copies", copies, mean / n_after if n_after else None, copies))
    return pd.DataFrame(rows, columns=["what", "before", "after", "random"])
