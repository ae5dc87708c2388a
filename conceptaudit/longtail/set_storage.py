"""A long-tail set on disk: putting it in place whole, reading it back."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pandas as pd

from conceptaudit.artifacts import MANIFEST, Json, RunFolder, digest_of, file_digest, read_json
from conceptaudit.errors import ArtifactMismatchError, DataError
from conceptaudit.longtail.export import CLASS_TABLE, IMAGE_TABLE, REMOVED_TABLE
from conceptaudit.longtail.records import LongTailSet
from conceptaudit.store.checking import check_written, identify
from conceptaudit.store.files import is_there
from conceptaudit.store.layouts import LAYOUTS
from conceptaudit.store.partials import ScratchFolder
from conceptaudit.store.removing import contents_of, refuse_links, remove

KIND = "longtail"
OLD = "old"
# Folder of the finished shards, which outlives a run that was stopped.
WORK = "shards"

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
    check_written(path)
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
    """Refuse an output folder that holds something which must not be lost."""
    if folder.exists() and not folder.is_dir():
        raise ArtifactMismatchError(f"{folder} is a file; -o must name a folder.")
    entries = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    if not entries:
        return
    refuse_links(folder, LAYOUTS[KIND])
    held = identify(folder)
    if held is None or held.kind != KIND:
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


def work_folder(folder: Path, shards: Iterable[str]) -> RunFolder:
    """Name the folder of the finished shards of a set; it outlives a run that was stopped."""
    return RunFolder.at(
        site_of(folder), kind=f"{KIND}-work", digest=digest_of(KIND), shards=shards, options=()
    )


@contextmanager
def building(folder: Path, shards: Iterable[str]) -> Iterator[tuple[Path, Path]]:
    """Yield an empty folder and one for finished shards; on success the first becomes `folder`.

    A killed run leaves `folder` as it was (or, between two renames, is repaired by the next run).
    Finished shards are there again for the next run, unless this one succeeds. Files that are not
    of the set which `folder` held are carried over.
    """
    run = work_folder(folder, shards)
    site = run.path
    try:
        with run.hold(resume=True):
            _repair(site, folder)
            try:
                with ScratchFolder(site) as scratch:
                    new = scratch / "set"
                    new.mkdir()
                    yield new, site / WORK
                    _swap(site, new, folder)
            except BaseException:
                if any((site / WORK).rglob("*.json")):
                    _log.warning(
                        "Finished shards are kept in %s: the same command goes on from there.",
                        site / WORK,
                    )
                else:
                    run.discard()
                raise
            run.discard()
    except OSError as error:
        raise DataError(f"Cannot write {folder}: {error.strerror or error}.") from error


def discard_work(folder: Path, shards: Iterable[str]) -> None:
    """Remove the shards of a finished set that a run left which was killed at its very end."""
    run = work_folder(folder, shards)
    if run.path.is_dir():
        # where another process holds it, the folder is in use and stays
        with suppress(ArtifactMismatchError), run.hold(resume=True):
            run.discard()


def _repair(site: Path, folder: Path) -> None:
    """Finish what a run was doing that was killed while it put a set in the place of another."""
    if (site / OLD).is_dir() and not folder.exists():
        (site / OLD).rename(folder)
    _retire(site, folder)


def _swap(site: Path, new: Path, folder: Path) -> None:
    if folder.is_dir() and any(folder.iterdir()):
        folder.rename(site / OLD)
    elif folder.is_dir():
        folder.rmdir()
    new.rename(folder)
    _retire(site, folder)


def _retire(site: Path, folder: Path) -> None:
    """Remove the set that was replaced, after what is not of it has gone over to the new one."""
    old = site / OLD
    if not old.is_dir():
        return
    contents = contents_of(old, LAYOUTS[KIND])
    for name in contents.foreign:
        target = folder / name
        if not os.path.lexists(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            (old / name).rename(target)
    contents.warn(folder)
    remove(old, contents.own)
    for path in sorted(old.rglob("*"), reverse=True):
        if path.is_dir() and not path.is_symlink():
            with suppress(OSError):
                path.rmdir()
    with suppress(OSError):
        old.rmdir()
    if old.is_dir():
        _log.warning("What the new set has files of the same name for is kept in %s.", old)


_NUMBER = (int, float, type(None))
_CLASS: dict[str, type | tuple[type, ...]] = {
    "concept": str, "included": bool, "n_images": int, "n_missing": int,
    "n_text": _NUMBER, "n_image": _NUMBER, "n_joint": _NUMBER,
}  # fmt: skip
# Columns that are looked at wherever the table names files.
_SHOWN = ("class_index", "rank", "caption")


def check_manifest(path: Path, manifest: Json) -> None:
    """Refuse a manifest that lacks what readers of a set take from it."""
    kinds = {"classes": list, "notes": list, "removed": dict}
    wrong = [name for name, kind in kinds.items() if not isinstance(manifest.get(name), kind)]
    wrong += [name for name in ("n_classes", "n_images") if not _is_count(manifest.get(name))]
    if not wrong:
        wrong = [] if all(isinstance(note, str) for note in manifest["notes"]) else ["notes"]
        wrong += [] if all(map(_is_count, manifest["removed"].values())) else ["removed"]
        for place, one in enumerate(manifest["classes"]):
            wrong += [f"classes[{place}].{name}" for name in _wrong_in(one)]
    if wrong:
        raise DataError(
            f"{path} is damaged: it lacks a proper {wrong[0]!r}. Build the set again, or fetch it "
            "from where it was published."
        )


def check_images(path: Path, table: pd.DataFrame) -> None:
    """Refuse a table of images that lacks what readers of a set take from it."""
    missing = [name for name in _SHOWN if name not in table]
    if missing:
        raise DataError(f"{path} is damaged: it has no column {missing[0]!r}.")


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _wrong_in(one: Any) -> list[str]:
    if not isinstance(one, dict):
        return ["concept"]
    wrong = [n for n, kind in _CLASS.items() if n not in one or not isinstance(one[n], kind)]
    wrong += [name for name in ("n_images", "n_missing") if not _is_count(one.get(name))]
    if one.get("included") is True and not _is_count(one.get("class_index")):
        wrong.append("class_index")
    return wrong
