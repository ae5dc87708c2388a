"""A long-tail set on disk: putting it in place whole, reading it back."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import rmtree

import pandas as pd

from conceptaudit.artifacts import LOCK, MANIFEST, MARK, clear, exclusive, file_digest, read_json
from conceptaudit.errors import ArtifactMismatchError, DataError
from conceptaudit.longtail.export import CLASS_TABLE, IMAGE_TABLE, REMOVED_TABLE
from conceptaudit.longtail.records import LongTailSet
from conceptaudit.longtail.set_checks import check_images, check_manifest
from conceptaudit.paths import is_there

KIND = "longtail"
NEW = "new"
OLD = "old"
WORK = "shards"
"""Folder of the finished shards, which outlives a run that was stopped."""

_log = logging.getLogger(__name__)

_TEXTS = ("file", "concept", "folder", "key", "source", "runner_up", "phash", "sha256", "caption")
_MORE_TEXTS = ("reason", "detail", "duplicate_of", "why", "url", "license", "suspect")


def read_long_tail(folder: str | Path) -> LongTailSet:
    """Read a finished set.

    Texts in the tables are as in the CSV files: on one line, with an apostrophe before what a
    spreadsheet would compute. `LongTailSet.concepts` has the names as they are.

    Raises
    ------
    DataError
        The folder is no long-tail set, or a table is missing or damaged.
    """
    folder = Path(folder)
    manifest = read_json(folder / MANIFEST)
    if not isinstance(manifest, dict) or manifest.get("kind") != KIND:
        raise DataError(f"{folder} is not a long-tail set of conceptaudit.")
    check_manifest(folder / MANIFEST, manifest)
    images = _table(folder / IMAGE_TABLE)
    check_images(folder / IMAGE_TABLE, images)
    return LongTailSet(
        folder=folder,
        images=images,
        classes=_table(folder / CLASS_TABLE),
        removed=_table(folder / REMOVED_TABLE),
        manifest=manifest,
    )


def _table(path: Path) -> pd.DataFrame:
    try:
        texts = dict.fromkeys((*_TEXTS, *_MORE_TEXTS), str)
        table = pd.read_csv(path, dtype=texts, keep_default_na=False, na_values={})
    except (OSError, ValueError) as error:
        raise DataError(f"Cannot read {path}: {error}.") from error
    for name in table.columns.difference(list(texts)):
        if not pd.api.types.is_numeric_dtype(table[name]):  # which truth values are, too
            table[name] = pd.to_numeric(table[name], errors="coerce")
    return table


def find_finished(folder: Path, digest: str) -> LongTailSet | None:
    """Return the set that a folder holds if it is this one and every file of it is intact."""
    if not (folder / MANIFEST).is_file():
        return None
    manifest = read_json(folder / MANIFEST)
    if not isinstance(manifest, dict) or manifest.get("kind") != KIND:
        return None
    if manifest.get("digest") != digest:
        return None
    if not isinstance(manifest.get("files"), dict):
        return None
    for name, recorded in manifest["files"].items():
        path = folder / name
        if not is_there(path) or file_digest(path) != recorded:
            return None
    return read_long_tail(folder)


def check_target(folder: Path, *, overwrite: bool) -> None:
    """Refuse an output folder that holds something which must not be lost.

    Raises
    ------
    ArtifactMismatchError
        It is a file, holds other files than a long-tail set, or holds a set and `overwrite` is
        not given.
    """
    if folder.exists() and not folder.is_dir():
        raise ArtifactMismatchError(f"{folder} is a file; -o must name a folder.")
    entries = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    if not entries:
        return
    ours = False
    if (folder / MANIFEST).is_file():
        try:
            manifest = read_json(folder / MANIFEST)
            ours = isinstance(manifest, dict) and manifest.get("kind") == KIND
        except DataError:
            ours = False
    if not ours:
        raise ArtifactMismatchError(
            f"{folder} holds files that are not a long-tail set (such as {entries[0]!r}). "
            "Name a new or empty folder."
        )
    if not overwrite:
        raise ArtifactMismatchError(
            f"{folder} holds a long-tail set with other inputs or settings, or one that was "
            "changed by hand. Add --overwrite to replace it, or name another folder with -o."
        )


def site_of(folder: Path) -> Path:
    """Where a set is built: beside the folder that it appears in."""
    return folder.parent / f".{folder.name}.building"


@contextmanager
def building(folder: Path) -> Iterator[Path]:
    """Yield an empty folder beside `folder`; on success put it in the place of `folder`.

    A killed run leaves `folder` as it was (or, between two renames, is repaired by the next run).
    What lies in the folder `WORK` beside the yielded one is there again for the next run, unless
    this one succeeds.

    Raises
    ------
    ArtifactMismatchError
        Another process is building the same set.
    DataError
        The folder cannot be written to.
    """
    site = site_of(folder)
    try:
        with exclusive(site):
            if (site / OLD).is_dir() and not folder.exists():
                (site / OLD).rename(folder)
            _clear_but_work(site)
            (site / NEW).mkdir()
            try:
                yield site / NEW
                _swap(site, folder)
            except BaseException:
                _clear_but_work(site)
                if (site / WORK).is_dir():
                    _log.warning(
                        "Finished shards are kept in %s: the same command goes on from there.",
                        site / WORK,
                    )
                raise
            clear(site)
    except OSError as error:
        raise DataError(f"Cannot write {folder}: {error.strerror or error}.") from error
    finally:
        if site.is_dir() and not any(site.iterdir()):
            site.rmdir()


def _clear_but_work(site: Path) -> None:
    """Remove everything except finished shards, and the marks of who did them."""
    for path in site.iterdir():
        if path.name == WORK and any(path.rglob("*.json")):
            continue
        if path.name.startswith(MARK):
            continue
        if path.is_dir() and not path.is_symlink():
            rmtree(path)
        elif path.name != LOCK:
            path.unlink()


def _swap(site: Path, folder: Path) -> None:
    if folder.is_dir() and not any(path.name != LOCK for path in folder.iterdir()):
        rmtree(folder)
    if folder.exists():
        folder.rename(site / OLD)
    (site / NEW).rename(folder)
