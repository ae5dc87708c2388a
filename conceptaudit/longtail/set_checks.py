"""Whether the files of a long-tail set say what its readers count on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from conceptaudit.artifacts import Json
from conceptaudit.errors import DataError

_NUMBER = (int, float, type(None))
_CLASS: dict[str, type | tuple[type, ...]] = {
    "concept": str, "included": bool, "n_images": int, "n_missing": int,
    "n_text": _NUMBER, "n_image": _NUMBER, "n_joint": _NUMBER,
}  # fmt: skip
_SHOWN = ("class_index", "rank", "caption")
"""Columns that are looked at wherever the table names files."""


def check_manifest(path: Path, manifest: Json) -> None:
    """Refuse a manifest that lacks what readers of a set take from it.

    Raises
    ------
    DataError
        Names what is missing or of another kind.
    """
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
    """Refuse a table of images that lacks what readers of a set take from it.

    Raises
    ------
    DataError
        Names the missing column.
    """
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
