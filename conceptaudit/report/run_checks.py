"""Whether the files of an audit say what the report takes from them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from conceptaudit.artifacts import Json
from conceptaudit.errors import DataError
from conceptaudit.records import ConceptFrequencies

_KINDS: dict[str, type] = {
    "account": dict, "digest": str, "notes": list, "reading": dict, "settings": list,
    "shards": list, "versions": dict,
}  # fmt: skip
_ACCOUNT = ("n_samples", "n_used")
_SIDES = ("text", "image")
_AGREEMENT = ("n_both_tagged", "n_agreeing", "n_misaligned")
_SHARES = (
    "level", "misalignment_degree", "misaligned_among_tagged", "misaligned_among_tagged_low",
    "misaligned_among_tagged_high",
)  # fmt: skip
_CORRECTED = tuple(f"nothing_named_is_shown{end}" for end in ("", "_low", "_high"))


def check_manifest(path: Path, manifest: dict[str, Json]) -> None:
    """Refuse an audit's manifest that lacks what the report takes from it."""
    wrong = [name for name, kind in _KINDS.items() if not isinstance(manifest.get(name), kind)]
    level = manifest.get("level")
    wrong += [] if isinstance(level, float) and 0.0 < level < 1.0 else ["level"]
    if not wrong:
        wrong += [] if all(map(_is_plain_name, manifest["shards"])) else ["shards"]
        wrong += [] if all(isinstance(one, dict | None) for one in manifest["settings"]) else [
            "settings"
        ]  # fmt: skip
        wrong += [] if _is_account(manifest["account"]) else ["account"]
    _refuse(path, wrong)


def check_alignment(path: Path, alignment: Json) -> None:
    """Refuse numbers of agreement that lack what the report takes from them."""
    if not isinstance(alignment, dict):
        _refuse(path, ["n_misaligned"])
    wrong: list[str] = []
    if alignment.get("n_misaligned") is not None:
        wrong = [name for name in _AGREEMENT if not _is_count(alignment.get(name))]
        if not wrong and alignment["n_both_tagged"]:
            wrong = [name for name in _SHARES if not _is_share(alignment.get(name))]
    corrected = alignment.get("corrected")
    if not isinstance(corrected, dict | None):
        wrong.append("corrected")
    elif corrected and corrected.get(_CORRECTED[0]) is not None:
        wrong += [f"corrected.{name}" for name in _CORRECTED if not _is_share(corrected.get(name))]
    _refuse(path, wrong)


def check_counts(path: Path, frequencies: ConceptFrequencies) -> None:
    """Refuse an audit's counts where one is missing: an audit counts every concept or none."""
    for column in frequencies.counted:
        missing = frequencies.table[column].isna().to_numpy(bool)
        if missing.any():
            row = int(missing.argmax())
            raise DataError(
                f"{path}, row {row + 1}: {column} is missing for concept "
                f"{frequencies.table['concept'].iloc[row]!r}. The file is damaged or was edited: "
                "run the audit again with --resume."
            )


def _refuse(path: Path, wrong: list[str]) -> None:
    if wrong:
        raise DataError(
            f"{path} is damaged: it lacks a proper {wrong[0]!r}. Run the audit again with --resume "
            "to write it anew."
        )


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_share(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1


def _is_plain_name(value: Any) -> bool:
    """Whether a name may become a file's in the run folder."""
    return isinstance(value, str) and Path(value).name == value and "\0" not in value


def _is_account(account: dict[str, Any]) -> bool:
    sides = [account[side] for side in _SIDES if side in account]
    return bool(sides) and all(
        isinstance(side, dict)
        and all(_is_count(side.get(name)) for name in _ACCOUNT)
        and all(isinstance(side.get(name), dict) for name in ("dropped", "noted"))
        and all(_is_count(n) for name in ("dropped", "noted") for n in side[name].values())
        for side in sides
    )
