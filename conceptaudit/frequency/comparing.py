"""Compare what audits of different datasets counted, concept by concept and as a whole."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from conceptaudit.display import as_html, quantity, show
from conceptaudit.errors import ConfigError
from conceptaudit.frequency.intervals import FloatArray, normal_reach
from conceptaudit.frequency.rate_ratios import (
    Counted,
    difference_p,
    false_discovery_rate,
    rate_ratio,
)
from conceptaudit.frequency.sides import Side, read_side, side_names, unlike

INDEPENDENT = (
    "Differences take the datasets as independent draws, each concept by itself. Where one dataset "
    "holds samples of the other, intervals are wider than need be."
)

CLUSTERED = 1.05  # mean dispersion above which counts are called clustered in the notes


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Differences and likenesses of audits, concept by concept and as a whole.

    Parameters
    ----------
    concepts : pandas.DataFrame
        ``concept, count, dataset, baseline, n, n_baseline, per_million, per_million_baseline,
        ratio, ratio_low, ratio_high, p, q, rank, rank_baseline``: a row per concept, count and
        dataset but the first, which is the baseline. Ranks are shares of the concepts that are
        less frequent; rates and what is made of them are NaN where samples are unknown.
    datasets : pandas.DataFrame
        ``count, dataset, baseline, n_concepts, n_samples, n_samples_baseline, n_never,
        n_never_baseline, n_never_both, pearson, spearman, spearman_low, spearman_high``: a row
        per count and pair of datasets.
    level : float
        Coverage of the intervals.
    notes : tuple of str
    """

    concepts: pd.DataFrame
    datasets: pd.DataFrame
    level: float
    notes: tuple[str, ...]

    def plot(self) -> Any:
        """Draw rates against rates; a notebook shows it, ``save(path)`` writes it."""
        return show("comparison", self)

    def _repr_html_(self) -> str:
        return as_html("Differences by concept", self.concepts, self.notes)


def compare_audits(runs: Sequence[str | Path], *, counts: Sequence[str] = ()) -> Comparison:
    """Compare audits of different datasets, or counts of others, with the first of them.

    Concepts are joined by name, case and separators folded; those that not all counted are left
    out, and noted.

    Parameters
    ----------
    runs : sequence of str or Path
        Run folders of at least two audits, tables of counts, or ``"reference:NAME"``.
    counts : sequence of str
        Counts to compare, such as ``"n_text"`` or ``"n_image_corrected"``; by default all that
        every audit has.

    Returns
    -------
    Comparison

    Raises
    ------
    ConfigError
        Fewer than two audits, no count or concept that all have, or intervals of other levels.
    DataError
        A folder is no finished audit, or is damaged.
    """
    if len(runs) < 2:
        raise ConfigError(f"A comparison needs at least two audits. Got {len(runs)} instead.")
    names = side_names(runs)
    audits = [read_side(run, name, counts) for run, name in zip(runs, names, strict=True)]
    chosen = _counts(audits, counts)
    level = audits[0].frequencies.level
    for audit in audits[1:]:
        if audit.frequencies.level != level:
            raise ConfigError(
                f"Intervals must have one level: that of {names[0]} is {level:g}, of {audit.name} "
                f"{audit.frequencies.level:g}. Run one audit again with --level and --resume."
            )
    keys, concepts, notes = _common(audits)
    tables, pairs = [], []
    for count in chosen:
        held = frozenset.intersection(*(audit.held(count) for audit in audits))
        counted = [key for key in keys if key in held]
        spelt = [concepts[key] for key in counted]
        found = [audit.counted(count, counted) for audit in audits]
        notes.extend(_clusters(count, names, found))
        for name, one in zip(names[1:], found[1:], strict=True):
            tables.append(_by_concept(count, spelt, name, one, names[0], found[0]))
        for i, j in combinations(range(len(audits)), 2):
            pairs.append(_as_a_whole(count, names[j], found[j], names[i], found[i], level))
    return Comparison(
        concepts=pd.concat(tables, ignore_index=True),
        datasets=pd.DataFrame(pairs),
        level=level,
        notes=(*notes, *unlike(audits), INDEPENDENT),
    )


def _counts(audits: Sequence[Side], wanted: Sequence[str]) -> list[str]:
    shared = [name for name in audits[0].counts if all(name in a.counts for a in audits[1:])]
    missing = [name for name in wanted if name not in shared]
    if missing or not shared:
        held = "; ".join(f"{a.name}: {', '.join(a.counts) or 'none'}" for a in audits)
        raise ConfigError(
            f"Counts must be ones that every audit has. Got {missing or 'none in common'} instead "
            f"({held})."
        )
    empty = [a.name for a in audits for n in wanted or shared if a.n_samples(n) == 0]
    if empty:
        raise ConfigError(f"{empty[0]} has no usable sample, and so no rates to compare.")
    return list(wanted) or shared


