"""What class names mean: a Gaussian process on what frequency leaves unexplained.

Classes whose names are near in meaning score alike: one breed of dog is about as hard as the next.
The residuals of a curve are smoothed over names by a Gaussian process (kernel ridge regression with
a variance of its own); `class_names.similarity` says how alike two names are. Its weights were
chosen once, by the squared error of concepts held out by name on the published accuracies
(``docs/benchmarks-curves.md``); the ratio of noise to signal of every fit is that which predicts
names left out best. Whether meaning is used at all is decided by held-out concepts.

References
----------
Rasmussen and Williams, "Gaussian Processes for Machine Learning" (2006): sections 2.2 (prediction)
and 5.4 (leaving out).
"""

from collections import Counter, OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
from scipy import linalg

from conceptaudit.curves.class_names import CHUNK, ClassNames, self_similarity, similarity
from conceptaudit.curves.statistics import FloatArray, IntArray
from conceptaudit.names import normalise_name

# Ratios of noise to signal that are tried.
NOISE_RATIOS = (0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 10.0)
RATIO_ROWS = 1_500  # rows that the ratio is estimated on
# Rows above which a fit goes without meaning: the inverse of its covariance takes rows squared in
# memory and rows cubed in time.
MAX_ROWS = 6_000

# Queries above which all have the same variance: one each costs rows squared per query.
MAX_SPREADS = 20_000

Matrix = npt.NDArray[np.float32]
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True, kw_only=True)
class Meaning:
    """A Gaussian process over class names, fitted to residuals."""

    names: ClassNames  # of the fitted rows
    residual: FloatArray  # (n,)
    noise: float  # ratio of the noise to the signal's variance
    # (n, n): of the rows' covariance, noise included, in units of the signal's variance
    inverse: Matrix
    weights: FloatArray  # (n,): `inverse` times `residual`

    def at(self, names: ClassNames) -> tuple[FloatArray, FloatArray]:
        """Return what meaning adds to the curve, and how sure it is.

        Returns `added` (len(names); `spread` (len(names): standard deviations of outcomes, in units
        of the signal's.
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
                variance = np.maximum(self_similarity(part) - explained, 0.0) + self.noise
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


def fit_meaning(names: ClassNames, residual: FloatArray, seed: int = 0) -> Meaning | None:
    """Fit the process to residuals; None where there are more than `MAX_ROWS`.

    Shapes: `residual` (n,).
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
    """Return what meaning would have added to rows held out, and how sure, without refitting.

    Shapes: `residuals` (n,). Returns `added, spread` (n,): as of `Meaning.at`; NaN for rows that no
    split tests.
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
