"""Compare what audits of different datasets counted, concept by concept and as a whole."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from conceptaudit.artifacts import MANIFEST, Json, read_json
from conceptaudit.errors import ConfigError, DataError
from conceptaudit.frequency.clustering import count_dispersion
from conceptaudit.frequency.intervals import normal_reach, poisson_interval
from conceptaudit.frequency.ratios import (
    Counted,
    FloatArray,
    difference_p,
    false_discovery_rate,
    rate_ratio,
)
from conceptaudit.frequency.readers import read_frequencies
from conceptaudit.records import ConceptFrequencies

SIDES = {"n_text": ("text",), "n_image": ("image",), "n_joint": ("text", "image")}
"""Sides of a dataset that a count is made from."""

CORRECTED = "_corrected"
ALIKE = ("text", "image", "clip", "threshold", "calibration")
"""What should be the same in all audits."""

INDEPENDENT = (
    "Differences take the datasets as independent draws, each concept by itself. Where one dataset "
    "holds samples of the other, intervals are wider than need be."
)

CLUSTERED = 1.05
"""Mean dispersion above which counts are called clustered in the notes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What audits have in common, and what not.

    Parameters
    ----------
    concepts : pandas.DataFrame
        ``concept, count, dataset, baseline, n, n_baseline, per_million, per_million_baseline,
        ratio, ratio_low, ratio_high, p, q``: a row per concept, count and dataset but the first,
        which is the baseline.
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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Audited:
    name: str
    folder: Path
    manifest: dict[str, Any]
    frequencies: ConceptFrequencies

    def counted(self, count: str, concepts: Sequence[str]) -> Counted:
        """Take one count of some concepts."""
        table = self.frequencies.table.set_index("concept").loc[list(concepts)]
        columns = (count, f"{count}_low", f"{count}_high")
        values = [pd.to_numeric(table[name]).to_numpy(np.float64) for name in columns]
        return Counted(
            count=values[0],
            low=values[1],
            high=values[2],
            n_samples=self.n_samples(count),
            level=self.frequencies.level,
            dispersion=self._dispersion(count, concepts, *values),
        )

    def _dispersion(
        self,
        count: str,
        concepts: Sequence[str],
        counts: FloatArray,
        low: FloatArray,
        high: FloatArray,
    ) -> FloatArray:
        """Return the variance of counts over their means: of clusters, or of estimates."""
        names = self.frequencies.table["concept"]
        sides = SIDES[count.removesuffix(CORRECTED)]
        clustered = count_dispersion(self.folder, sides, len(names))
        # An estimated count has a wider interval than a Poisson count of its size.
        poisson = np.subtract(*poisson_interval(counts, self.frequencies.level)[::-1])
        estimated = ((high - low) / poisson) ** 2
        own = pd.Series(clustered, index=names).loc[list(concepts)].to_numpy(np.float64)
        return np.asarray(np.fmax(own, estimated), dtype=np.float64)

    def n_samples(self, count: str) -> int:
        """Return how many samples could be counted; of two sides, of the one that has fewer."""
        account = self.manifest["account"]
        return min(int(account[s]["n_used"]) for s in SIDES[count.removesuffix(CORRECTED)])

    @property
    def counts(self) -> list[str]:
        """Counts that this audit holds with intervals."""
        table = self.frequencies.table
        names = [name for raw in SIDES for name in (raw, f"{raw}{CORRECTED}")]
        return [n for n in names if n in table and f"{n}_low" in table and table[n].count()]