def _common(audits: Sequence[Side]) -> tuple[list[str], dict[str, str], list[str]]:
    """Return folded names that all sides hold, how the first spells them, and notes."""
    lists = [audit.keys for audit in audits]
    common = set(lists[0]).intersection(*lists[1:])
    if not common:
        raise ConfigError("The audits have no concept in common: audit both with one list.")
    notes = [
        f"{len(names) - len(common):,} of {quantity(len(names), 'concept')} of {audit.name} are "
        "not in every audit, and left out."
        for audit, names in zip(audits, lists, strict=True)
        if len(names) > len(common)
    ]
    spelt = dict(zip(lists[0], audits[0].frequencies.table["concept"], strict=True))
    keys = [name for name in dict.fromkeys(lists[0]) if name in common]
    return keys, {key: str(spelt[key]) for key in keys}, notes


def _clusters(count: str, names: Sequence[str], found: Sequence[Counted]) -> list[str]:
    """Note where samples come in clusters, and what was done about it."""
    means = [float(np.average(c.dispersion, weights=c.count + 1e-9)) for c in found]
    return [
        f"{count} of {name} varies {mean:.1f} times as much as independent samples would, as "
        "several samples share an image or counts are estimates; intervals and q values allow "
        "for it."
        for name, mean in zip(names, means, strict=True)
        if mean > CLUSTERED
    ]


def _by_concept(
    count: str, concepts: Sequence[str], name: str, one: Counted, baseline: str, base: Counted
) -> pd.DataFrame:
    known = one.n_samples > 0 and base.n_samples > 0
    nothing = np.full(len(one.count), np.nan)
    ratio, low, high = rate_ratio(one, base) if known else (nothing, nothing, nothing)
    p = difference_p(one, base) if known else nothing
    return pd.DataFrame(
        {
            "concept": list(concepts),
            "count": count,
            "dataset": name,
            "baseline": baseline,
            "n": one.count,
            "n_baseline": base.count,
            "per_million": one.per_million if one.n_samples else nothing,
            "per_million_baseline": base.per_million if base.n_samples else nothing,
            "ratio": ratio,
            "ratio_low": low,
            "ratio_high": high,
            "p": p,
            "q": false_discovery_rate(p) if known else nothing,
            "rank": _rank_share(one.count),
            "rank_baseline": _rank_share(base.count),
        }
    )


def _rank_share(counts: FloatArray) -> FloatArray:
    """Share of the other concepts that are less frequent, ties counted half; shape (n,)."""
    from scipy.stats import rankdata

    ranks: FloatArray = (rankdata(counts) - 1.0) / max(len(counts) - 1, 1)
    return ranks


def _as_a_whole(
    count: str, name: str, one: Counted, baseline: str, base: Counted, level: float
) -> dict[str, object]:
    spearman, low, high = _rank_correlation(one.count, base.count, level)
    never, never_base = _never(one.count), _never(base.count)
    return {
        "count": count,
        "dataset": name,
        "baseline": baseline,
        "n_concepts": len(one.count),
        "n_samples": one.n_samples or None,
        "n_samples_baseline": base.n_samples or None,
        "n_never": int(never.sum()),
        "n_never_baseline": int(never_base.sum()),
        "n_never_both": int((never & never_base).sum()),
        "pearson": _correlation(np.log1p(one.count), np.log1p(base.count)),
        "spearman": spearman,
        "spearman_low": low,
        "spearman_high": high,
    }


def _never(counts: FloatArray) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Whether each count is zero; a corrected one never quite is."""
    return counts < 0.5


def _correlation(a: FloatArray, b: FloatArray) -> float:
    if len(a) < 2 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return float("nan")
    return float(np.corrcoef(a, b)[0, 1])


def _rank_correlation(a: FloatArray, b: FloatArray, level: float) -> tuple[float, float, float]:
    """Spearman's correlation with the interval of Bonett and Wright (Psychometrika 65, 2000)."""
    from scipy.stats import rankdata

    found = _correlation(rankdata(a), rankdata(b))
    if len(a) < 4 or np.isnan(found):
        return found, float("nan"), float("nan")
    error = np.sqrt((1 + found**2 / 2) / (len(a) - 3))
    reach = normal_reach(level) * error
    middle = np.arctanh(np.clip(found, -1 + 1e-12, 1 - 1e-12))
    return found, float(np.tanh(middle - reach)), float(np.tanh(middle + reach))
