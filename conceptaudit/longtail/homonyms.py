"""What else a name means: the crane that lifts loads, where the bird is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from conceptaudit.artifacts import Json, digest_of
from conceptaudit.errors import DataError
from conceptaudit.image.clip import ClipModel
from conceptaudit.image.vectors import unit_rows
from conceptaudit.longtail.safe_filenames import csv_text
from conceptaudit.longtail.select import close_name, edited_rows
from conceptaudit.records import Float32Array, Int64Array


@dataclass(frozen=True, slots=True, kw_only=True)
class Senses:
    """Other senses of the selected names, embedded."""

    class_ids: Int64Array  # shape (n_senses,): the class whose name has the sense
    texts: tuple[str, ...]  # length n_senses: the senses in words
    vectors: Float32Array  # shape (n_senses, dimension): unit vectors
    own: Float32Array  # shape (n_classes, dimension): unit vectors of the classes' own names

    @property
    def identity(self) -> Json:
        """What the judgement depends on."""
        return digest_of([self.class_ids.tolist(), list(self.texts)])

    def nearer(self, class_id: int, vectors: Float32Array) -> list[tuple[str, float]]:
        """Say for each image of a class which other sense fits it best, and by how much better.

        Shapes: `vectors` (n, dimension), result (n,).
        """
        rows = np.flatnonzero(self.class_ids == class_id)
        if not len(rows):
            return [("", -np.inf)] * len(vectors)
        scores = vectors @ self.vectors[rows].T
        best = scores.argmax(axis=1)
        leads = scores[np.arange(len(vectors)), best] - vectors @ self.own[class_id]
        pairs = zip(best.tolist(), leads.tolist(), strict=True)
        return [(self.texts[rows[i]], lead) for i, lead in pairs]


def read_other_senses(path: str | Path, concepts: Sequence[str]) -> list[tuple[int, str]]:
    """Read what else some names mean."""
    source = Path(path)
    fields, rows = edited_rows(source, "the other senses")
    if not {"concept", "sense"} <= set(fields):
        raise DataError(
            f"{source} must have the columns 'concept' and 'sense'. Got {fields} instead."
        )
    known = {name: i for i, name in enumerate(concepts)}
    known |= {csv_text(name): i for name, i in known.items()}
    found: dict[tuple[int, str], None] = {}
    for line, row in rows:
        concept, sense = row["concept"].strip(), row["sense"].strip()
        if not concept or not sense:
            raise DataError(f"Line {line} of {source} must name a concept and a sense of it.")
        if concept in known:
            found[known[concept], sense] = None
    if not found:
        some = rows[0][1]["concept"] if rows else ""
        raise DataError(
            f"{source} names no concept of the selection. It begins with {some!r}"
            f"{close_name(some, list(concepts))}."
        )
    return list(found)


def embed_senses(
    senses: Sequence[tuple[int, str]], own: Float32Array, clip: ClipModel, templates: Sequence[str]
) -> Senses:
    """Embed senses as concepts are: the mean over prompts, of length one.

    Shapes: `own` (n_classes, dimension).
    """
    texts = tuple(text for _, text in senses)
    total = sum(
        unit_rows(clip.encode_texts([t.replace("{c}", "{}").replace("{}", text) for text in texts]))
        for t in templates
    )
    return Senses(
        class_ids=np.array([class_id for class_id, _ in senses], dtype=np.int64),
        texts=texts,
        vectors=unit_rows(np.asarray(total, dtype=np.float32)),
        own=own,
    )
