"""Similarities to answers: the best classes of an image, and ties among them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

import numpy as np

from conceptaudit.display import quantity
from conceptaudit.records import Float32Array, Int32Array

TOP = 5
"""Answers that are kept per image: what acc5 needs."""

UNKNOWN_CLASS = "unknown_class"
"""Why an image is in no number: its label names no class."""

SHOWN = 5
"""Labels that a note lists."""


def class_scores(vectors: Float32Array, classes: Float32Array) -> Float32Array:
    """Compute similarities; classes with equal vectors get equal ones.

    A matrix product may round equal columns differently, which would break a tie by chance.

    Shapes: `vectors` (n, dimension), `classes` (n_classes, dimension), result (n, n_classes).
    """
    scores: Float32Array = vectors @ classes.T
    _, first, inverse = np.unique(classes, axis=0, return_index=True, return_inverse=True)
    return scores if len(first) == len(classes) else scores[:, first[inverse.reshape(-1)]]


def top_classes(scores: Float32Array, k: int = TOP) -> Int32Array:
    """Return the classes with the k highest scores per row, the best first, ties by index.

    Shapes: `scores` (n, n_classes), result (n, min(k, n_classes)).

    >>> top_classes(np.array([[0.1, 0.7, 0.7]], dtype=np.float32), 2).tolist()
    [[1, 2]]
    """
    return np.argsort(-scores, axis=1, kind="stable")[:, :k].astype(np.int32)


def count_ties(scores: Float32Array) -> int:
    """Count images whose best similarity is that of several classes.

    >>> count_ties(np.array([[0.1, 0.7, 0.7], [0.9, 0.2, 0.2]], dtype=np.float32))
    1
    """
    return int(((scores == scores.max(axis=1, keepdims=True)).sum(axis=1) > 1).sum())


def answer_notes(n_tied: int, unknown_labels: Iterable[str]) -> Iterator[str]:
    """Say what of an evaluation's answers a reader has to know."""
    if n_tied:
        yield (
            f"For {quantity(n_tied, 'image')} several classes have the best similarity, "
            "to the last bit: the first of them by class index is the answer."
        )
    labels = Counter(unknown_labels)
    if labels:
        n = labels.total()
        shown = ", ".join(f"{label} ({times:,})" for label, times in labels.most_common(SHOWN))
        yield (
            f"{n:,} image{'s are' if n > 1 else ' is'} in no number, having a label that is no "
            f"class: {shown}{' …' if len(labels) > SHOWN else ''}. Are class names missing?"
        )
