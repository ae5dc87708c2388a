"""What class names mean: a Gaussian process on what frequency leaves unexplained.

Classes whose names are near in meaning score alike: one breed of dog is about as hard as the next.
The residuals of a curve are smoothed over names by a Gaussian process (kernel ridge regression with
a variance of its own). Two names are near by what WordNet says they are kinds of, by the letters
they share and, where there are text vectors of both, by those. Half of it is shared by all
evaluation sets, half belongs to each set: only the former reaches a set that the fit has not seen.

The weights below and `POWER` were chosen once, by the squared error of concepts held out by name on
the published accuracies (``docs/benchmarks-curves.md``); the ratio of noise to signal of every fit
is that which predicts names left out best. Whether meaning is used at all is decided by held-out
concepts.

References
----------
Rasmussen and Williams, "Gaussian Processes for Machine Learning" (2006): sections 2.2 (prediction)
and 5.4 (leaving out). Open English WordNet, https://en-word.net, CC BY 4.0.
"""

from collections import Counter, OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
from scipy import linalg, sparse

from conceptaudit.curves.features import name_features
from conceptaudit.curves.statistics import FloatArray, IntArray
from conceptaudit.errors import DataError
from conceptaudit.names import normalise_name

KINDS, KINDS_OWN, LETTERS_OWN = 0.4, 0.3, 0.3
"""Weights of names alone: kinds over all sets and within a set, letters within a set."""

VECTORS, VECTORS_OWN = 0.35, 0.35
"""Weights of text vectors over all sets and within a set; names alone share what is left."""

VECTOR_SCALE = 0.8
"""Length scale of the squared-exponential kernel on unit vectors."""

GRAMS = (3, 4)
"""Lengths of the runs of letters that two names may share."""

NOISE_RATIOS = (0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 10.0)
"""Ratios of noise to signal that are tried."""

RATIO_ROWS = 1_500
MAX_ROWS = 6_000
"""Rows that the ratio is estimated on, and rows above which a fit goes without meaning: the inverse
of its covariance takes rows squared in memory and rows cubed in time."""

MAX_SPREADS = 20_000
"""Queries above which all have the same variance: one each costs rows squared per query."""

CHUNK = 4_096

NEAR = 0.3
"""Similarity from which a class is named as near."""

ENCODED = Path(__file__).parent / "data" / "imagenet_text.npz"

Matrix = npt.NDArray[np.float32]
Result = TypeVar("Result")

Encode = Callable[[Sequence[str]], npt.NDArray[np.floating[Any]]]
"""Class names to text vectors, a row each; a row of zeros where there is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassNames:
    """Class names in the numbers that are computed with; a row each.

    Parameters
    ----------
    rivals : numpy.ndarray of float64, shape (n, k)
        See `features.name_features`.
    kinds, letters : scipy.sparse.csr_matrix, shape (n, any)
        What a name is a kind of, and its runs of letters; rows of length 1, or 0 where unknown.
    vectors : numpy.ndarray of float64, shape (n, d)
        Text vectors about their mean, of length 1, or 0 where there is none.
    group : numpy.ndarray of int, shape (n,)
        The evaluation set of each name; -1 for none.
    spelt : numpy.ndarray of str objects, shape (n,)
    """

    rivals: FloatArray
    kinds: sparse.csr_matrix
    letters: sparse.csr_matrix
    vectors: FloatArray
    group: IntArray
    spelt: npt.NDArray[np.object_]

    def __len__(self) -> int:
        return len(self.group)

    def take(self, index: npt.NDArray[Any] | slice) -> "ClassNames":
        """Return the names at these positions."""
        return ClassNames(
            rivals=self.rivals[index],
            kinds=self.kinds[index],
            letters=self.letters[index],
            vectors=self.vectors[index],
            group=self.group[index],
            spelt=self.spelt[index],
        )


def class_names(names: Sequence[str], group: IntArray, encode: Encode | None = None) -> ClassNames:
    """Describe class names, each among those of its evaluation set.

    Parameters
    ----------
    names : sequence of str, length n
    group : numpy.ndarray of int, shape (n,)
        Their evaluation sets, -1 for none.
    encode : callable, optional
        Text vectors of names; by default those of ImageNet's names that the package ships.

    Raises
    ------
    DataError
        A text vector is not finite, or there are not as many as names.
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


