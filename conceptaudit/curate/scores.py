"""Scores of samples from another table, joined by key."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from conceptaudit.artifacts import file_digest, write_npy
from conceptaudit.datasets._columns import KEY_ALIASES, URL_ALIASES, first_column
from conceptaudit.errors import ConfigError, DataError
from conceptaudit.reading import read_parquet


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreTable:
    """Scores by key, laid out as arrays that workers map into memory.

    Keys are held as 64-bit hashes: two of ten million keys share one with a probability of three in
    a million.

    Parameters
    ----------
    folder : Path
        Where the arrays lie.
    names : tuple of str
        The table's columns beside the key.
    digest : str
        Of the file.
    """

    folder: Path
    names: tuple[str, ...]
    digest: str

    @classmethod
    def read(cls, path: Path, folder: Path) -> ScoreTable:
        """Read a table (parquet, CSV or TSV) with a key column, and lay it out in a folder.

        Raises
        ------
        ConfigError, DataError
            It has no key column, holds a key twice, or cannot be read.
        """
        table = _table(path)
        key = first_column((*KEY_ALIASES, *URL_ALIASES), [str(name) for name in table])
        if key is None:
            raise ConfigError(
                f"--scores must name a table with a key column (key, uid, url, …). {path} has "
                f"{list(table)}."
            )
        hashes = hash_keys(table[key].astype("str").tolist())
        order = np.argsort(hashes, kind="stable")
        hashes = hashes[order]
        twice = np.flatnonzero(hashes[1:] == hashes[:-1])
        if len(twice):
            which = table[key].iloc[int(order[twice[0]])]
            raise DataError(f"{path} holds the key {which!r} more than once: keep one row of it.")
        names = tuple(str(name) for name in table if name != key)
        write_npy(folder / "scores-keys.npy", hashes)
        for number, name in enumerate(names):
            column = table[name]
            values = column.iloc[order].to_numpy()
            if not pd.api.types.is_numeric_dtype(column):
                values = column.iloc[order].fillna("").astype("str").to_numpy(dtype="U")
            write_npy(folder / f"scores-{number}.npy", values)
        return cls(folder=folder, names=names, digest=file_digest(path))

    def of(self, keys: Sequence[str], name: str) -> pd.Series[Any]:
        """Look a column up for some keys; missing where the table lacks a key."""
        hashes = np.load(self.folder / "scores-keys.npy", mmap_mode="r", allow_pickle=False)
        number = self.names.index(name)
        values = np.load(self.folder / f"scores-{number}.npy", mmap_mode="r", allow_pickle=False)
        wanted = hash_keys(keys)
        place = np.minimum(np.searchsorted(hashes, wanted), max(len(hashes) - 1, 0))
        there = hashes[place] == wanted if len(hashes) else np.zeros(len(wanted), dtype=bool)
        taken = pd.Series(np.asarray(values[place]) if len(hashes) else np.full(len(wanted), None))
        if taken.dtype.kind not in "fiub":
            there &= np.asarray(taken != "")
        return taken.where(there)


def hash_keys(keys: Sequence[str]) -> np.ndarray[Any, np.dtype[np.uint64]]:
    """Hash keys to 64 bits, the same in every process."""
    return np.asarray(pd.util.hash_array(np.asarray(keys, dtype=object), categorize=False))


def _table(path: Path) -> pd.DataFrame:
    if not path.is_file():
        raise ConfigError(f"--scores must name a file. There is none at {path}.")
    if path.suffix.lower() == ".parquet":
        return read_parquet(path)
    try:
        separator = "\t" if path.suffix.lower() == ".tsv" else ","
        head = pd.read_csv(path, sep=separator, nrows=0)
        key = first_column((*KEY_ALIASES, *URL_ALIASES), [str(name) for name in head])
        return pd.read_csv(path, sep=separator, dtype={key: "str"} if key else None)
    except (OSError, ValueError) as error:
        raise DataError(f"Cannot read {path} as a table: {error}.") from error
