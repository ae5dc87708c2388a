"""Labels that folders give: pictures of an evaluation set, each in the folder of its concept."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np

from conceptaudit.errors import DataError
from conceptaudit.image.calibration.histograms import Scale, ScoreHistograms, count_scores
from conceptaudit.image.clip import ClipModel
from conceptaudit.image.decode import UndecodableImageError, decode_image
from conceptaudit.records import ConceptVocabulary, Float32Array

BATCH = 64


def labelled_folder(
    folder: Path,
    vocabulary: ConceptVocabulary,
    clip: ClipModel,
    scale: Scale,
    tagging: Float32Array,
) -> tuple[ScoreHistograms, Counter[str]]:
    """Score the pictures of an image folder.

    Parameters
    ----------
    folder : Path
        One folder per concept, named after it. A picture counts as showing that concept and none
        of the other folders' concepts; of concepts without a folder nothing is known.
    vocabulary : ConceptVocabulary
    clip : ClipModel
        Sees the pictures.
    scale : Scale
        Of the data that are to be tagged.
    tagging : numpy.ndarray of float32, shape (n_concepts, dimension)
        Unit vectors of the concepts, after contrast.

    Returns
    -------
    scores : ScoreHistograms
    unreadable : Counter of str
        Pictures left out, by reason.

    Raises
    ------
    DataError
        There is no such folder, a folder is not named after a concept, or no picture is readable.
    """
    classes = sorted(p for p in folder.iterdir() if p.is_dir()) if folder.is_dir() else []
    position = {name: place for place, name in enumerate(vocabulary.names)}
    unknown = [p.name for p in classes if p.name not in position]
    if unknown or not classes:
        found = f"folders that are not concepts, such as {unknown[:3]}" if unknown else "no folder"
        raise DataError(
            f"{folder} must hold one folder of pictures per concept, named after it. "
            f"Got {found} instead."
        )
    ids = [position[p.name] for p in classes]
    unreadable: Counter[str] = Counter()
    found_scores = ScoreHistograms.empty(len(vocabulary))
    for place, pictures in zip(ids, classes, strict=True):
        files = sorted(path for path in pictures.iterdir() if path.is_file())
        for start in range(0, len(files), BATCH):
            decoded = []
            for file in files[start : start + BATCH]:
                try:
                    decoded.append(decode_image(file.read_bytes()))
                except UndecodableImageError as error:
                    unreadable[error.reason] += 1
            if not decoded:
                continue
            scores = scale.standardise(clip.encode_images(decoded) @ tagging.T)
            shown = np.zeros(scores.shape, dtype=bool)
            known = np.zeros(scores.shape, dtype=bool)
            shown[:, place], known[:, ids] = True, True
            found_scores = found_scores + count_scores(scores, shown, known)
    if not found_scores.total.any():
        raise DataError(f"No picture in {folder} could be read.")
    return found_scores, unreadable
