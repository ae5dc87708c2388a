"""The values that travel between the rooms: samples, concepts, tags, frequencies, accuracies.

All are frozen and do no I/O. Anything with one entry per sample is columnar: a batch is a record
of equally long columns, never a list of objects, because corpora have billions of rows.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from conceptaudit.display import as_html, quantity
from conceptaudit.errors import ConfigError, DataError

# Low bits of a sample id that hold the row within its file; the bits above hold the file.
ROW_BITS = 40

# What a concept can be counted in: captions, images, or both sides of the same sample.
MODALITIES = ("text", "image", "joint")

# Count columns of a frequency table, in the order of `MODALITIES`.
FREQUENCY_COLUMNS = tuple(f"n_{modality}" for modality in MODALITIES)

# Columns of a per-concept accuracy table; `n_correct` and `n_images` may be missing (NA).
ACCURACY_COLUMNS = (
    "model",
    "pretraining",
    "dataset",
    "concept",
    "n_correct",
    "n_images",
    "accuracy",
    "metric",
)

Int64Array = npt.NDArray[np.int64]
Int32Array = npt.NDArray[np.int32]
Float32Array = npt.NDArray[np.float32]


def sample_id(file_index: int, row: int) -> int:
    """Pack a file's position in the sorted file list and a row within it into one int64.

    Examples
    --------
    >>> sample_id(0, 7), sample_id(1, 7) - sample_id(1, 0)
    (7, 7)
    """
    if not 0 <= file_index < 1 << (63 - ROW_BITS) or not 0 <= row < 1 << ROW_BITS:
        raise ConfigError(
            f"A sample id holds {quantity(1 << (63 - ROW_BITS), 'file')} of "
            f"{quantity(1 << ROW_BITS, 'row')}. Got file {file_index:,}, row {row:,} instead."
        )
    return file_index << ROW_BITS | row


@dataclass(frozen=True, slots=True, kw_only=True)
class Drop:
    """One sample, or one side of it, that could not be used.

    Parameters
    ----------
    sample_id : int
        The sample's id, so that a drop can be matched with its row.
    key : str
        The external key (or the row number as text where the layout has none).
    part : str
        What is missing: ``"sample"`` (neither side counts), ``"caption"`` or ``"image"``; or
        ``"note"``: nothing is missing, a value was changed and that is only reported.
    reason : str
        A short stable code such as ``"null_caption"``; runs count drops by it.
    detail : str
        What was found, for a person.
    """

    sample_id: int
    key: str
    part: str
    reason: str
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleBatch:
    """Consecutive samples of one shard, as columns of equal length.

    A sample is one image-caption pair. Where a set has several captions for an image, each pair
    is a sample of its own and all of them share one `keys` entry; ids are always unique.

    Parameters
    ----------
    sample_ids : numpy.ndarray of int64, shape (n,)
        Unique within the dataset; see `sample_id`.
    keys : sequence of str, length n
        External keys (img2dataset key, image path, uid, image id or URL, else the row number).
    captions : sequence of (str or None), length n, or None
        None for the whole column where captions were not asked for or the layout has none.
    images : sequence of (bytes or None), length n, or None
        Encoded image files; None as for captions.
    embeddings : numpy.ndarray of float32, shape (n, dimension), or None
        Image embeddings as stored, not yet normalised. A row that cannot be used is listed
        in `drops` and holds zeros.
    languages : sequence of str, length n, or None
        Language codes in lower case, ``"unknown"`` where a row has none; None as for captions.
    extra : mapping of str to sequence of length n, or None
        What rows say besides, as stored: ``"url"``, ``"license"``, ``"nsfw"``, ``"unsafe"``,
        ``"watermark"``, ``"digest"``, those that the source has; None where it was not asked for.
    drops : tuple of Drop
        Parts of these samples that cannot be used. A drop of part ``"sample"`` refers to a row
        that is not in the batch, ``"note"`` to a row whose columns are all there; the other
        parts refer to rows whose column holds None.
    """

    sample_ids: Int64Array
    keys: Sequence[str]
    captions: Sequence[str | None] | None = None
    images: Sequence[bytes | None] | None = None
    embeddings: Float32Array | None = None
    languages: Sequence[str] | None = None
    extra: Mapping[str, Sequence[Any]] | None = None
    drops: tuple[Drop, ...] = ()

    def __post_init__(self) -> None:
        columns = {
            "keys": self.keys,
            "captions": self.captions,
            "images": self.images,
            "embeddings": self.embeddings,
            "languages": self.languages,
            **(self.extra or {}),
        }
        for name, column in columns.items():
            if column is not None and len(column) != len(self.sample_ids):
                raise DataError(
                    "Every column of a batch must be as long as its sample ids "
                    f"({len(self.sample_ids):,}). Got {len(column):,} {name} instead."
                )

    def __len__(self) -> int:
        return len(self.sample_ids)


@dataclass(frozen=True, slots=True, kw_only=True)
class Concept:
    """A name, what else it is called, and how to describe an image of it.

    Parameters
    ----------
    name : str
        The name that results carry; unique in its vocabulary.
    aliases : tuple of str
        Other phrases that count as the same concept (the name itself is implied).
    prompts : tuple of str
        Full sentences for the text encoder; empty means the default templates.
    synset : str or None
        WordNet or ImageNet synset, carried along.
    dataset : str or None
        The evaluation set that the class belongs to, carried along.
    class_index : int or None
        The class's index in that evaluation set, carried along.
    """

    name: str
    aliases: tuple[str, ...] = ()
    prompts: tuple[str, ...] = ()
    synset: str | None = None
    dataset: str | None = None
    class_index: int | None = None

    @property
    def phrases(self) -> tuple[str, ...]:
        """The name and its aliases, each once, in order."""
        return tuple(dict.fromkeys((self.name, *self.aliases)))


@dataclass(frozen=True, slots=True)
class ConceptVocabulary:
    """An ordered list of concepts with unique names; a concept's id is its position.

    Examples
    --------
    >>> vocabulary = ConceptVocabulary((Concept(name="dog", aliases=("hound",)),))
    >>> vocabulary.names, len(vocabulary)
    (('dog',), 1)
    """

    concepts: tuple[Concept, ...]
    names: tuple[str, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        names = tuple(concept.name for concept in self.concepts)
        if not names:
            raise ConfigError(
                "A concept vocabulary must hold at least one concept. Got an empty list instead."
            )
        repeated = (
            sorted({name for name in names if names.count(name) > 1})
            if len(set(names)) != len(names)
            else []
        )
        if repeated:
            raise ConfigError(
                f"Concept names must be unique. Got {repeated[:5]} more than once instead."
            )
        object.__setattr__(self, "names", names)

    def __len__(self) -> int:
        return len(self.concepts)

    def __iter__(self) -> Iterator[Concept]:
        return iter(self.concepts)

    def __getitem__(self, concept_id: int) -> Concept:
        return self.concepts[concept_id]

    @property
    def digest(self) -> str:
        """SHA-256 of everything that can change a count: names, aliases, prompts, order."""
        rows = [[c.name, list(c.aliases), list(c.prompts)] for c in self.concepts]
        return hashlib.sha256(json.dumps(rows, ensure_ascii=True).encode()).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Tags:
    """Which concepts occur in which samples of one shard, in one modality.

    Sorted by sample, then concept; a (sample, concept) pair occurs once.

    Parameters
    ----------
    sample_ids : numpy.ndarray of int64, shape (n,)
    keys : sequence of str, length n
        The samples' external keys.
    concept_ids : numpy.ndarray of int32, shape (n,)
        Positions in the `ConceptVocabulary`.
    scores : numpy.ndarray of float32, shape (n,)
        Text: number of mentions in the caption. Image: cosine similarity.
    """

    sample_ids: Int64Array
    keys: Sequence[str]
    concept_ids: Int32Array
    scores: Float32Array

    def __len__(self) -> int:
        return len(self.sample_ids)


@dataclass(frozen=True, slots=True)
class ConceptFrequencies:
    """How often each concept occurs in a dataset.

    Parameters
    ----------
    table : pandas.DataFrame
        One row per concept (per concept and evaluation set where a ``dataset`` column is
        present). ``concept`` and at least one of ``n_text``, ``n_image``, ``n_joint``
        (int64, NA where that side was not counted). ``n_*_low`` and ``n_*_high`` bound the
        interval of a count where they are present.
    source : str
        The audited (pretraining) dataset.
    level : float
        Coverage of these intervals, in (0, 1); 0.9 where nothing tells.
    share : float
        Share of the dataset's samples that were read, in (0, 1]; the counts are of that share.
    n_samples : int or None
        Samples that were read, before any was dropped; None where nothing tells.
    """

    table: pd.DataFrame
    source: str = ""
    level: float = 0.9
    share: float = 1.0
    n_samples: int | None = None

    def _repr_html_(self) -> str:
        return as_html(
            f"{quantity(len(self.table), 'concept')} in {self.source or 'a dataset'}", self.table
        )

    def __post_init__(self) -> None:
        if not 0.0 < self.share <= 1.0:
            raise DataError(
                "The share of a dataset that was read must lie in (0, 1]. Got "
                f"{self.share!r} instead (--share, or samples read over --sampled-from)."
            )
        if not 0.0 < self.level < 1.0:
            raise DataError(
                f"The level of a frequency table's intervals must lie in (0, 1). Got {self.level} "
                "instead."
            )
        counted = [column for column in FREQUENCY_COLUMNS if column in self.table]
        if "concept" not in self.table or not counted:
            raise DataError(
                "A frequency table must have a 'concept' column and one of "
                f"{list(FREQUENCY_COLUMNS)}. Got the columns {list(self.table)} instead."
            )
        for column in counted:
            values = pd.to_numeric(self.table[column], errors="coerce")
            if bool((values < 0).any()):
                row = int(np.flatnonzero((values < 0).to_numpy(dtype=bool, na_value=False))[0])
                raise DataError(
                    f"Counts must not be negative. Got {column} = {self.table[column].iloc[row]} "
                    f"for concept {self.table['concept'].iloc[row]!r} (row {row}) instead."
                )

    @property
    def counted(self) -> tuple[str, ...]:
        """The count columns that hold at least one value."""
        return tuple(
            column
            for column in FREQUENCY_COLUMNS
            if column in self.table and bool(self.table[column].notna().any())
        )


@dataclass(frozen=True, slots=True)
class ConceptAccuracies:
    """A per-concept score of one or many models on one or many evaluation sets.

    Parameters
    ----------
    table : pandas.DataFrame
        Columns `ACCURACY_COLUMNS`; ``accuracy`` in [0, 1], ``n_correct`` and ``n_images``
        Int64 with NA where unknown. A (model, pretraining, dataset, concept, metric) is unique.
    notes : tuple of str
        What reading changed or could not use, for the person who reads the fit.
    """

    table: pd.DataFrame
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        missing = [column for column in ACCURACY_COLUMNS if column not in self.table]
        if missing:
            raise DataError(
                f"An accuracy table must have the columns {list(ACCURACY_COLUMNS)}. "
                f"{missing} are missing from {list(self.table)}."
            )
        outside = ~self.table["accuracy"].between(0.0, 1.0)
        if bool(outside.any()):
            row = self.table.loc[outside].iloc[0]
            raise DataError(
                f"Accuracies must lie in [0, 1]. Got {row['accuracy']} for concept "
                f"{row['concept']!r} of {row['dataset']!r} instead."
            )


def merge_counts(counts: Sequence[Mapping[str, int]]) -> dict[str, int]:
    """Add mappings of name to count; the order of the parts does not matter.

    Examples
    --------
    >>> merge_counts([{"a": 1}, {"a": 2, "b": 1}])
    {'a': 3, 'b': 1}
    """
    total: dict[str, int] = {}
    for part in counts:
        for name, count in part.items():
            total[name] = total.get(name, 0) + count
    return dict(sorted(total.items()))
