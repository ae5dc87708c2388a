"""Counting a shard whose text tags are open in part: certain pairs, strata, expected agreement."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from conceptaudit.artifacts import Json, ShardStore, digest_of, file_digest, write_parquet
from conceptaudit.datasets.base import Shard
from conceptaudit.store.removing import remove

NAME = "strata"
STRATA = ".parquet"

CERTAIN = 0
"""Form of a pair that needs no tagger."""

UNIT = 1 << 20
"""Expected numbers of samples are added up in these parts of one, as integers: then no order of
adding changes them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CountStrata:
    """Counts one shard's open pairs by form and context.

    Parameters
    ----------
    text : ShardStore
        Tags with ``form`` and ``context``.
    image : ShardStore or None
        None where images were not audited.
    store : ShardStore
        Where the counts go.
    """

    text: ShardStore
    image: ShardStore | None
    store: ShardStore

    def __call__(self, shard: Shard) -> None:
        """Count a shard and write its record."""
        pairs = read_pairs(self.text, self.image, shard.name)
        certain = pairs[pairs["form"] == CERTAIN]
        is_open = pairs[pairs["form"] != CERTAIN]
        strata = _add_up(is_open)
        files = {}
        path = self.store.path(shard.name, STRATA)
        remove(path.parent, [path.name])
        if len(strata):
            write_parquet(path, strata)
            files[STRATA] = path
        record = {
            "text": _sparse(certain["concept_id"]),
            "joint": _sparse(certain.loc[certain["joint"], "concept_id"]),
        }
        self.store.write(shard.name, shard.fingerprint, record, files)


def _add_up(pairs: pd.DataFrame) -> pd.DataFrame:
    """Count pairs by concept, form and context (``n``), and those whose image has the tag."""
    keys = [pairs[name].to_numpy(np.int64) for name in ("concept_id", "form", "context")]
    order = np.lexsort(keys[::-1])
    keys = [key[order] for key in keys]
    changes = [np.diff(key, prepend=key[:1] - 1) != 0 for key in keys]
    first = np.flatnonzero(np.logical_or.reduce(changes))
    joint = pairs["joint"].to_numpy(np.int64)[order]
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


def read_pairs(text: ShardStore, image: ShardStore | None, shard: str) -> pd.DataFrame:
    """Read a shard's text pairs and whether the image has the same tag (``joint``)."""
    columns = ["sample_id", "concept_id", "form", "context"]
    path = text.path(shard, ".parquet")
    if path.exists():
        pairs = pd.read_parquet(path, columns=columns)
    else:
        pairs = pd.DataFrame({column: np.zeros(0, dtype=np.int64) for column in columns})
    return pairs.assign(joint=is_joint(pairs, image, shard))


def is_joint(pairs: pd.DataFrame, image: ShardStore | None, shard: str) -> npt.NDArray[np.bool_]:
    """Tell of which pairs the image has the tag, too."""
    path = None if image is None else image.path(shard, ".parquet")
    if path is None or not path.exists() or not len(pairs):
        return np.zeros(len(pairs), dtype=bool)
    columns = ["sample_id", "concept_id"]
    tags = pd.MultiIndex.from_frame(pd.read_parquet(path, columns=columns).astype("int64"))
    return pd.MultiIndex.from_frame(pairs[columns].astype("int64")).isin(tags)


def expected_agreement(pairs: pd.DataFrame, image_samples: npt.NDArray[np.int64]) -> Json:
    """Add up how many samples are expected to be tagged on each side, on both, and to agree.

    Parameters
    ----------
    pairs : pandas.DataFrame
        ``sample_id``, ``joint`` and ``share``: the probability that the caption names the concept.
    image_samples : numpy.ndarray of int64
        Samples whose image has a tag, each once.

    Returns
    -------
    dict
        As `conceptaudit.frequency.counting.count_pairs`, in `UNIT` parts of a sample. Pairs of a
        sample count as independent given their form and context.
    """
    missing = 1.0 - pairs["share"].to_numpy(np.float64)
    joint = pairs["joint"].to_numpy(bool)
    sample, at = np.unique(pairs["sample_id"].to_numpy(np.int64), return_inverse=True)
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


@lru_cache(maxsize=2)
def _shares(path: Path, digest: str) -> pd.DataFrame:  # noqa: ARG001 -- tells contents apart
    columns = ["form", "context", "n", "n_joint", "share", "share_joint"]
    return pd.read_parquet(path, columns=columns)


def read_shares(path: Path) -> pd.DataFrame:
    """Read the shares of each form and context that were estimated, once per process."""
    return _shares(path, file_digest(path))


def with_shares(pairs: pd.DataFrame, shares: pd.DataFrame) -> pd.DataFrame:
    """Add to every pair the probability that the caption names the concept.

    Parameters
    ----------
    pairs : pandas.DataFrame
        ``form``, ``context`` and ``joint``.
    shares : pandas.DataFrame
        ``form``, ``context``, ``n`` and ``n_joint`` (pairs, and those whose image has the tag),
        ``share`` and ``share_joint`` (of each that name the concept).

    Examples
    --------
    >>> pairs = pd.DataFrame({"form": [0, 7, 7], "context": 1, "joint": [True, True, False]})
    >>> shares = pd.DataFrame({"form": [7], "context": 1, "n": 4, "n_joint": 2, "share": 0.5})
    >>> with_shares(pairs, shares.assign(share_joint=0.8))["share"].round(3).tolist()
    [1.0, 0.8, 0.2]
    """
    n, n_joint = (shares[name].to_numpy(np.float64) for name in ("n", "n_joint"))
    among, among_joint = (shares[name].to_numpy(np.float64) for name in ("share", "share_joint"))
    # the pairs whose image lacks the tag are named as often as makes both come to the share of all
    rest = among * n - among_joint * n_joint
    others = np.clip(np.divide(rest, n - n_joint, out=among.copy(), where=n > n_joint), 0.0, 1.0)
    told = shares[["form", "context", "share_joint"]].assign(share_other=others)
    joined = pairs.merge(told, on=["form", "context"], how="left")
    share = joined["share_joint"].where(joined["joint"], joined["share_other"])
    certain = joined["form"] == CERTAIN
    return joined.drop(columns=["share_joint", "share_other"]).assign(
        share=share.where(~certain, 1.0).fillna(0.0)
    )


def _sparse(ids: pd.Series) -> list[list[int]]:
    found, counts = np.unique(ids.to_numpy(np.int64), return_counts=True)
    return [found.tolist(), counts.tolist()]
