"""The mixture of audited datasets that a curve predicts the best tail accuracy of."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from conceptaudit.counts import counts_of
from conceptaudit.curate.audited import AuditedData
from conceptaudit.curate.expected import groups
from conceptaudit.curate.mixing import union_of_names
from conceptaudit.curves import Curve, predict
from conceptaudit.display import quantity
from conceptaudit.errors import ConfigError
from conceptaudit.frequency.sides import side_names
from conceptaudit.records import ConceptFrequencies

FloatArray = npt.NDArray[np.float64]

POINTS = 40
"""Counts at which every concept is predicted; between them accuracy is interpolated."""

STEPS = (0.1, 0.02, 0.01)
"""Of shares: a grid, then finer ones around its best mixture."""

NEARLY = 0.001
"""Mixtures whose predicted tail accuracy is within this of the best are called as good."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BestMixture:
    """Shares of runs, and what is predicted of them.

    Parameters
    ----------
    table : pandas.DataFrame
        A row per run: ``run, share, share_low, share_high`` (shares of mixtures that are nearly
        as good), ``tail_alone`` (predicted of the run alone; NaN where it is too small).
    tail, tail_equal : float
        Predicted mean accuracy of tail concepts, at best and with equal shares (NaN where a run is
        too small for it).
    n_tail : int
        Tail concepts: the rarest third of those that occur in all runs together.
    """

    table: pd.DataFrame
    tail: float
    tail_equal: float
    n_tail: int


def best_mixture(
    runs: Sequence[str | Path], curve: Curve, size: int, *, model: str | None = None
) -> BestMixture:
    """Choose the shares of audited runs in a set of a given size.

    A run gives no more samples than it has: repeats would add no pair that was not seen.

    Parameters
    ----------
    runs : sequence of str or Path
        At least two finished audits.
    curve : Curve
    size : int
        Samples of the mixture.
    model : str, optional
        Of the curve; its first by default.

    Raises
    ------
    ConfigError
        There are fewer than two runs, or they have not so many samples together.
    """
    if len(runs) < 2:
        raise ConfigError("The best mixture is one of several runs. Got one.")
    datas = [AuditedData.open(run) for run in runs]
    n_samples = [max(int(s["n_samples"]) for s in data.account.values()) for data in datas]
    if sum(n_samples) < size:
        raise ConfigError(
            f"--size {size:,} is more than the {quantity(sum(n_samples), 'sample')} there are."
        )
    names, places = union_of_names([data.frequencies for data in datas])
    counts = [
        counts_of(data.frequencies, curve.count)[place]
        for data, place in zip(datas, places, strict=True)
    ]
    rates = np.stack([own / n for own, n in zip(counts, n_samples, strict=True)])
    tail = np.array(groups(np.asarray(sum(counts)))) == "tail"
    if not tail.any():
        raise ConfigError("No concept of the tail occurs in these runs.")
    answer = _accuracies(curve, names, size * float(rates.max()), model)
    most = np.minimum(1.0, np.array(n_samples) / size)

    def value(shares: FloatArray) -> float:
        return float(answer(size * shares @ rates)[tail].mean())

    seen: dict[tuple[float, ...], float] = {}
    centre, best = None, (-1.0, np.zeros(len(runs)))
    for step in STEPS:
        for shares in _grid(len(runs), step, centre):
            key = tuple(np.round(shares, 6).tolist())
            if key not in seen and bool((shares <= most + 1e-9).all()):
                seen[key] = value(shares)
                best = max(best, (seen[key], shares), key=lambda pair: pair[0])
        centre = best[1]
    if not seen:
        raise ConfigError(f"No mixture of --size {size:,} takes at most what every run has.")
    good = np.array([key for key, one in seen.items() if one >= best[0] - NEARLY])
    alone = [value(np.eye(len(runs))[i]) if most[i] >= 1 else np.nan for i in range(len(runs))]
    equal = np.full(len(runs), 1.0 / len(runs))
    table = pd.DataFrame(
        {
            "run": side_names(list(runs)),
            "share": best[1],
            "share_low": good.min(axis=0),
            "share_high": good.max(axis=0),
            "tail_alone": alone,
        }
    )
    even = value(equal) if bool((equal <= most + 1e-9).all()) else float("nan")
    return BestMixture(table=table, tail=best[0], tail_equal=even, n_tail=int(tail.sum()))


def _accuracies(curve: Curve, names: Sequence[str], largest: float, model: str | None) -> _Answers:
    """Predict every concept at counts from none to the largest."""
    grid = np.linspace(0.0, np.log10(1.0 + largest), POINTS)
    chosen = model or curve.fits[0].model
    rows = []
    raw = curve.count.removesuffix("_corrected")
    for x in grid:
        n = np.full(len(names), 10.0**x - 1.0)
        table = pd.DataFrame({"concept": list(names), raw: n, curve.count: n})
        rows.append(predict(curve, ConceptFrequencies(table), model=chosen)["accuracy"].to_numpy())
    values = pd.DataFrame(np.stack(rows)).bfill().ffill().to_numpy(np.float64)
    return _Answers(grid=grid, values=values)


@dataclass(frozen=True, slots=True)
class _Answers:
    """Accuracies of concepts at any count, between those that were predicted."""

    grid: FloatArray
    values: FloatArray

    def __call__(self, counts: FloatArray) -> FloatArray:
        """Interpolate; shape (n_concepts,)."""
        x = np.log10(1.0 + counts) / self.grid[-1] * (len(self.grid) - 1)
        low = np.clip(x.astype(np.int64), 0, len(self.grid) - 2)
        columns, part = np.arange(len(counts)), np.clip(x - low, 0.0, 1.0)
        values = self.values[low, columns] * (1 - part) + self.values[low + 1, columns] * part
        return np.asarray(values, dtype=np.float64)


def _grid(n: int, step: float, centre: FloatArray | None) -> Iterator[FloatArray]:
    """Yield shares on a grid: of all mixtures, or of those within five steps of one."""
    whole = round(1.0 / step)
    places = [range(whole + 1)] * (n - 1)
    if centre is not None:
        middle = np.rint(centre / step).astype(int)
        places = [range(max(0, m - 5), min(whole, m + 5) + 1) for m in middle[:-1].tolist()]
    for parts in product(*places):
        if sum(parts) <= whole:
            yield np.array([*parts, whole - sum(parts)]) / whole
