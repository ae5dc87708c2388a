"""The stages after screening: counts of what is left, and the draw."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from conceptaudit.artifacts import Json, ShardStore, write_npy, write_parquet
from conceptaudit.curate.audited import AuditedData, ConceptPairs
from conceptaudit.curate.balance import kept_by_any, tempered, uniform
from conceptaudit.datasets.base import Shard

FloatArray = npt.NDArray[np.float64]
Int64Array = npt.NDArray[np.int64]

LEFT, ORDER, DRAWN = "left", "order", "kept"
"""Stages, as folders."""

UNIT = 1 << 20
"""Parts of a pair that shares are added up in, as integers: no order of adding changes the sum."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftSamples:
    """The samples that screening and removal leave.

    Parameters
    ----------
    screened : ShardStore
        See `screening.ScreenShard`.
    removed : Path or None
        Sorted sample ids (``.npy``) that are removed besides.
    density : ShardStore or None
        Weights (``.npy``) of the screened samples of each shard, in their order.
    """

    screened: ShardStore
    removed: Path | None = None
    density: ShardStore | None = None

    def ids(self, shard: str) -> tuple[Int64Array, npt.NDArray[np.bool_]]:
        """Return the screened samples of a shard, and which of them are not removed."""
        import pyarrow.parquet as pq

        path = self.screened.path(shard, ".parquet")
        with pq.ParquetFile(path) as file:
            ids = file.read(["sample_id"]).column(0).to_numpy()
        left = np.ones(len(ids), dtype=bool)
        if self.removed is not None and len(ids):
            removed = np.load(self.removed, mmap_mode="r", allow_pickle=False)
            first, last = np.searchsorted(removed, [ids[0], ids[-1] + 1])
            left = ~np.isin(ids, removed[first:last])
        return ids, left

    def weights(self, shard: str, n: int) -> FloatArray:
        """Return the density weights of all screened samples of a shard; ones where not asked."""
        if self.density is None:
            return np.ones(n)
        path = self.density.path(shard, ".npy")
        return np.asarray(np.load(path, allow_pickle=False), dtype=np.float64)

    def keys(self, shard: str) -> pd.Series[str]:
        """Return the keys of all screened samples of a shard."""
        path = self.screened.path(shard, ".parquet")
        return pd.read_parquet(path, columns=["key"])["key"]


def sides_of(data: AuditedData) -> tuple[str, ...]:
    """Name the kinds of tag that an audit has: of captions, of images, of both at once."""
    both = {"text", "image"} <= data.sides
    return tuple(s for s in ("text", "image") if s in data.sides) + (("joint",) if both else ())


