"""Check a folder that conceptaudit wrote: that all is there, unchanged, and adds up."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from conceptaudit.artifacts import (
    LOCK,
    LOG,
    MANIFEST,
    STARTED,
    digest_of,
    file_digest,
    read_json,
)
from conceptaudit.display import quantity
from conceptaudit.errors import ConfigError, DataError
from conceptaudit.reading import is_text, read_parquet
from conceptaudit.store.files import is_there

COUNTS = ("n_text", "n_image", "n_joint")
UNNAMED = (MANIFEST, LOCK, STARTED, LOG)  # files of a run that its manifest need not name
HOLDS = "holds"  # the manifest's list of folders below it that are runs of their own


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One thing that is wrong with a folder.

    Parameters
    ----------
    file : str
        Path below the folder.
    what : str
        What is wrong with it.
    """

    file: str
    what: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Validation:
    """What was checked, and what is wrong.

    Parameters
    ----------
    folder : Path
    kind : str
        ``"audit"``, ``"evaluation"``, … as the manifest says.
    n_files, n_records : int
        Files and shard records that were checked.
    faults : tuple of Fault
    """

    folder: Path
    kind: str
    n_files: int
    n_records: int
    faults: tuple[Fault, ...]


def validate(folder: str | Path) -> Validation:
    """Check a finished run, index, embedding folder or long-tail set.

    Every file that the manifest names must be there with its digest and no other file may be;
    every shard record must match its own checksum; every account must add up; and in an audit no
    count may contradict another.

    Parameters
    ----------
    folder : str or Path
        Holds a ``manifest.json``.

    Returns
    -------
    Validation

    Raises
    ------
    ConfigError
        The folder is not one that conceptaudit wrote.
    """
    root = Path(folder)
    if not (root / MANIFEST).is_file():
        if (root / STARTED).is_file():
            fault = Fault(file=MANIFEST, what="missing: the run is not finished; run it again")
            return Validation(
                folder=root, kind="unfinished", n_files=0, n_records=0, faults=(fault,)
            )
        raise ConfigError(
            f"{root} holds no {MANIFEST}: it is no folder that conceptaudit has finished writing."
        )
    try:
        manifest = read_json(root / MANIFEST)
        named = {str(name): str(digest) for name, digest in manifest["files"].items()}
    except (DataError, KeyError, AttributeError, TypeError) as error:
        fault = Fault(file=MANIFEST, what=f"cannot be read: {error}")
        return Validation(folder=root, kind="unknown", n_files=0, n_records=0, faults=(fault,))
    holds = _runs_inside(manifest)
    inner = {name: validate(root / name) for name in holds if (root / name / MANIFEST).is_file()}
    faults = [*_files(root, named), *_strays(root, named, holds)]
    faults += [
        Fault(file=f"{name}/{MANIFEST}", what="missing") for name in holds if name not in inner
    ]
    records = [name for name in named if name.endswith(".json") and "/" in name]
    n_records = 0
    for name in records:
        record = _record(root / name)
        if record is not None:
            n_records += 1
            faults += _record_faults(name, record)
    accounts = manifest.get("account") or manifest.get("accounts") or {}
    faults += _accounts(accounts)
    faults += _counts(root / "frequencies.parquet")
    for name, checked in inner.items():
        faults += [Fault(file=f"{name}/{one.file}", what=one.what) for one in checked.faults]
    return Validation(
        folder=root,
        kind=str(manifest.get("kind", "unknown")),
        n_files=len(named) + sum(checked.n_files for checked in inner.values()),
        n_records=n_records + sum(checked.n_records for checked in inner.values()),
        faults=tuple(faults),
    )


def _runs_inside(manifest: Mapping[str, Any]) -> tuple[str, ...]:
    """Folders directly below a run that its manifest calls runs of their own, as a demo's does."""
    names = manifest.get(HOLDS)
    if not isinstance(names, list):
        return ()
    # no way out of the folder, nor into itself without end
    return tuple(
        name
        for name in names
        if isinstance(name, str)
        and is_text(name)
        and not {"/", "\0"} & set(name)
        and name not in ("", ".", "..")
    )


