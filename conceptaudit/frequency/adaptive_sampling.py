"""Sampling ambiguous pairs until every count is known well enough.

First the pairs of lowest rank of each form are tagged. What they show says how many more to tag of
each: few where a word's reading hardly varies, many where it does. Ranks are hashes, so that the
lowest of a form are a random sample of it that depends on nothing but the pairs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from conceptaudit.frequency.strata import ALL_BELOW, PILOT, estimate_cells, wanted_sizes
from conceptaudit.records import Int64Array

# Times that the sample is enlarged; the first tells what is needed, later ones correct it.
MAX_ROUNDS = 4
_SPARE = 6.0  # standard deviations by which more ranks are read than are likely to be wanted

# Times the pairs wanted after the first round that are read, for later rounds to choose from.
_ROOM = 1.5


class RankBounds:
    """Up to which rank the pairs of each form are read."""

    def __init__(self, wanted: pd.Series, available: pd.Series) -> None:
        available = available.sort_index()
        self._forms = available.index.to_numpy(np.int64)
        n = wanted.reindex(available.index).to_numpy(np.float64)
        share = (n + _SPARE * np.sqrt(n)) / np.maximum(available.to_numpy(np.float64), 1.0)
        # ranks are uniform in [0, 2^63)
        self._bounds = (np.minimum(share, 1.0) * np.iinfo(np.int64).max).astype(np.uint64)

    def hold(self, pairs: pd.DataFrame) -> npt.NDArray[np.bool_]:
        """Return which pairs (``form``, ``rank``) are to be read."""
        at = np.searchsorted(self._forms, pairs["form"].to_numpy(np.int64))
        held: npt.NDArray[np.bool_] = pairs["rank"].to_numpy().astype(np.uint64) <= self._bounds[at]
        return held


# Gives the ambiguous pairs within bounds: ``sample_id``, ``form``, ``context``, ``rank`` and more.
Read = Callable[[RankBounds], pd.DataFrame]

Tag = Callable[[pd.DataFrame], pd.DataFrame]  # adds ``named`` and ``joint`` to pairs, in any order


@dataclass(frozen=True, slots=True, kw_only=True)
class AdaptiveSample:
    """Tags as many ambiguous pairs as the counts need."""

    read: Read  # where pairs come from, and who reads them
    tag: Tag
    error: float  # wanted standard error, as a share of the count
    most: int  # pairs of a form that can be tagged

    def __call__(self, strata: pd.DataFrame, certain: Int64Array) -> tuple[pd.DataFrame, int]:
        """Sample, tag and estimate.

        Shapes: `certain` (n_concepts,). Returns `cells`: as `estimate_cells` returns them;
        `rounds`: times that pairs were tagged.
        """
        if strata.empty:
            none = {"named": np.zeros(0, bool), "joint": np.zeros(0, bool)}
            return estimate_cells(strata, strata[["form", "context"]].assign(**none)), 0
        available = strata.groupby("form")["n"].sum()
        sizes = available.where(available < ALL_BELOW, PILOT).clip(upper=self.most)
        tagged = self.tag(self._lowest(available, sizes, sizes))
        cells, rounds = estimate_cells(strata, tagged), 1
        rows: pd.DataFrame | None = None
        while rounds < MAX_ROUNDS:
            more = wanted_sizes(cells, certain, error=self.error, most=self.most)
            more = more.reindex(sizes.index).clip(lower=sizes)
            if (more == sizes).all():
                break
            if rows is None:
                rows = self._lowest(available, more, more * _ROOM)
            start = rows["form"].map(sizes).to_numpy()
            chosen = rows[(rows["place"] >= start) & (rows["place"] < rows["form"].map(more))]
            tagged = pd.concat([tagged, self.tag(chosen)], ignore_index=True)
            # no more than was read, so that the sample stays that of the lowest ranks
            read = rows.groupby("form").size().reindex(sizes.index, fill_value=0)
            sizes = more.clip(upper=read.clip(lower=sizes))
            cells = estimate_cells(strata, tagged)
            rounds += 1
        return cells, rounds

    def _lowest(self, available: pd.Series, needed: pd.Series, wanted: pd.Series) -> pd.DataFrame:
        """Read the pairs of lowest rank of each form, with their places by rank."""
        for n in (wanted, available):
            rows = self.read(RankBounds(n, available))
            rows = rows.assign(place=places(rows, "form"))
            held = rows.groupby("form").size().reindex(available.index, fill_value=0)
            if (held >= needed).all():
                break
        return rows[rows["place"] < rows["form"].map(np.ceil(wanted)).to_numpy()]


def places(rows: pd.DataFrame, by: str) -> Int64Array:
    """Return the place of each pair in its group, by rank, from 0; shape (n_rows,)."""
    groups = rows[by].to_numpy(np.int64)
    order = np.lexsort((rows["sample_id"].to_numpy(), rows["rank"].to_numpy(), groups))
    first = np.flatnonzero(np.diff(groups[order], prepend=groups[order][:1] - 1))
    found = np.empty(len(groups), dtype=np.int64)
    lengths = np.diff(first, append=len(groups))
    found[order] = np.arange(len(groups)) - np.repeat(first, lengths)
    return found
