"""Zero-shot accuracy of an open_clip model on an image folder, class by class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from conceptaudit.errors import DataError
from conceptaudit.image.clip import ClipModel
from conceptaudit.image.decode import UndecodableImageError, decode_image
from conceptaudit.image.prompts import DEFAULT_TEMPLATES, encode_concepts
from conceptaudit.progress import Progress, SilentProgress
from conceptaudit.records import (
    ACCURACY_COLUMNS,
    ConceptAccuracies,
    ConceptVocabulary,
    Int64Array,
)

if TYPE_CHECKING:
    from PIL import Image

BATCH = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """What one model makes of one evaluation set.

    Parameters
    ----------
    accuracies : ConceptAccuracies
        One row per class; images that cannot be decoded are in no number.
    confusions : pandas.DataFrame
        ``concept, predicted, n``: what each class is mistaken for, most frequent first.
    excluded : tuple of str
        Images that could not be decoded, with the reason.
    """

    accuracies: ConceptAccuracies
    confusions: pd.DataFrame
    excluded: tuple[str, ...]


def evaluate_image_folder(
    folder: str | Path,
    vocabulary: ConceptVocabulary,
    clip: ClipModel,
    *,
    folders: Sequence[str] | None = None,
    dataset: str = "",
    pretraining: str = "",
    templates: tuple[str, ...] = DEFAULT_TEMPLATES,
    progress: Progress | None = None,
) -> Evaluation:
    """Classify the images of an image folder among all classes and count what is right.

    Parameters
    ----------
    folder : str or Path
        Holds one folder of images per class.
    vocabulary : ConceptVocabulary
        The classes; an image is classified among all of them.
    clip : ClipModel
        Encodes images and prompts.
    folders : sequence of str, optional
        The class's folder names, in the vocabulary's order; its names by default. A class
        without a folder is a wrong answer that can be given.
    dataset, pretraining : str
        Carried into the table.
    templates : tuple of str
        Prompts of classes without their own.
    progress : Progress, optional
        Told of every image.

    Raises
    ------
    DataError
        No class has a folder.
    """
    names = list(folders) if folders is not None else list(vocabulary.names)
    root = Path(folder)
    present = [i for i, name in enumerate(names) if (root / name).is_dir()]
    if not present:
        raise DataError(
            f"None of the {len(names):,} classes has a folder in {root}, such as {names[0]!r}."
        )
    progress = progress or SilentProgress()
    classifier = encode_concepts(vocabulary, clip, templates)
    confusion = np.zeros((len(vocabulary), len(vocabulary)), dtype=np.int64)
    excluded: list[str] = []
    files = [(path, i) for i in present for path in sorted((root / names[i]).iterdir())]
    progress.start("evaluate", len(files), unit="images")
    for start in range(0, len(files), BATCH):
        batch = files[start : start + BATCH]
        pictures, truths = _decoded(batch, excluded)
        if pictures:
            guesses = np.argmax(clip.encode_images(pictures) @ classifier.T, axis=1)
            np.add.at(confusion, (truths, guesses), 1)
        progress.advance(len(batch))
    progress.finish()
    return Evaluation(
        accuracies=ConceptAccuracies(
            _table(vocabulary, confusion, (clip.name, pretraining, dataset))
        ),
        confusions=_confusions(vocabulary, confusion),
        excluded=tuple(excluded),
    )


def _decoded(
    batch: Sequence[tuple[Path, int]], excluded: list[str]
) -> tuple[list[Image.Image], list[int]]:
    """Decode a batch of (file, class); list what cannot be decoded."""
    pictures, truths = [], []
    for path, truth in batch:
        try:
            pictures.append(decode_image(path.read_bytes()))
            truths.append(truth)
        except UndecodableImageError as error:
            excluded.append(f"{path.parent.name}/{path.name}: {error.reason} ({error.detail})")
    return pictures, truths


def _table(
    vocabulary: ConceptVocabulary,
    confusion: Int64Array,
    labels: tuple[str, str, str],
) -> pd.DataFrame:
    n_images = confusion.sum(axis=1)
    rows = [
        (
            *labels,
            vocabulary.names[i],
            int(confusion[i, i]),
            int(n_images[i]),
            confusion[i, i] / n_images[i],
            "acc1",
        )
        for i in np.flatnonzero(n_images).tolist()
    ]
    table = pd.DataFrame(rows, columns=list(ACCURACY_COLUMNS))
    return table.astype({"n_correct": "Int64", "n_images": "Int64", "accuracy": "float64"})


def _confusions(vocabulary: ConceptVocabulary, confusion: Int64Array) -> pd.DataFrame:
    wrong = confusion.copy()
    np.fill_diagonal(wrong, 0)
    truth, guess = np.nonzero(wrong)
    table = pd.DataFrame(
        {
            "concept": [vocabulary.names[i] for i in truth],
            "predicted": [vocabulary.names[i] for i in guess],
            "n": wrong[truth, guess],
        }
    )
    return table.sort_values(["n", "concept", "predicted"], ascending=[False, True, True])