def _self_similarity(names: ClassNames) -> FloatArray:
    """Diagonal of the similarity of names with themselves, as if each had a set of its own."""
    kinds = np.asarray(names.kinds.power(2).sum(axis=1)).ravel()
    value = kinds * (KINDS + KINDS_OWN) + LETTERS_OWN
    known = names.vectors.any(axis=1)
    share = VECTORS + VECTORS_OWN
    return np.where(known, (1.0 - share) * value + share, value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Meaning:
    """A Gaussian process over class names, fitted to residuals.

    Parameters
    ----------
    names : ClassNames
        Of the fitted rows.
    residual : numpy.ndarray of float64, shape (n,)
    noise : float
        Ratio of the noise to the signal's variance.
    inverse : numpy.ndarray of float32, shape (n, n)
        Of the rows' covariance, noise included, in units of the signal's variance.
    weights : numpy.ndarray of float64, shape (n,)
        `inverse` times `residual`.
    """

    names: ClassNames
    residual: FloatArray
    noise: float
    inverse: Matrix
    weights: FloatArray

    def at(self, names: ClassNames) -> tuple[FloatArray, FloatArray]:
        """Return what meaning adds to the curve, and how sure it is.

        Returns
        -------
        added : numpy.ndarray of float64, shape (len(names),)
        spread : numpy.ndarray of float64, shape (len(names),)
            Standard deviations of outcomes, in units of the signal's.
        """
        added, spread = np.zeros(len(names)), np.full(len(names), np.sqrt(self.noise + 0.5))
        row, fitted = self._rows_of(names)
        # What is similar to a row is its column of the covariance, less the noise: its products
        # with the inverse need no multiplication.
        added[fitted] = self.residual[row] - self.noise * self.weights[row]
        left = self.noise - self.noise**2 * np.diag(self.inverse)[row]
        spread[fitted] = np.sqrt(np.maximum(left, 0.0) + self.noise)
        others = np.setdiff1d(np.arange(len(names)), fitted)
        for start in range(0, len(others), CHUNK):
            members = others[start : start + CHUNK]
            part = names.take(members)
            cross = similarity(part, self.names)
            added[members] = cross @ self.weights
            if len(others) <= MAX_SPREADS:
                explained = np.einsum("ij,ij->i", cross.astype(np.float32) @ self.inverse, cross)
                variance = np.maximum(_self_similarity(part) - explained, 0.0) + self.noise
                spread[members] = np.sqrt(variance)
        return added, spread

    def _rows_of(self, names: ClassNames) -> tuple[IntArray, IntArray]:
        """Return fitted rows that are asked for again, and where; a name once in its set."""
        keys = list(zip(self.names.spelt, self.names.group.tolist(), strict=True))
        known = {key: row for row, key in enumerate(keys)}
        twice = {key for key, times in Counter(keys).items() if times > 1}
        asked = zip(names.spelt, names.group.tolist(), strict=True)
        found = [(known[k], i) for i, k in enumerate(asked) if k in known and k not in twice]
        pairs = np.array(found, dtype=np.intp).reshape(-1, 2)
        return pairs[:, 0], pairs[:, 1]


def near_classes(
    known: ClassNames, accuracy: FloatArray, asked: ClassNames, n: int = 3
) -> list[str]:
    """Name the classes that are nearest in meaning to others, and what they score.

    Parameters
    ----------
    known : ClassNames
    accuracy : numpy.ndarray of float64, shape (len(known),)
    asked : ClassNames
        Of the same `class_names`.
    n : int
        Classes to name at most.

    Returns
    -------
    list of str, length len(asked)
        Such as ``"Siberian husky 0.31, malamute 0.35"``; empty where none is near.
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


def fit_meaning(names: ClassNames, residual: FloatArray, seed: int = 0) -> Meaning | None:
    """Fit the process to residuals; None where there are more than `MAX_ROWS`.

    Parameters
    ----------
    names : ClassNames
    residual : numpy.ndarray of float64, shape (n,)
        Accuracy minus what the curve expects.
    seed : int
        Draws the rows that the noise is estimated on, where there are many.
    """
    if len(names) > MAX_ROWS:
        return None
    noise = _best_ratio(names, residual, seed)
    inverse = _CACHE.get(("inverse", noise, _digest(names)), lambda: _inverse(names, noise))
    return Meaning(
        names=names,
        residual=residual,
        noise=noise,
        inverse=inverse,
        weights=(inverse @ residual.astype(np.float32)).astype(np.float64),
    )


def held_out_meaning(
    meaning: Meaning, splits: Sequence[tuple[IntArray, IntArray]], residuals: Sequence[FloatArray]
) -> tuple[FloatArray, FloatArray]:
    """Say what meaning would have added to rows held out, and how sure, without refitting.

    Parameters
    ----------
    meaning : Meaning
        Of all rows; held-out rows have no part in what is returned for them but for the noise.
    splits : sequence of (train, test)
        Positions; the tests are disjoint, and each train is the rest.
    residuals : sequence of numpy.ndarray of float64, shape (n,)
        About the curve of each split, of all rows.

    Returns
    -------
    added, spread : numpy.ndarray of float64, shape (n,)
        As of `Meaning.at`; NaN for rows that no split tests.
    """
    n = len(meaning.names)
    added, spread = np.full(n, np.nan), np.full(n, np.nan)
    for (train, test), residual in zip(splits, residuals, strict=True):
        # The blocks of an inverse hold the regression of some rows on the others.
        block = linalg.inv(meaning.inverse[np.ix_(test, test)], check_finite=False)
        cross = meaning.inverse[np.ix_(test, train)] @ residual[train].astype(np.float32)
        added[test] = -block @ cross
        spread[test] = np.sqrt(np.diag(block))
    return added, spread


def _best_ratio(names: ClassNames, residual: FloatArray, seed: int) -> float:
    """Return the noise ratio with the smallest squared error of names left out one by one.

    Not that of the highest likelihood: sets differ in noise, and those whose accuracies are nearly
    all 0 would pull it down for all (three quarters of the noise that predicts best).
    """
    order = np.random.default_rng(seed).permutation(len(names))
    folded = np.array([normalise_name(name) for name in names.spelt[order]])
    # one row of a name, so that no other of its rows gives it away
    chosen = np.sort(order[np.sort(np.unique(folded, return_index=True)[1])][:RATIO_ROWS])
    names, residual = names.take(chosen), residual[chosen]
    values, basis = _CACHE.get(("eigen", _digest(names)), lambda: _eigen(names))
    turned, squares = basis.T @ residual, basis**2

    def left_out(noise: float) -> float:
        inverse = 1.0 / (np.maximum(values, 0.0) + noise)
        return float(np.sum(((basis @ (inverse * turned)) / (squares @ inverse)) ** 2))

    return min(NOISE_RATIOS, key=left_out)


class _Cache:
    """The last results that depend on names alone: models of a curve mostly share their names."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.results: OrderedDict[object, Any] = OrderedDict()

    def get(self, key: object, make: Callable[[], Result]) -> Result:
        if key not in self.results:
            self.results[key] = make()
            while len(self.results) > self.size:
                self.results.popitem(last=False)
        self.results.move_to_end(key)
        found: Result = self.results[key]
        return found


_CACHE = _Cache(4)


def _digest(names: ClassNames) -> str:
    digest = sha256("\0".join(names.spelt).encode("utf-8", "surrogatepass"))
    digest.update(names.group.tobytes())
    digest.update(names.vectors.tobytes())
    return digest.hexdigest()


def _eigen(names: ClassNames) -> tuple[FloatArray, FloatArray]:
    values, basis = linalg.eigh(similarity(names, names), check_finite=False)
    return np.asarray(values, dtype=np.float64), np.asarray(basis, dtype=np.float64)


def _inverse(names: ClassNames, noise: float) -> Matrix:
    """Invert the covariance of these rows.

    In single precision: the noise bounds its condition number by a few thousand.
    """
    covariance = similarity(names, names).astype(np.float32)
    covariance[np.diag_indices_from(covariance)] += np.float32(noise)
    factor = linalg.cholesky(covariance, lower=True, overwrite_a=True, check_finite=False)
    inverse, _ = linalg.lapack.spotri(factor, lower=1, overwrite_c=1)
    # the routine fills one triangle, and leaves zeros of the factor in the other
    inverse += np.tril(inverse, -1).T
    return np.asarray(inverse)


@lru_cache(maxsize=50_000)
def _kinds_of(name: str) -> dict[int, float]:
    # the lexicon lives with the rules on nouns, which a curve need not load before it is asked
    from conceptaudit.text.kinds import weighted_kinds

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
            f"{len(names)} names instead."
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
    CVMI-Lab/clip-beyond-tail (MIT, see ``NOTICE``), packed by ``scripts/make_reference_counts.py``.
    """
    rows, vectors = _shipped()
    return vectors[[rows.get(normalise_name(name), -1) for name in names]]
