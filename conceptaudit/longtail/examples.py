"""Example images of the concepts, and what images are ranked by: prompts, examples, or both."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from conceptaudit.artifacts import digest_of
from conceptaudit.display import quantity
from conceptaudit.errors import ConfigError, DataError
from conceptaudit.image.decode import UndecodableImageError, decode_image
from conceptaudit.image.encode import ENCODE_BATCH
from conceptaudit.image.vectors import unit_rows
from conceptaudit.longtail.safe_filenames import safe_part
from conceptaudit.longtail.select import close_name
from conceptaudit.options.longtail import BOTH_RANKS
from conceptaudit.records import Float32Array

if TYPE_CHECKING:
    from PIL import Image

    from conceptaudit.image.clip import ClipModel

# Names that a message lists.
SHOWN = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Examples:
    """Example images of the selected concepts."""

    files: dict[str, tuple[Path, ...]]  # at least one for every selected concept
    # SHA-256 of every file: such images must not be in the set that they helped to find
    contents: frozenset[str]
    digest: str  # of concepts and files
    notes: tuple[str, ...] = ()  # what was left aside


def read_examples(location: str | Path, concepts: Sequence[str], known: Sequence[str]) -> Examples:
    """Find the example images of concepts."""
    place = Path(location)
    found = _of_folder(place, known) if place.is_dir() else _of_table(place, known)
    lacking = [name for name in concepts if not found.get(name)]
    if lacking:
        more = f" and {len(lacking) - SHOWN} more" if len(lacking) > SHOWN else ""
        raise DataError(
            f"{place} has no example image of {', '.join(map(repr, lacking[:SHOWN]))}{more}. Add "
            "some, leave these concepts out with --exclude or an edited selection, or rank by "
            "--rank text."
        )
    others = sorted(set(found) - set(concepts))
    notes = [f"Left aside: examples of {quantity(len(others), 'concept')} outside the selection."]
    files = {name: tuple(found[name]) for name in concepts}
    digests = {name: [_sha256(path) for path in paths] for name, paths in files.items()}
    return Examples(
        files=files,
        contents=frozenset(digest for some in digests.values() for digest in some),
        digest=digest_of(digests),
        notes=tuple(notes) if others else (),
    )


def _of_folder(place: Path, known: Sequence[str]) -> dict[str, list[Path]]:
    names = {safe_part(name).casefold(): name for name in reversed(known)}
    names |= {name.replace(" ", "_").casefold(): name for name in reversed(known)}
    names |= {name.casefold(): name for name in reversed(known)} | {name: name for name in known}
    found: dict[str, list[Path]] = {}
    for folder in sorted(path for path in place.iterdir() if path.is_dir()):
        name = names.get(folder.name, names.get(folder.name.casefold()))
        if name is None:
            raise DataError(
                f"The folder {folder} is named like no concept of the audit"
                f"{close_name(folder.name, known)}. Rename or remove it."
            )
        files = sorted(path for path in folder.iterdir() if path.is_file())
        found.setdefault(name, []).extend(path for path in files if path.name[0] != ".")
    return found


def _of_table(place: Path, known: Sequence[str]) -> dict[str, list[Path]]:
    try:
        with place.open(encoding="utf-8-sig", newline="") as stream:
            rows = list(csv.DictReader(stream, restval="", strict=True))
    except (OSError, ValueError, csv.Error) as error:
        raise DataError(
            f"Cannot read the examples {place}: {error}. Name a folder with a folder of images "
            "per concept, or a CSV table with the columns 'concept' and 'path'."
        ) from error
    found: dict[str, list[Path]] = {}
    for line, row in enumerate(rows, start=2):
        if not {"concept", "path"} <= row.keys():
            raise DataError(
                f"{place} must have the columns 'concept' and 'path'. Got {list(row)} instead."
            )
        if row["concept"] not in known:
            raise DataError(
                f"Line {line} of {place} names {row['concept']!r}, which is not a concept of the "
                f"audit{close_name(row['concept'], known)}."
            )
        found.setdefault(row["concept"], []).append(place.parent / row["path"])
    return found


def _sha256(path: Path) -> str:
    return hashlib.sha256(_read(path)).hexdigest()


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except (OSError, ValueError) as error:  # a path with a NUL in it is a ValueError
        why = getattr(error, "strerror", None) or error
        raise DataError(f"Cannot read the example {str(path)!r}: {why}.") from error


def rank_vectors(
    texts: Float32Array, examples: Examples, clip: ClipModel, rank: str
) -> Float32Array:
    """Make the vectors that images are ranked by.

    Shapes: `texts` (n_concepts, dimension), result (n_concepts, dimension).
    """
    if clip.dimension != texts.shape[1]:
        raise ConfigError(
            f"{clip.name} gives examples of dimension {clip.dimension}, but the concepts have "
            f"{texts.shape[1]}. Name the model that these were made with (--clip)."
        )
    means = np.empty_like(texts)
    for row, paths in enumerate(examples.files.values()):
        vectors = [
            unit_rows(
                clip.encode_images([_picture(path) for path in paths[at : at + ENCODE_BATCH]])
            )
            for at in range(0, len(paths), ENCODE_BATCH)
        ]
        means[row] = np.concatenate(vectors).mean(axis=0)
    means = unit_rows(means)
    return unit_rows(texts + means) if rank == BOTH_RANKS else means


def _picture(path: Path) -> Image.Image:
    try:
        return decode_image(_read(path))
    except UndecodableImageError as error:
        raise DataError(
            f"The example {path} cannot be used: {error.reason}"
            f"{f' ({error.detail})' if error.detail else ''}. Replace or remove it."
        ) from error