def _files(root: Path, named: Mapping[str, str]) -> Iterator[Fault]:
    base = root.resolve()
    for name, digest in sorted(named.items()):
        path = root / name
        if not is_text(name) or "\0" in name:
            yield Fault(file=repr(name), what="is no name that a file can have")
        elif not path.resolve().is_relative_to(base):
            yield Fault(file=name, what="lies outside the folder")
        elif not is_there(path):
            yield Fault(file=name, what="missing")
        else:
            try:
                changed = file_digest(path) != digest
            except DataError as error:
                yield Fault(file=name, what=f"cannot be read: {error}")
                continue
            if changed:
                yield Fault(file=name, what="has changed since it was written")


def _strays(root: Path, named: Mapping[str, str], inner: tuple[str, ...]) -> Iterator[Fault]:
    for path in sorted(root.rglob("*")):
        name = path.relative_to(root).as_posix()
        if name.split("/")[0] in inner:
            continue
        if path.is_file() and name not in named and path.name not in UNNAMED:
            yield Fault(file=name, what="no part of the run: the manifest does not name it")


def _record(path: Path) -> dict[str, Any] | None:
    """Read a shard record; None for JSON of another kind, and for what is reported already."""
    try:
        record = read_json(path)
    except DataError:
        return None
    is_record = isinstance(record, dict) and {"digest", "files", "result"} <= record.keys()
    return record if is_record else None


def _record_faults(name: str, record: dict[str, Any]) -> Iterator[Fault]:
    body = {key: value for key, value in record.items() if key != "sha256"}
    if record.get("sha256") != digest_of(body):
        yield Fault(file=name, what="does not match its own checksum")
    result = record["result"]
    if isinstance(result, dict) and {"n_samples", "n_used", "dropped"} <= result.keys():
        yield from _account_faults(name, result)


def _accounts(accounts: Any) -> Iterator[Fault]:
    """Check the account of a run, of each of its sides, or of each of its models."""
    if isinstance(accounts, list):
        for account in accounts:
            yield from _accounts(account)
    elif isinstance(accounts, dict) and {"n_samples", "n_used", "dropped"} <= accounts.keys():
        yield from _account_faults(MANIFEST, accounts)
    elif isinstance(accounts, dict):
        for account in accounts.values():
            if isinstance(account, dict):
                yield from _accounts(account)


def _account_faults(name: str, account: dict[str, Any]) -> Iterator[Fault]:
    dropped = account["dropped"]
    numbers = [account["n_samples"], account["n_used"]]
    numbers += dropped.values() if isinstance(dropped, dict) else [None]
    if not all(isinstance(number, int) for number in numbers):
        yield Fault(file=name, what="has an account of other things than numbers")
        return
    n_dropped = sum(dropped.values())
    if account["n_samples"] != account["n_used"] + n_dropped:
        yield Fault(
            file=name,
            what=f"does not add up: {quantity(account['n_samples'], 'sample')}, "
            f"{account['n_used']:,} used, "
            f"{n_dropped:,} dropped",
        )


def _counts(path: Path) -> Iterator[Fault]:
    """Look for counts that contradict each other or their intervals."""
    if not path.is_file():
        return
    try:
        table = read_parquet(path)
    except DataError:
        return  # its digest has been reported
    if "concept" not in table:
        yield Fault(file=path.name, what="has no column of concepts")
        return
    if not table.columns.is_unique:
        yield Fault(file=path.name, what="has a column twice")
        return
    ends = [f"{column}_{end}" for column in COUNTS for end in ("low", "high")]
    wanted = [name for name in (*COUNTS, *ends) if name in table]
    try:
        numbers = {name: table[name].to_numpy(np.float64, na_value=np.nan) for name in wanted}
    except (TypeError, ValueError) as error:
        yield Fault(file=path.name, what=f"has counts that are no numbers: {error}")
        return
    for column in COUNTS:  # where one of two numbers is not known, neither is above the other
        low, high = numbers.get(f"{column}_low"), numbers.get(f"{column}_high")
        if column in numbers and low is not None and high is not None:
            outside = (numbers[column] < low) | (numbers[column] > high)
            yield from _rows(path.name, table, outside, f"{column} outside its interval")
    if set(COUNTS) <= numbers.keys():
        n_text, n_image, n_joint = (numbers[name] for name in COUNTS)
        over = n_joint > np.minimum(n_text, n_image)
        yield from _rows(path.name, table, over, "n_joint above n_text or n_image")


def _rows(name: str, table: pd.DataFrame, bad: npt.NDArray[np.bool_], what: str) -> Iterator[Fault]:
    if bad.any():
        names = table.loc[bad, "concept"].tolist()
        yield Fault(
            file=name, what=f"{what} for {quantity(len(names), 'concept')}, such as {names[0]!r}"
        )
