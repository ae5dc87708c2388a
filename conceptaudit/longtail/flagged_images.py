"""Images that a person should look at first, or that are left out: outliers and other senses.

What is asked of an image, in this order: does another sense of the name fit it better, where the
user has said what those are; does its class fall into two parts, of which it is in the smaller;
does it lie far from its class? The last two look at the embeddings of a class's best images alone
and need no name, so they see what ranking by the name cannot: all of these images fit the name.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from conceptaudit.display import quantity
from conceptaudit.longtail.candidates import mark, remaining, vectors_of
from conceptaudit.longtail.homonyms import Senses
from conceptaudit.longtail.records import OTHER_SENSE, OUTLIER
from conceptaudit.options.longtail import REMOVE, LongTailOptions
from conceptaudit.records import Float32Array, Int64Array


def find_suspects(
    table: pd.DataFrame,
    vectors: Float32Array,
    names: Sequence[str],
    options: LongTailOptions,
    senses: Senses | None = None,
) -> list[str]:
    """Flag (or mark as removed) images that may not show what their class is about.

    The `per_class` best candidates of a class are its core, with which all are compared; `vectors`
    are those that the table's column ``vector`` points into. Returns notes for the user.
    """
    candidates = remaining(table)
    own, by_class = vectors_of(candidates, vectors), candidates["class_id"].to_numpy()
    suspicions: dict[int, str] = {}
    in_two: list[str] = []
    n_small = 0
    for class_id, name in enumerate(names):
        rows = np.flatnonzero(by_class == class_id)
        if not len(rows):
            continue
        n_small += min(len(rows), options.per_class) < LEAST
        odd, falls_apart = _suspicions(class_id, rows, own[rows], options.per_class, senses)
        in_two += [name] * falls_apart
        suspicions |= odd
    labels, why = candidates.index[list(suspicions)], list(suspicions.values())
    removing = options.suspects == REMOVE
    if removing:
        mark(table, labels, map(_reason, why), [text.partition(": ")[2] for text in why])
    else:
        table.loc[labels, "suspect"] = why
    return _notes(suspicions, in_two, n_small, removing=removing)


def _suspicions(
    class_id: int,
    rows: Int64Array,
    vectors: Float32Array,
    n_core: int,
    senses: Senses | None,
) -> tuple[dict[int, str], bool]:
    """Say what is odd about the images of a class, and whether it falls in two."""
    told: dict[int, str] = {}
    if senses is not None:
        for row, (sense, lead) in zip(rows.tolist(), senses.nearer(class_id, vectors), strict=True):
            if lead > 0:
                told[row] = f"{OTHER_SENSE}: {sense!r} fits better by {lead:.4f}"
    # what is known to be of another sense must not stand for the class
    left = np.array([row not in told for row in rows.tolist()], dtype=bool)
    rows, vectors = rows[left], vectors[left]
    if not len(rows):
        return told, False
    smaller, separation = split(vectors, n_core)
    if separation >= SEPARATION:
        n_part, n_all = int(smaller[:n_core].sum()), len(smaller[:n_core])
        for row in rows[smaller].tolist():
            told[row] = (
                f"{OTHER_SENSE}: in the smaller part ({n_part} of {n_all}) of a class that falls "
                f"in two (separation {separation:.2f})"
            )
        rows, vectors = rows[~smaller], vectors[~smaller]
    far = deviations(vectors, n_core)
    for i in np.flatnonzero(far > DEVIATIONS).tolist():
        told[int(rows[i])] = f"{OUTLIER}: {far[i]:.1f} deviations from its class"
    return told, separation >= SEPARATION


def _reason(why: str) -> str:
    return why.partition(":")[0]


def _notes(
    suspicions: dict[int, str], in_two: Sequence[str], n_small: int, *, removing: bool
) -> list[str]:
    notes = []
    counts = Counter(_reason(why) for why in suspicions.values())
    if counts:
        told = ", ".join(f"{n:,} {reason}" for reason, n in sorted(counts.items()))
        what = "were left out" if removing else "are marked in manifest.csv and judged first"
        notes.append(f"Suspects among the candidates ({told}) {what}.")
    if in_two:
        more = f" and {len(in_two) - 10} more" if len(in_two) > 10 else ""
        notes.append(
            f"{quantity(len(in_two), 'class falls', 'classes fall')} in two parts, perhaps two "
            f"meanings of the name: {', '.join(in_two[:10])}{more}. The larger part is taken for "
            "the one meant: look, or say what is not meant with --other-senses."
        )
    if n_small:
        notes.append(
            f"{quantity(n_small, 'class has', 'classes have')} fewer than {LEAST} candidates, too "
            "few to tell outliers by."
        )
    return notes


# Images of a class below which nothing is said: a spread of fewer is mostly chance.
LEAST = 8

# Robust standard deviations from the class's median distance; see docs/benchmarks-longtail.md.
DEVIATIONS = 4.0

# Share of the variance along its main axis that splitting a class in two must explain: 0.64 for a
# normal, 0.75 for a uniform distribution, 1 for two points; see docs/benchmarks-longtail.md.
SEPARATION = 0.85

# Share of a class that counts as a part of it; fewer images are outliers.
SMALLEST_PART = 0.1

# Median absolute deviations per standard deviation of a normal distribution, inverted.
NORMAL = 1.4826

# Distances below this are rounding.
FLAT = 1e-6

FloatArray = npt.NDArray[np.float64]


def deviations(vectors: Float32Array, n_core: int) -> FloatArray:
    """Say how far each image lies from the core of its class, in robust standard deviations.

    The distance of an image is that of unit vectors, to the direction of the core's mean (without
    the image itself); it is less skewed than one minus the cosine. It is compared with the median
    distance of the core's own images, in units of their median absolute deviation, so that a few
    strangers in the core do not hide themselves.

    Shapes: `vectors` (n, dimension), result (n,). B. Iglewicz and D. Hoaglin, "How to Detect
    and Handle Outliers" (1993).

    >>> rng = np.random.default_rng(0)
    >>> around = np.eye(1, 9) + 0.05 * rng.standard_normal((20, 9))
    >>> around[7] = np.eye(9)[4]
    >>> vectors = (around / np.linalg.norm(around, axis=1)[:, None]).astype(np.float32)
    >>> np.flatnonzero(deviations(vectors, 20) > DEVIATIONS).tolist()
    [7]
    """
    core = vectors[:n_core].astype(np.float64)
    if len(core) < LEAST:
        return np.zeros(len(vectors))
    total = core.sum(axis=0)
    centres = np.tile(total, (len(vectors), 1))
    centres[: len(core)] -= core
    lengths = np.maximum(np.linalg.norm(centres, axis=1), FLAT)
    cosines = np.einsum("ij,ij->i", vectors.astype(np.float64), centres) / lengths
    distances = np.sqrt(np.maximum(2.0 - 2.0 * cosines, 0.0))
    median = np.median(distances[: len(core)])
    spread = NORMAL * np.median(np.abs(distances[: len(core)] - median))
    return np.asarray((distances - median) / max(spread, FLAT))


def split(vectors: Float32Array, n_core: int) -> tuple[npt.NDArray[np.bool_], float]:
    """Cut a class in two along the main axis of its core, at the best place.

    Shapes: result (n,).

    >>> rng = np.random.default_rng(0)
    >>> two = np.repeat(np.eye(2, 9), (12, 6), axis=0) + 0.05 * rng.standard_normal((18, 9))
    >>> vectors = (two / np.linalg.norm(two, axis=1)[:, None]).astype(np.float32)
    >>> smaller, separation = split(vectors, 18)
    >>> np.flatnonzero(smaller).tolist(), separation > 0.9
    ([12, 13, 14, 15, 16, 17], True)
    """
    core = vectors[:n_core].astype(np.float64)
    nothing = np.zeros(len(vectors), dtype=bool)
    if len(core) < LEAST:
        return nothing, 0.0
    mean = core.mean(axis=0)
    _, _, axes = np.linalg.svd(core - mean, full_matrices=False)
    places = (vectors.astype(np.float64) - mean) @ axes[0]
    ordered = np.sort(places[: len(core)])
    within = ordered.var() * len(core)
    if within < FLAT**2:
        return nothing, 0.0
    left = np.arange(1, len(core))
    sums = np.cumsum(ordered)[:-1]
    between = sums**2 / left + sums**2 / (len(core) - left)  # the places' mean is zero
    least = max(2, int(np.ceil(SMALLEST_PART * len(core))))
    valid = (left >= least) & (len(core) - left >= least)
    if not valid.any():
        return nothing, 0.0
    cut = int(np.flatnonzero(valid)[between[valid].argmax()])
    above = places > (ordered[cut] + ordered[cut + 1]) / 2.0
    n_above = int(above[: len(core)].sum())
    halves = 2 * n_above == len(core)
    smaller = ~above if 2 * n_above > len(core) or (halves and above[0]) else above
    return smaller, float(between[cut] / within)
