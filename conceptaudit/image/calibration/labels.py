"""Labelled images: reading them, and carrying what they teach over to other data."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from conceptaudit.display import quantity
from conceptaudit.errors import ConfigError, DataError
from conceptaudit.image.calibration.histograms import (
    BoolArray,
    Scale,
    ScoreHistograms,
    count_scores,
)
from conceptaudit.image.calibration.model import INTERCEPT, Fitted
from conceptaudit.image.clip import ClipModel
from conceptaudit.image.decode_pool import Failure
from conceptaudit.image.encode import OomSafeEncoder
from conceptaudit.reading import read_parquet
from conceptaudit.records import ConceptVocabulary, Float32Array

SHIFT_STEPS = 300
WIDEST_SHIFT = 3.0  # standard deviation of a shift, in log odds, where scores say nothing of it

COLUMNS = ("key", "concept", "present")


@dataclass(frozen=True, slots=True, kw_only=True)
class Labels:
    """What is known of some images."""

    shown: dict[str, frozenset[int]]  # by image key: ids of the concepts that it shows
    # by image key: ids of the concepts that it does not show. None where labelled images are
    # labelled completely: what is not listed is not shown
    absent: dict[str, frozenset[int]] | None = None

    @property
    def n_keys(self) -> int:
        """Images of which something is known."""
        return len(set(self.shown) | set(self.absent or ()))

    def knows(self, key: str) -> bool:
        """Whether anything is known of the image with this key."""
        return key in self.shown or (self.absent is not None and key in self.absent)

    def tables(self, keys: Sequence[str], n_concepts: int) -> tuple[BoolArray, BoolArray]:
        """Lay out what is shown and what is known, each of shape (len(keys), n_concepts)."""
        shown = np.zeros((len(keys), n_concepts), dtype=bool)
        known = np.zeros_like(shown)
        for row, key in enumerate(keys):
            shown[row, list(self.shown.get(key, ()))] = True
            if self.absent is None:
                known[row] = key in self.shown
            else:
                known[row, list(self.absent.get(key, ()))] = True
                known[row] |= shown[row]
        return shown, known


def read_labels(path: str | Path, vocabulary: ConceptVocabulary) -> Labels:
    """Read labels: a CSV or parquet table with ``key`` and ``concept``, one row per pair.

    Without a ``present`` column an image that is listed is labelled completely. With it
    (1 shown, 0 not shown) only the listed pairs are known, as after verifying tags.
    """
    file = Path(path)
    try:
        table = read_parquet(file) if file.suffix == ".parquet" else pd.read_csv(file, dtype=str)
    except (OSError, ValueError) as error:
        raise DataError(f"Cannot read labels from {path}: {error}.") from error
    missing = [column for column in COLUMNS[:2] if column not in table]
    if missing or table.empty:
        found = f"the columns {list(table)}" if missing else "no row"
        raise DataError(
            "Labels must be a table with the columns 'key' and 'concept', one row per image and "
            f"concept. Got {found} in {path} instead."
        )
    empty = table[list(COLUMNS[:2])].isna().any(axis=1)
    if bool(empty.any()):
        row = int(np.flatnonzero(empty.to_numpy())[0]) + 1
        raise DataError(f"Row {row} of {path} lacks a key or a concept. Complete or remove it.")
    position = {name: place for place, name in enumerate(vocabulary.names)}
    unknown = sorted(set(table["concept"].astype(str)) - set(position))
    if unknown:
        raise DataError(
            f"{path} labels {quantity(len(unknown), 'concept that is', 'concepts that are')} not "
            f"in the concept list, such as {unknown[:3]}. Use the names of the list."
        )
    marks = _marks(table, path)
    sides: tuple[dict[str, set[int]], dict[str, set[int]]] = ({}, {})
    names = table["concept"].astype(str)
    for key, name, present in zip(table["key"].astype(str), names, marks, strict=True):
        sides[0 if present else 1].setdefault(key, set()).add(position[name])
    shown, absent = ({key: frozenset(ids) for key, ids in side.items()} for side in sides)
    for key in shown.keys() & absent.keys():
        if both := shown[key] & absent[key]:
            raise DataError(
                f"{path} says of {vocabulary.names[min(both)]!r} in {key!r} both that it is shown "
                "and that it is not. Keep one of the rows."
            )
    return Labels(shown=shown, absent=absent if "present" in table else None)


def _marks(table: pd.DataFrame, path: str | Path) -> list[bool]:
    if "present" not in table:
        return [True] * len(table)
    said = table["present"].astype(str).str.lower()
    wrong = ~said.isin(["0", "1", "true", "false"])
    if bool(wrong.any()):
        row = int(np.flatnonzero(wrong.to_numpy())[0])
        raise DataError(
            f"The 'present' column of labels must hold 0 or 1. Got {table['present'].iloc[row]!r} "
            f"in row {row} of {path} instead."
        )
    return said.isin(["1", "true"]).tolist()


def check_labelled(labelled: ScoreHistograms, n_listed: int, source: str) -> None:
    """Check that labels met images of the data."""
    if not labelled.total.any():
        raise ConfigError(
            f"None of the {quantity(n_listed, 'labelled key')} is an image of {source}. Keys are "
            "those of the tags in a run folder: the img2dataset key, the path or the uid."
        )


def shift_to(fitted: Fitted, labelled: ScoreHistograms, target: ScoreHistograms) -> Fitted:
    """Carry a fit on labelled images over to data in which concepts are rarer or more frequent.

    What changes between the two is taken to be how often concepts are shown, not what images that
    show them look like: odds are multiplied by one number per concept, found by expectation
    maximisation.

    See M. Saerens, P. Latinne, C. Decaestecker, "Adjusting the outputs of a classifier to new a
    priori probabilities: a simple procedure", Neural Computation 14 (2002).
    """
    shown = np.clip(fitted.shown(), 1e-12, 1.0 - 1e-12)
    n_labelled = np.maximum(labelled.total.sum(axis=1), 1)
    before = np.clip((labelled.total * shown).sum(axis=1) / n_labelled, 1e-9, 1.0 - 1e-9)
    n_target = np.maximum(target.total.sum(axis=1), 1)
    share, now = before.copy(), shown
    for _ in range(SHIFT_STEPS):
        ratio = (share / before)[:, None], ((1.0 - share) / (1.0 - before))[:, None]
        odds = shown * ratio[0]
        now = odds / (odds + (1.0 - shown) * ratio[1])
        share = np.clip((target.total * now).sum(axis=1) / n_target, 0.1 / n_target, 1.0 - 1e-9)
    shift = np.log(share / before) - np.log((1.0 - share) / (1.0 - before))
    parameters = fitted.parameters.copy()
    parameters[:, INTERCEPT] += shift
    named = np.clip(fitted.named_share * np.exp(np.clip(shift, -30.0, 30.0)), 1e-9, 0.9)
    # what scores tell of the share: as much as knowing every image would, less what stays open
    told = n_target * share * (1.0 - share) - (target.total * now * (1.0 - now)).sum(axis=1)
    covariances = fitted.covariances.copy()
    covariances[:, INTERCEPT, INTERCEPT] += 1.0 / np.maximum(told, 1.0 / WIDEST_SHIFT**2)
    return replace(fitted, parameters=parameters, named_share=named, covariances=covariances)


def labelled_folder(
    folder: Path,
    vocabulary: ConceptVocabulary,
    clip: ClipModel,
    scale: Scale,
    tagging: Float32Array,
) -> tuple[ScoreHistograms, Counter[str]]:
    """Score the images of a folder with one folder per concept; count the unreadable by reason.

    An image counts as showing its folder's concept and none of the other folders' concepts; of
    concepts without a folder nothing is known. `tagging` are the concepts' unit vectors, after
    contrast.
    """
    classes = sorted(p for p in folder.iterdir() if p.is_dir()) if folder.is_dir() else []
    position = {name: place for place, name in enumerate(vocabulary.names)}
    unknown = [p.name for p in classes if p.name not in position]
    if unknown or not classes:
        found = f"folders that are not concepts, such as {unknown[:3]}" if unknown else "no folder"
        raise DataError(
            f"{folder} must hold one folder of images per concept, named after it. "
            f"Got {found} instead."
        )
    ids = [position[p.name] for p in classes]
    unreadable: Counter[str] = Counter()
    found_scores = ScoreHistograms.empty(len(vocabulary))
    encoder = OomSafeEncoder(clip)
    for place, images in zip(ids, classes, strict=True):
        files = sorted(path for path in images.iterdir() if path.is_file())
        for part in encoder.files(path.read_bytes() for path in files):
            if isinstance(part, Failure):
                unreadable[part.reason] += 1
                continue
            scores = scale.standardise(part.vectors @ tagging.T)
            shown = np.zeros(scores.shape, dtype=bool)
            known = np.zeros(scores.shape, dtype=bool)
            shown[:, place], known[:, ids] = True, True
            found_scores = found_scores + count_scores(scores, shown, known)
    if not found_scores.total.any():
        raise DataError(f"No image in {folder} could be read.")
    return found_scores, unreadable