def compare_audits(runs: Sequence[str | Path], *, counts: Sequence[str] = ()) -> Comparison:
    """Compare audits of different datasets with the first of them.

    Concepts are joined by name; those that not all audits counted are left out, and noted.

    Parameters
    ----------
    runs : sequence of str or Path
        Run folders of at least two audits.
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
    names = _names([Path(run) for run in runs])
    audits = [_read(Path(run), name) for run, name in zip(runs, names, strict=True)]
    chosen = _counts(audits, counts)
    level = audits[0].frequencies.level
    for audit in audits[1:]:
        if audit.frequencies.level != level:
            raise ConfigError(
                f"Intervals must have one level: that of {names[0]} is {level:g}, of {audit.name} "
                f"{audit.frequencies.level:g}. Run one audit again with --level and --resume."
            )
    concepts, notes = _common(audits)
    tables, pairs = [], []
    for count in chosen:
        found = [audit.counted(count, concepts) for audit in audits]
        notes.extend(_clusters(count, names, found))
        for name, one in zip(names[1:], found[1:], strict=True):
            tables.append(_by_concept(count, concepts, name, one, names[0], found[0]))
        for i, j in combinations(range(len(audits)), 2):
            pairs.append(_as_a_whole(count, names[j], found[j], names[i], found[i], level))
    return Comparison(
        concepts=pd.concat(tables, ignore_index=True),
        datasets=pd.DataFrame(pairs),
        level=level,
        notes=(*notes, *_unlike(audits), INDEPENDENT),
    )


def _names(folders: Sequence[Path]) -> list[str]:
    short = [folder.resolve().name for folder in folders]
    names = short if len(set(short)) == len(short) else [str(folder) for folder in folders]
    if len(set(names)) < len(names):
        raise ConfigError(f"Every audit must be named once. Got {names} instead.")
    return names


def _read(folder: Path, name: str) -> _Audited:
    path = folder / MANIFEST
    manifest = read_json(path) if path.is_file() else None
    if not isinstance(manifest, dict) or manifest.get("kind") != "audit":
        raise DataError(
            f"{folder} is not a finished audit. Name the folder that 'conceptaudit audit … -o RUN' "
            "wrote."
        )
    account = manifest.get("account")
    sides = list(account.values()) if isinstance(account, dict) else []
    if not sides or not all(isinstance(s, dict) and _whole(s.get("n_used")) for s in sides):
        raise DataError(f"{path} is damaged: its account does not say how many samples were used.")
    frequencies = read_frequencies(folder)
    return _Audited(name=name, folder=folder, manifest=manifest, frequencies=frequencies)


def _whole(value: Json) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _counts(audits: Sequence[_Audited], wanted: Sequence[str]) -> list[str]:
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


def _common(audits: Sequence[_Audited]) -> tuple[list[str], list[str]]:
    lists = [list(audit.frequencies.table["concept"]) for audit in audits]
    common = set(lists[0]).intersection(*lists[1:])
    if not common:
        raise ConfigError("The audits have no concept in common: audit both with one list.")
    notes = [
        f"{len(names) - len(common):,} of {len(names):,} concepts of {audit.name} are not in every "
        "audit, and left out."
        for audit, names in zip(audits, lists, strict=True)
        if len(names) > len(common)
    ]
    return [name for name in lists[0] if name in common], notes


def _clusters(count: str, names: Sequence[str], found: Sequence[Counted]) -> list[str]:
    """Say where samples come in clusters, and what was done about it."""
    means = [float(np.average(c.dispersion, weights=c.count + 1e-9)) for c in found]
    return [
        f"{count} of {name} varies {mean:.1f} times as much as independent samples would, as "
        "several samples share an image or counts are estimates; intervals and q values allow "
        "for it."
        for name, mean in zip(names, means, strict=True)
        if mean > CLUSTERED
    ]


def _unlike(audits: Sequence[_Audited]) -> list[str]:
    """Name what the audits did not do alike."""
    first = _how(audits[0].manifest)
    notes = []
    for audit in audits[1:]:
        how = _how(audit.manifest)
        other = [name for name in ALIKE if how.get(name) != first.get(name)]
        if other:
            notes.append(
                f"{audit.name} was not counted as {audits[0].name} was: {', '.join(other)} "
                "differ. Ratios are of the countings as well as of the data; corrected image "
                "counts suffer least."
            )
    return notes


def _how(manifest: Json) -> dict[str, Json]:
    """Return the settings that change counts."""
    how = {name: manifest.get(name) for name in ("clip", "threshold", "calibration")}
    for stage in manifest.get("settings") or []:
        if isinstance(stage, dict) and stage.get("stage") == "text":
            how["text"] = {
                name: stage.get(name) for name in ("pipeline", "pos", "nested", "normalizer")
            }
    return how


def _by_concept(
    count: str, concepts: Sequence[str], name: str, one: Counted, baseline: str, base: Counted
) -> pd.DataFrame:
    ratio, low, high = rate_ratio(one, base)
    p = difference_p(one, base)
    return pd.DataFrame(
        {
            "concept": list(concepts),
            "count": count,
            "dataset": name,
            "baseline": baseline,
            "n": one.count,
            "n_baseline": base.count,
            "per_million": one.per_million,
            "per_million_baseline": base.per_million,
            "ratio": ratio,
            "ratio_low": low,
            "ratio_high": high,
            "p": p,
            "q": false_discovery_rate(p),
        }
    )


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
        "n_samples": one.n_samples,
        "n_samples_baseline": base.n_samples,
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
