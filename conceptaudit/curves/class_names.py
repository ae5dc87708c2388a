"""Class names in numbers: how a name stands among its rivals, and how alike two are in meaning.

A classifier chooses among the names of one dataset. "Audi A5 Coupe 2012" has rivals that share
every word but one; "sundial" has none. Two names are near by what WordNet says they are kinds of,
by the letters they share and, where there are text vectors of both, by those. Half of it is shared
by all evaluation sets, half belongs to each set: only the former reaches a set that a fit has not
seen.

References
----------
Open English WordNet, https://en-word.net, CC BY 4.0.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from functools import cache, lru_cache
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

from conceptaudit.curves.statistics import FloatArray, IntArray, group_means
from conceptaudit.display import quantity
from conceptaudit.errors import DataError
from conceptaudit.names import normalise_name

# Weights of names alone: kinds over all sets and within a set, letters within a set.
KINDS, KINDS_OWN, LETTERS_OWN = 0.4, 0.3, 0.3

# Weights of text vectors over all sets and within a set; names alone share what is left.
VECTORS, VECTORS_OWN = 0.35, 0.35
VECTOR_SCALE = 0.8  # length scale of the squared-exponential kernel on unit vectors
GRAMS = (3, 4)  # lengths of the runs of letters that two names may share
CHUNK = 4_096
NEAR = 0.3  # similarity from which a class is named as near
ENCODED = Path(__file__).parent / "data" / "imagenet_text.npz"

# Columns of `name_features`.
#
# Number of words; log of the number of characters; log of how many names of the dataset end in the
# same word, and begin with the same word; mean over the name's words of the log of how many names
# of the dataset hold it.
FEATURES = ("words", "letters", "same_head", "same_start", "shared_words")

# Class names to text vectors, a row each; a row of zeros where there is none.
Encode = Callable[[Sequence[str]], npt.NDArray[np.floating[Any]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassNames:
    """Class names in the numbers that are computed with; a row each."""

    rivals: FloatArray  # (n, k): see `name_features`
    # (n, any): what a name is a kind of, and its runs of letters; rows of length 1, or 0 where
    # unknown
    kinds: sparse.csr_matrix
    letters: sparse.csr_matrix
    # (n, d): text vectors about their mean, of length 1, or 0 where there is none
    vectors: FloatArray
    group: IntArray  # (n,): the evaluation set of each name; -1 for none
    spelt: npt.NDArray[np.object_]  # (n,)

    def __len__(self) -> int:
        return len(self.group)

    def take(self, index: npt.NDArray[Any] | slice) -> "ClassNames":
        """Return the names at these positions."""
        return ClassNames(**{item.name: getattr(self, item.name)[index] for item in fields(self)})


def class_names(names: Sequence[str], group: IntArray, encode: Encode | None = None) -> ClassNames:
    """Describe class names, each among those of its evaluation set.

    Shapes: `names` n; `group` (n,).
    """
    unique = list(dict.fromkeys(names))
    place = {name: row for row, name in enumerate(unique)}
    rows = np.fromiter((place[name] for name in names), dtype=np.intp, count=len(names))
    return ClassNames(
        rivals=name_features(names, group),
        kinds=_bags([_kinds_of(name) for name in unique])[rows],
        letters=_bags([_grams_of(name) for name in unique])[rows],
        vectors=_vectors(unique, encode or shipped_vectors)[rows],
        group=np.asarray(group, dtype=np.intp),
        spelt=np.array(names, dtype=object),
    )


def similarity(a: ClassNames, b: ClassNames) -> FloatArray:
    """Return how alike names are in meaning, shape (len(a), len(b)): 1 for the same name.

    Both must come from one `class_names`. Names of different evaluation sets share less.
    """
    same = (a.group[:, None] == b.group) & (a.group[:, None] >= 0)
    kinds = (a.kinds @ b.kinds.T).toarray()
    value: FloatArray = kinds * (KINDS + KINDS_OWN * same)
    value += (a.letters @ b.letters.T).toarray() * (LETTERS_OWN * same)
    known = a.vectors.any(axis=1), b.vectors.any(axis=1)
    share = VECTORS + VECTORS_OWN
    if known[0].any() or known[1].any():
        value *= np.outer(*(np.sqrt(np.where(side, 1.0 - share, 1.0)) for side in known))
    if known[0].any() and known[1].any():
        near = np.exp((a.vectors @ b.vectors.T - 1.0) / VECTOR_SCALE**2)
        value += np.outer(*known) * near * (VECTORS + VECTORS_OWN * same)
    return value


def self_similarity(names: ClassNames) -> FloatArray:
    """Return how alike each name is to itself, as if it had a set of its own, shape (n,)."""
    kinds = np.asarray(names.kinds.power(2).sum(axis=1)).ravel()
    value = kinds * (KINDS + KINDS_OWN) + LETTERS_OWN
    known = names.vectors.any(axis=1)
    share = VECTORS + VECTORS_OWN
    return np.where(known, (1.0 - share) * value + share, value)


def near_classes(
    known: ClassNames, accuracy: FloatArray, asked: ClassNames, n: int = 3
) -> list[str]:
    """Name the classes that are nearest in meaning to others, and what they score.

    Shapes: `accuracy` (len(known). Such as ``"Siberian husky 0.31, malamute 0.35"``; empty where
    none is near.
    """
    result = []
    # as if all were of one set: how near names are does not depend on where they stand
    known = replace(known, group=np.zeros_like(known.group))
    for start in range(0, len(asked), CHUNK):
        part = asked.take(slice(start, start + CHUNK))
        part = replace(part, group=np.zeros_like(part.group))
        alike = similarity(part, known)
        # twice as many, as one name may stand in several sets
        best = np.argsort(-alike, axis=1, kind="stable")[:, : 2 * n + 2]
        for row, columns in enumerate(best):
            said: dict[str, str] = {normalise_name(part.spelt[row]): ""}
            for column in columns[alike[row, columns] >= NEAR]:
                name = known.spelt[column]
                said.setdefault(normalise_name(name), f"{name} {accuracy[column]:.2f}")
            result.append(", ".join(list(said.values())[1 : n + 1]))
    return result


@lru_cache(maxsize=50_000)
def _kinds_of(name: str) -> dict[int, float]:
    # the lexicon lives with the rules on nouns, which a curve need not load before it is asked
    from conceptaudit.text.wordnet import weighted_kinds

    return weighted_kinds(name)


def _grams_of(name: str) -> dict[str, float]:
    folded = f" {normalise_name(name)} "
    return {folded[i : i + k]: 1.0 for k in GRAMS for i in range(len(folded) - k + 1)}


def _bags(bags: Sequence[dict[Any, float]]) -> sparse.csr_matrix:
    """Turn weights by key into rows of length 1."""
    columns: dict[Any, int] = {}
    ends = np.cumsum([0, *map(len, bags)])
    places = [columns.setdefault(key, len(columns)) for bag in bags for key in bag]
    values = np.array([weight for bag in bags for weight in bag.values()], dtype=np.float64)
    matrix = sparse.csr_matrix((values, places, ends), shape=(len(bags), max(len(columns), 1)))
    length = np.sqrt(np.asarray(matrix.power(2).sum(axis=1)).ravel())
    return sparse.csr_matrix(sparse.diags(1.0 / np.where(length > 0, length, 1.0)) @ matrix)


def _vectors(names: Sequence[str], encode: Encode) -> FloatArray:
    """Encode names, centre the vectors on their mean and give them length 1."""
    vectors = np.asarray(encode(names), dtype=np.float64)
    if vectors.ndim != 2 or len(vectors) != len(names):
        raise DataError(
            f"Text vectors must have a row per class name. Got the shape {vectors.shape} for "
            f"{quantity(len(names), 'name')} instead."
        )
    if not np.isfinite(vectors).all():
        row = int(np.flatnonzero(~np.isfinite(vectors).all(axis=1))[0])
        raise DataError(f"The text vector of the class {names[row]!r} is not finite.")
    known = np.any(vectors != 0, axis=1)
    if encode is not shipped_vectors and known.any():
        vectors = np.where(known[:, None], vectors - vectors[known].mean(axis=0), 0.0)
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.where(length > 0, length, 1.0)


@cache
def _shipped() -> tuple[dict[str, int], FloatArray]:
    with np.load(ENCODED, allow_pickle=False) as packed:
        rows = {normalise_name(str(name)): row for row, name in enumerate(packed["names"])}
        vectors = packed["vectors"].astype(np.float64)
        return rows, np.vstack([vectors, np.zeros(vectors.shape[1])])


def shipped_vectors(names: Sequence[str]) -> FloatArray:
    """Return text vectors of ImageNet's class names, zeros for any other name.

    Centred vectors of two CLIP models side by side (OpenAI ViT-B/32; ViT-B/32 trained on
    LAION-400M), so that a product of two is the mean of both models' cosines. From
    CVMI-Lab/clip-beyond-tail (MIT, see ``NOTICE``), packed by
    ``scripts/package_data/make_reference_counts.py``.
    """
    rows, vectors = _shipped()
    return vectors[[rows.get(normalise_name(name), -1) for name in names]]


def name_features(names: Sequence[str], groups: IntArray) -> FloatArray:
    """Describe each name among the names of its group.

    Shapes: `names` n; `groups` (n,). Returns (n, len(FEATURES) centred within groups.
    """
    place: dict[tuple[str, ...], int] = {}
    name = np.fromiter(
        (place.setdefault(_words(str(one)), len(place)) for one in names),
        dtype=np.intp,
        count=len(names),
    )
    keys, row = np.unique(groups * len(place) + name, return_inverse=True)
    raw = _of_unique(list(place), keys % max(len(place), 1), keys // max(len(place), 1))[row]
    result, named = np.zeros_like(raw), groups >= 0
    if named.any():
        members, n_groups = groups[named], int(groups.max()) + 1
        means = np.stack([group_means(c, members, n_groups) for c in raw[named].T], axis=1)
        result[named] = raw[named] - means[members]
    return result


def _words(name: str) -> tuple[str, ...]:
    """Split a name into folded words; `normalise_name` does the same to any text, slower."""
    if name.isascii():
        return tuple(name.lower().replace("_", " ").replace("-", " ").split()) or ("",)
    return tuple(normalise_name(name).split()) or ("",)


def _of_unique(split: Sequence[tuple[str, ...]], name: IntArray, group: IntArray) -> FloatArray:
    """Compute `FEATURES`, not yet centred, of unique (group, name) pairs; `split` has each name."""
    flat = list(chain.from_iterable(split))
    vocabulary = {word: code for code, word in enumerate(dict.fromkeys(flat))}
    codes = np.fromiter(map(vocabulary.__getitem__, flat), dtype=np.intp, count=len(flat))
    lengths = np.fromiter(map(len, vocabulary), dtype=np.float64, count=len(vocabulary))
    sizes = np.fromiter(map(len, split), dtype=np.intp, count=len(split))
    owner = np.repeat(np.arange(len(split)), sizes)
    ends = np.cumsum(sizes)
    # A word that a name holds twice counts once where names that hold it are counted.
    pairs = np.sort(owner * len(vocabulary) + codes)
    distinct, word = np.divmod(pairs[np.diff(pairs, prepend=-1) > 0], len(vocabulary))
    held = np.bincount(distinct, minlength=len(split))
    starts = (np.cumsum(held) - held)[name]
    pair = np.repeat(np.arange(len(name)), held[name])
    within = np.arange(len(pair)) - np.repeat(np.cumsum(held[name]) - held[name], held[name])
    weights = _log_count(group[pair], word[starts[pair] + within])
    columns = (
        sizes[name].astype(np.float64),
        np.log(np.bincount(owner, weights=lengths[codes], minlength=len(split)) + sizes)[name],
        _log_count(group, codes[ends - 1][name]),
        _log_count(group, codes[ends - sizes][name]),
        np.bincount(pair, weights=weights, minlength=len(name)) / held[name],
    )
    return np.stack(columns, axis=1)


def _log_count(group: IntArray, code: IntArray) -> FloatArray:
    """Log of how often each (group, code) pair occurs, at each of its occurrences."""
    shifted = (group - group.min(initial=0)) * (int(code.max(initial=0)) + 1) + code
    _, position, counts = np.unique(shifted, return_inverse=True, return_counts=True)
    result: FloatArray = np.log(counts)[position]
    return result
