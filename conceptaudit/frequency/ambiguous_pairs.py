"""Counts of a shard with ambiguous text tags: certain pairs, strata, expected agreement."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from conceptaudit.artifacts import Json, ShardStore, digest_of, write_parquet
from conceptaudit.datasets.base import Shard
from conceptaudit.store.removing import remove

NAME = "strata"
STRATA = ".parquet"
CERTAIN = 0  # form of a pair that needs no tagger

# Expected numbers of samples are added up in these parts of one, as integers: then no order of
# adding changes them.
UNIT = 1 << 20


# A table of numbers, without what a frame costs: every shard has some.
Columns = dict[str, npt.NDArray[Any]]


def sparse_counts(concept_ids: npt.ArrayLike) -> list[list[int]]:
    """Count samples per concept, as a list of ids and a list of counts."""
    ids, counts = np.unique(np.asarray(concept_ids, dtype=np.int64), return_counts=True)
    return [ids.tolist(), counts.tolist()]


@dataclass(frozen=True, slots=True, kw_only=True)
class CountStrata:
    """Counts one shard's ambiguous pairs by form and context."""

    text: ShardStore  # tags with ``form`` and ``context``
    image: ShardStore | None  # None where images were not audited
    store: ShardStore  # where the counts go

    def __call__(self, shard: Shard) -> None:
        """Count a shard and write its record."""
        pairs = read_pairs(self.text, self.image, shard.name)
        is_open = pairs["form"] != CERTAIN
        files = {}
        path = self.store.path(shard.name, STRATA)
        remove(path.parent, [path.name])
        if is_open.any():
            among = {name: values[is_open] for name, values in pairs.items()}
            write_parquet(path, _add_up(among), sync=False)
            files[STRATA] = path
        concepts, joint = pairs["concept_id"].astype(np.int64), pairs["joint"]
        record = {
            "text": sparse_counts(concepts[~is_open]),
            "joint": sparse_counts(concepts[~is_open & joint]),
        }
        self.store.write(shard.name, shard.fingerprint, record, files)


def _add_up(pairs: Columns) -> pd.DataFrame:
    """Count pairs by concept, form and context (``n``), and those whose image has the tag."""
    keys = [pairs[name].astype(np.int64) for name in ("concept_id", "form", "context")]
    order = np.lexsort(keys[::-1])
    keys = [key[order] for key in keys]
    changes = [np.diff(key, prepend=key[:1] - 1) != 0 for key in keys]
    first = np.flatnonzero(np.logical_or.reduce(changes))
    joint = pairs["joint"].astype(np.int64)[order]
    concept, form, context = (key[first] for key in keys)
    return pd.DataFrame(
        {
            "concept_id": concept.astype(np.int32),
            "form": form,
            "context": context.astype(np.int32),
            "n": np.diff(first, append=len(order)),
            "n_joint": np.add.reduceat(joint, first) if len(first) else joint,
        }
    )


def strata_store(folder: Path) -> ShardStore:
    """Return the store of a run's strata."""
    return ShardStore(folder=folder / NAME, digest=digest_of(NAME))


def read_pairs(text: ShardStore, image: ShardStore | None, shard: str) -> Columns:
    """Read a shard's text pairs and whether the image has the same tag (``joint``)."""
    columns = ["sample_id", "concept_id", "form", "context"]
    path = text.path(shard, ".parquet")
    if path.exists():
        pairs = read_numbers(path, columns)
    else:
        pairs = {column: np.zeros(0, dtype=np.int64) for column in columns}
    return {**pairs, "joint": is_joint(pairs, image, shard)}


def read_numbers(path: Path, columns: Sequence[str]) -> Columns:
    """Read columns of numbers of a shard's table; as a frame they would take milliseconds more."""
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        table = file.read(list(columns))
    return {name: table.column(name).to_numpy() for name in columns}


def is_joint(pairs: Columns, image: ShardStore | None, shard: str) -> npt.NDArray[np.bool_]:
    """Return of which pairs the image has the tag, too."""
    path = None if image is None else image.path(shard, ".parquet")
    n_pairs = len(pairs["sample_id"])
    if path is None or not path.exists() or not n_pairs:
        return np.zeros(n_pairs, dtype=bool)
    columns = ("sample_id", "concept_id")
    tags = read_numbers(path, columns)
    ours, theirs = (
        pd.MultiIndex.from_arrays([np.asarray(one[name], np.int64) for name in columns])
        for one in (pairs, tags)
    )
    return ours.isin(theirs)


