"""A package that adds a layout, two taggers and a curve family to conceptaudit, as any could.

Its entry points stand in ``conceptaudit_example-1.0.dist-info``; in a package of your own they
stand in pyproject.toml::

    [project.entry-points."conceptaudit.layouts"]
    subtitles = "conceptaudit_example:SUBTITLES"

    [project.entry-points."conceptaudit.taggers"]
    words = "conceptaudit_example:WordTagger"

    [project.entry-points."conceptaudit.curve_families"]
    medians = "conceptaudit_example:MEDIANS"
"""

import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image, UnidentifiedImageError

from conceptaudit.curves.families import simple_family
from conceptaudit.curves.fit_data import FitData
from conceptaudit.datasets.base import CAPTION, IMAGE, Shard
from conceptaudit.datasets.registry import Layout
from conceptaudit.records import ConceptVocabulary, SampleBatch, sample_id


@dataclass(frozen=True)
class Subtitles:
    """Captions of ``.srt`` files, one shard per file: a number, times and a text per block."""

    location: str
    files: tuple[str, ...]
    layout: str = "subtitles"
    provides: frozenset[str] = frozenset({CAPTION})

    @property
    def notes(self) -> tuple[str, ...]:
        return (f"Layout: subtitles, {len(self.files)} files.",)

    @property
    def settings(self) -> dict[str, str]:
        return {"layout": self.layout}

    def shards(self) -> tuple[Shard, ...]:
        return tuple(
            Shard(
                name=f"{number:07d}",
                files=(file,),
                file_index=number,
                fingerprint=sha256(Path(file).read_bytes()).hexdigest(),
            )
            for number, file in enumerate(self.files)
        )

    def read(self, shard: Shard, parts: frozenset[str]) -> Iterator[SampleBatch]:
        blocks = Path(shard.files[0]).read_text(encoding="utf-8").strip().split("\n\n")
        texts = [" ".join(block.splitlines()[2:]) for block in blocks]
        yield SampleBatch(
            sample_ids=np.array([sample_id(shard.file_index, row) for row in range(len(texts))]),
            keys=[f"{Path(shard.files[0]).stem}/{row}" for row in range(len(texts))],
            captions=texts if CAPTION in parts else None,
        )


SUBTITLES = Layout(
    name="subtitles",
    looks="subtitles (.srt)",
    claims=lambda listing: any(file.name.endswith(".srt") for file in listing.files),
    open=lambda listing, location, _: Subtitles(
        location, tuple(file.path for file in listing.files if file.name.endswith(".srt"))
    ),
)


@dataclass(frozen=True)
class WordTagger:
    """Tags a caption with every one of its words: names that are not on the list do no harm."""

    concepts: ConceptVocabulary
    side: str = "text"
    reads: frozenset[str] = frozenset({CAPTION})

    @property
    def settings(self) -> dict[str, str]:
        return {"version": "1"}

    def tag(self, batch: SampleBatch) -> pd.DataFrame:
        return pd.DataFrame(
            [
                (row, word)
                for row, caption in enumerate(batch.captions or [])
                for word in (caption or "").lower().split()
            ],
            columns=["row", "concept"],
        )


@dataclass(frozen=True)
class ColourTagger:
    """Tags an image with its most frequent colour channel; a model would stand here."""

    concepts: ConceptVocabulary
    side: str = "image"
    reads: frozenset[str] = frozenset({IMAGE})

    @property
    def settings(self) -> dict[str, str]:
        return {"version": "1"}

    def tag(self, batch: SampleBatch) -> pd.DataFrame:
        rows = [
            (row, *self._look(data))
            for row, data in enumerate(batch.images or [])
            if data is not None
        ]
        return pd.DataFrame(rows, columns=["row", "concept", "score", "reason"])

    def _look(self, data: bytes) -> tuple[str | None, float, str | None]:
        try:
            image = Image.open(io.BytesIO(data)).convert("RGB")
        except UnidentifiedImageError:
            return None, 0.0, "not_an_image"
        means = np.asarray(image).mean(axis=(0, 1))
        return ("red", "green", "blue")[int(means.argmax())], float(means.max() / 255), None


@dataclass(frozen=True)
class Medians:
    """The median accuracy below and above the median frequency: a curve of two steps."""

    middle: float
    below: float
    above: float

    def predict(self, x: np.ndarray, dataset: np.ndarray) -> np.ndarray:
        return np.where(np.isnan(x), np.nan, np.where(x < self.middle, self.below, self.above))

    @property
    def parameters(self) -> dict[str, Any]:
        return {"middle": self.middle, "below": self.below, "above": self.above}

    @staticmethod
    def restore(parameters: Mapping[str, Any]) -> "Medians":
        return Medians(**{name: float(value) for name, value in parameters.items()})


def fit_medians(rows: FitData) -> Medians:
    middle = float(np.median(rows.x))
    low, high = rows.y[rows.x < middle], rows.y[rows.x >= middle]
    return Medians(middle, float(np.median(low if len(low) else high)), float(np.median(high)))


MEDIANS = simple_family("medians", fit_medians, Medians.restore, "two medians")
