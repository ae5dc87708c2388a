"""Images that a person should look at first, or that are left out: outliers and other senses.

What is asked of an image, in this order: does another sense of the name fit it better, where the
user has said what those are; does its class fall into two parts, of which it is in the smaller;
does it lie far from its class?
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from conceptaudit.longtail.other_sense import Senses
from conceptaudit.longtail.outliers import DEVIATIONS, LEAST, SEPARATION, deviations, split
from conceptaudit.longtail.records import OTHER_SENSE, OUTLIER, Candidate, Removal
from conceptaudit.options.longtail import REMOVE, LongTailOptions
from conceptaudit.records import Float32Array, Int64Array


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspected:
    """Candidates with their suspicions (or without the suspects), and what was removed.

    Parameters
    ----------
    candidates : tuple of Candidate
        In the order given.
    removals : tuple of Removal
        Empty unless suspects are removed.
    notes : tuple of str
        How many there are, and which classes are too small to tell.
    """

    candidates: tuple[Candidate, ...]
    removals: tuple[Removal, ...]
    notes: tuple[str, ...]


def find_suspects(
    candidates: Sequence[Candidate],
    vectors: Float32Array,
    names: Sequence[str],
    options: LongTailOptions,
    senses: Senses | None = None,
) -> Suspected:
    """Find images that may not show what their class is about.

    The `per_class` best candidates of a class are its core, with which all are compared.

    Parameters
    ----------
    candidates : sequence of Candidate
        Different images, best first.
    vectors : numpy.ndarray of float32, shape (n_candidates, dimension)
        Unit vectors, in the same order.
    names : sequence of str
        Names of the classes.
    options : LongTailOptions
        Of which `per_class` and `suspects` matter here.
    senses : Senses or None
        What else the names mean, where it is known.
    """
    by_class = np.array([candidate.class_id for candidate in candidates], dtype=np.int64)
    suspicions: dict[int, str] = {}
    in_two: list[str] = []
    n_small = 0
    for class_id, name in enumerate(names):
        rows = np.flatnonzero(by_class == class_id)
        if not len(rows):
            continue
        n_small += min(len(rows), options.per_class) < LEAST
        told, falls_apart = _suspicions(class_id, rows, vectors[rows], options.per_class, senses)
        in_two += [name] * falls_apart
        suspicions |= told
    removing = options.suspects == REMOVE
    removals = [
        Removal(
            key=candidates[i].entry.key,
            source=candidates[i].entry.source,
            concept=names[candidates[i].class_id],
            reason=_reason(why),
            detail=why.partition(": ")[2],
        )
        for i, why in sorted(suspicions.items())
    ]
    kept = [
        replace(candidate, suspect=suspicions.get(i, ""))
        for i, candidate in enumerate(candidates)
        if not (removing and i in suspicions)
    ]
    return Suspected(
        candidates=tuple(kept),
        removals=tuple(removals) if removing else (),
        notes=tuple(_notes(suspicions, in_two, n_small, removing=removing)),
    )


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
            f"{len(in_two)} classes fall in two parts, perhaps two meanings of the name: "
            f"{', '.join(in_two[:10])}{more}. The larger part is taken for the one meant: look, or "
            "say what is not meant with --other-senses."
        )
    if n_small:
        notes.append(
            f"{n_small} classes have fewer than {LEAST} candidates, too few to tell outliers by."
        )
    return notes