def expected_agreement(pairs: Columns | pd.DataFrame, image_samples: npt.NDArray[np.int64]) -> Json:
    """Add up how many samples are expected to be tagged on each side, on both, and to agree.

    As `conceptaudit.frequency.counting.count_pairs`, in `UNIT` parts of a sample. Pairs of a sample
    count as independent given their form and context.
    """
    missing = 1.0 - np.asarray(pairs["share"], np.float64)
    joint = np.asarray(pairs["joint"], bool)
    sample, at = np.unique(np.asarray(pairs["sample_id"], np.int64), return_inverse=True)
    none, none_joint = np.ones(len(sample)), np.ones(len(sample))
    np.multiply.at(none, at, missing)
    np.multiply.at(none_joint, at[joint], missing[joint])
    tagged = np.rint((1.0 - none) * UNIT).astype(np.int64)
    agreeing = np.rint((1.0 - none_joint) * UNIT).astype(np.int64)
    return {
        "n_text_tagged": int(tagged.sum()),
        "n_both_tagged": int(tagged[np.isin(sample, image_samples)].sum()),
        "n_agreeing": int(agreeing.sum()),
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Shares:
    """How many pairs of each form and context name their concept, ready to be looked up."""

    forms: npt.NDArray[Any]  # those that occur, sorted
    contexts: npt.NDArray[Any]
    cells: npt.NDArray[np.int64]  # (n,): each row's form and context as one number, sorted
    # (n,): share of the pairs whose image has the tag, and of the others
    joint: npt.NDArray[np.float64]
    other: npt.NDArray[np.float64]

    @classmethod
    def of(cls, table: pd.DataFrame) -> Shares:
        """Prepare a table of ``form``, ``context``, ``n``, ``n_joint``, ``share``, ``share_joint``.

        ``n`` and ``n_joint`` are pairs, and those whose image has the tag; ``share`` and
        ``share_joint`` of each name the concept.
        """
        n, n_joint = (table[name].to_numpy(np.float64) for name in ("n", "n_joint"))
        among, joint = (table[name].to_numpy(np.float64) for name in ("share", "share_joint"))
        # the pairs whose image lacks the tag are named as often as makes both come to all
        rest = among * n - joint * n_joint
        other = np.divide(rest, n - n_joint, out=among.copy(), where=n > n_joint)
        form, context = table["form"].to_numpy(), table["context"].to_numpy()
        forms, contexts = np.unique(form), np.unique(context)
        cells = np.searchsorted(forms, form) * len(contexts) + np.searchsorted(contexts, context)
        order = np.argsort(cells, kind="stable")
        return cls(
            forms=forms,
            contexts=contexts,
            cells=cells[order],
            joint=joint[order],
            other=np.clip(other, 0.0, 1.0)[order],
        )

    def look_up(
        self, form: npt.NDArray[Any], context: npt.NDArray[Any], is_joint: npt.NDArray[np.bool_]
    ) -> npt.NDArray[np.float64]:
        """Return the share of each pair's cell; 0 where there is no such cell."""
        if not len(self.cells):
            return np.zeros(len(form))
        i, known = _places(self.forms, form)
        j, known_too = _places(self.contexts, context)
        at, there = _places(self.cells, i * len(self.contexts) + j)
        share = np.where(is_joint, self.joint[at], self.other[at])
        return np.where(known & known_too & there, share, 0.0)


def _places(
    ordered: npt.NDArray[Any], values: npt.NDArray[Any]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """Find values in a sorted array that is not empty, and whether they are there."""
    at = np.minimum(np.searchsorted(ordered, values), len(ordered) - 1)
    return at, ordered[at] == values


@lru_cache(maxsize=2)
def _shares(path: Path, stamp: tuple[int, int, int]) -> Shares:  # noqa: ARG001 -- tells files apart
    columns = ["form", "context", "n", "n_joint", "share", "share_joint"]
    return Shares.of(pd.read_parquet(path, columns=columns))


def read_shares(path: Path) -> Shares:
    """Read the shares of each form and context that were estimated, once per process."""
    status = path.stat()  # a digest of the table would be computed for every shard
    return _shares(path, (status.st_ino, status.st_size, status.st_mtime_ns))


def with_shares(pairs: Columns | pd.DataFrame, shares: Shares) -> Columns:
    """Add to every pair the probability that the caption names the concept."""
    columns = {str(name): np.asarray(values) for name, values in pairs.items()}
    form = columns["form"]
    share = shares.look_up(form, columns["context"], columns["joint"].astype(bool))
    return {**columns, "share": np.where(form == CERTAIN, 1.0, share)}