@dataclass(frozen=True, slots=True, kw_only=True)
class CountLeft:
    """Counts the concepts of one shard's samples that are left.

    Parameters
    ----------
    data : AuditedData
    left : LeftSamples
    store : ShardStore
        Where the counts go: by side, concept ids and counts in `UNIT` parts.
    """

    data: AuditedData
    left: LeftSamples
    store: ShardStore

    def __call__(self, shard: Shard) -> None:
        """Count a shard and write its record."""
        ids, inside = self.left.ids(shard.name)
        counts: dict[str, Any] = {}
        for side in sides_of(self.data):
            _, pairs = self.data.pairs(shard.name, side).rows_in(ids[inside])
            parts = np.rint(pairs.share * UNIT).astype(np.int64)
            concepts, at = np.unique(pairs.concept_ids, return_inverse=True)
            sums = np.zeros(len(concepts), dtype=np.int64)
            np.add.at(sums, at, parts)
            counts[side] = [concepts.tolist(), sums.tolist()]
        record = {"n_left": int(inside.sum()), "counts": counts}
        self.store.write(shard.name, shard.fingerprint, record, {})


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """How samples are drawn and weighted, given counts.

    Parameters
    ----------
    side : str
        Whose tags decide.
    probability : numpy.ndarray of float64, shape (n_concepts,), or None
        With which each concept keeps a sample; None where nothing is capped.
    counts : numpy.ndarray of float64, shape (n_concepts,), or None
        That weights rest on; None where nothing is tempered.
    exponent : float
        Of the weights.
    drops_untagged : bool
    seed, stream : int
        Of the draw; another run of a mixture has another stream.
    threshold : float
        Samples whose order is larger are not drawn: infinite where all are.
    sized : bool
        Whether the weights were spent on the draw, so that what is drawn weighs the same.
    """

    side: str
    probability: FloatArray | None = None
    counts: FloatArray | None = None
    exponent: float = 0.0
    drops_untagged: bool = False
    seed: int = 0
    stream: int = 0
    threshold: float = float("inf")
    sized: bool = False

    def apply(
        self, ids: Int64Array, place: Int64Array, pairs: ConceptPairs, weights: FloatArray
    ) -> Drawn:
        """Draw from the samples of a shard.

        Parameters
        ----------
        ids : numpy.ndarray of int64, shape (n,)
        place : numpy.ndarray of int64, shape (n_pairs,)
            Position of each pair's sample.
        pairs : ConceptPairs
        weights : numpy.ndarray of float64, shape (n,)
        """
        n = len(ids)
        ones = np.ones(len(place))
        tagged = kept_by_any(place, ones, pairs.share, n) > 0
        chance = np.ones(n)
        if self.probability is not None:
            entry = self.probability[pairs.concept_ids]
            chance = np.where(tagged, kept_by_any(place, entry, pairs.share, n), 1.0)
        if self.drops_untagged:
            chance = np.where(tagged, chance, 0.0)
        if self.counts is not None:
            most = float(self.counts.max(initial=1.0))
            of_pairs = self.counts[pairs.concept_ids]
            weights = weights * tempered(place, of_pairs, self.exponent, n, most)
        within = uniform(ids, self.seed, 2 * self.stream) < chance
        # the smallest of n exponential times with rates w: a draw without replacement by weight
        order = -np.log(uniform(ids, self.seed, 2 * self.stream + 1)) / weights
        drawn = within & (order <= self.threshold)
        probability = chance
        if self.sized:
            probability = chance * -np.expm1(-weights * self.threshold)
        return Drawn(
            tagged=tagged,
            within=within,
            drawn=drawn,
            order=order,
            probability=probability,
            weight=np.ones(n) if self.sized else weights,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """A draw, as columns with one entry per sample that was left.

    Parameters
    ----------
    tagged, within, drawn : numpy.ndarray of bool, shape (n,)
        Samples with a concept; those that the cap keeps; those that are in the result.
    order : numpy.ndarray of float64, shape (n,)
    probability, weight : numpy.ndarray of float64, shape (n,)
        To be in the result; and how much it weighs there.
    """

    tagged: npt.NDArray[np.bool_]
    within: npt.NDArray[np.bool_]
    drawn: npt.NDArray[np.bool_]
    order: FloatArray
    probability: FloatArray
    weight: FloatArray


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawShard:
    """Draws from one shard: orders alone, an account alone, or the samples too.

    Parameters
    ----------
    data : AuditedData
    left : LeftSamples
    rule : Rule
    store : ShardStore
        Where the result goes.
    orders : bool
        Whether only the orders of what the cap keeps are wanted, to find the threshold.
    writes : bool
        Whether the samples are written; without them the record says what would be.
    copies : Path or None
        Sorted ids of samples whose image repeats another's.
    """

    data: AuditedData
    left: LeftSamples
    rule: Rule
    store: ShardStore
    orders: bool = False
    writes: bool = True
    copies: Path | None = None

    def __call__(self, shard: Shard) -> None:
        """Draw from a shard and write its record."""
        name = shard.name
        screened, inside = self.left.ids(name)
        ids = screened[inside]
        place, pairs = self.data.pairs(name, self.rule.side).rows_in(ids)
        drawn = self.rule.apply(ids, place, pairs, self.left.weights(name, len(screened))[inside])
        files: dict[str, Path] = {}
        if self.orders:
            files[".npy"] = self.store.path(name, ".npy")
            write_npy(files[".npy"], drawn.order[drawn.within])
            self.store.write(name, shard.fingerprint, {"n_within": int(drawn.within.sum())}, files)
            return
        if self.writes:
            keys = self.left.keys(name)[inside][drawn.drawn]
            table = pd.DataFrame(
                {
                    "key": keys.astype("str"),
                    "sample_id": ids[drawn.drawn],
                    "weight": drawn.weight[drawn.drawn],
                    "probability": drawn.probability[drawn.drawn],
                }
            )
            files[".parquet"] = self.store.path(name, ".parquet")
            write_parquet(files[".parquet"], table)
        record = self._account(name, ids, drawn)
        self.store.write(name, shard.fingerprint, record, files)

    def _account(self, name: str, ids: Int64Array, drawn: Drawn) -> Json:
        """Add up what is drawn, and what was to be expected of the draw."""
        p, w, taken = drawn.probability, drawn.weight, drawn.drawn.astype(np.float64)
        out = {
            "n_left": len(ids),
            "n_untagged": int((~drawn.tagged).sum()) if self.rule.drops_untagged else 0,
            "n_within": int(drawn.within.sum()),
            "n_drawn": int(drawn.drawn.sum()),
            "samples": _sums(p, w, taken, np.ones(len(ids))),
        }
        tags = {s: self.data.pairs(name, s).rows_in(ids) for s in sides_of(self.data)}
        out["concepts"] = {
            side: _by_concept(place, pairs, p, w, taken) for side, (place, pairs) in tags.items()
        }
        if "joint" in tags:
            ones = {
                side: kept_by_any(place, np.ones(len(place)), pairs.share, len(ids))
                for side, (place, pairs) in tags.items()
            }
            out["both"] = _sums(p, w, taken, ones["text"] * ones["image"])
            out["agreeing"] = _sums(p, w, taken, ones["joint"])
        if self.copies is not None:
            known = np.load(self.copies, mmap_mode="r", allow_pickle=False)
            out["copies"] = _sums(p, w, taken, np.isin(ids, known).astype(np.float64))
        return out


SUMS = ("expected", "variance", "weighted", "weighted_variance", "drawn", "drawn_weight")
"""Per concept (or sample): of probabilities p, of p (1 - p), of p w, of p (1 - p) w², and of what
was drawn, how many and their weights."""


def _terms(p: FloatArray, w: FloatArray, taken: FloatArray) -> tuple[FloatArray, ...]:
    spread = p * (1.0 - p)
    return p, spread, p * w, spread * w * w, taken, taken * w


def _sums(p: FloatArray, w: FloatArray, taken: FloatArray, share: FloatArray) -> list[float]:
    return [float((term * share).sum()) for term in _terms(p, w, taken)]


def _by_concept(
    place: Int64Array, pairs: ConceptPairs, p: FloatArray, w: FloatArray, taken: FloatArray
) -> Json:
    concepts, at = np.unique(pairs.concept_ids, return_inverse=True)
    sums = []
    for term in _terms(p, w, taken):
        values = np.bincount(at, weights=term[place] * pairs.share, minlength=len(concepts))
        sums.append(values.tolist())
    return [concepts.tolist(), sums]
