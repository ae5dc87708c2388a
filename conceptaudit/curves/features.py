"""What a class name says about its accuracy beside its frequency: how it stands among its rivals.

A classifier chooses among the names of one dataset. "Audi A5 Coupe 2012" has rivals that share
every word but one; "sundial" has none. These features need nothing but the names, and each is
centred within its dataset, so that a dataset's level stays what the curve says.

Whether they help is decided each time by held-out accuracy (`predictor.held_out_by_concept`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np

from conceptaudit.curves.statistics import FloatArray, IntArray, group_means
from conceptaudit.names import normalise_name

FEATURES = ("words", "letters", "same_head", "same_start", "shared_words")
"""Columns of `name_features`.

Number of words; log of the number of characters; log of how many names of the dataset end in the
same word, and begin with the same word; mean over the name's words of the log of how many names of
the dataset hold it.
"""

COMMON_PENALTY = 5.0
OWN_PENALTY = 40.0
"""Rows' worth of pull towards no effect (all datasets) and towards the common effect (one)."""

ROUNDING = 1e-9
"""Features are numbers of words, or logs: one that varies by less is the same everywhere."""


def name_features(names: Sequence[str], groups: IntArray) -> FloatArray:
    """Describe each name among the names of its group.

    Parameters
    ----------
    names : sequence of str, length n
    groups : numpy.ndarray of int, shape (n,)
        The dataset of each name, from 0; -1 for no dataset, which gives zeros. A name that
        stands twice in a group counts once.

    Returns
    -------
    numpy.ndarray of float64, shape (n, len(FEATURES))
        Centred within groups.

    Examples
    --------
    >>> found = name_features(["hot dog", "corn dog", "pizza"], np.array([0, 0, 0]))
    >>> dict(zip(FEATURES, found[0].round(2).tolist()))["same_head"]
    0.23
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


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureEffects:
    """What features add to a curve: an effect for all datasets, and one for each.

    Parameters
    ----------
    scale : numpy.ndarray of float64, shape (k,)
        Standard deviation of each feature over the fitted rows; 1 where it is 0 but for rounding.
    common : numpy.ndarray of float64, shape (k,)
    own : numpy.ndarray of float64, shape (d + 1, k)
        Per dataset, to be added to `common`; the last row, for a new dataset, is zero.
    """

    scale: FloatArray
    common: FloatArray
    own: FloatArray

    def at(self, features: FloatArray, dataset: IntArray) -> FloatArray:
        """Return what to add to the curve, shape (n,); dataset -1 is a new one."""
        effects = self.common + self.own[dataset]
        added: FloatArray = np.sum(features / self.scale * effects, axis=1)
        return added


def fit_effects(
    features: FloatArray, residuals: FloatArray, dataset: IntArray, n_datasets: int
) -> FeatureEffects:
    """Regress residuals on features by ridge, with effects per dataset drawn to common ones.

    Parameters
    ----------
    features : numpy.ndarray of float64, shape (n, k)
    residuals : numpy.ndarray of float64, shape (n,)
    dataset : numpy.ndarray of int, shape (n,)
    n_datasets : int

    Examples
    --------
    >>> x = np.linspace(-1, 1, 200)[:, None]
    >>> effects = fit_effects(x, 0.1 * x[:, 0], np.zeros(200, dtype=int), 1)
    >>> effects.at(np.array([[1.0]]), np.array([0])).round(2).tolist()
    [0.1]
    """
    k = features.shape[1]
    scale = features.std(axis=0)
    scale = np.where(scale > ROUNDING, scale, 1.0)
    scaled = features / scale
    blocks = np.zeros((n_datasets, k, k))
    sides = np.zeros((n_datasets, k))
    for index in range(n_datasets):
        members = dataset == index
        part = scaled[members]
        blocks[index] = part.T @ part
        sides[index] = part.T @ residuals[members]
    # Given the common effect, a dataset's own is (B + pI)^-1 (s - B common); what is left after
    # putting that in is a system of size k, however many datasets there are.
    eye = np.eye(k)
    inverse = np.linalg.inv(blocks + OWN_PENALTY * eye)
    left = (blocks - blocks @ inverse @ blocks).sum(axis=0) + COMMON_PENALTY * eye
    right = (sides - np.einsum("dij,djk,dk->di", blocks, inverse, sides)).sum(axis=0)
    common = np.linalg.solve(left, right)
    own = np.einsum("dij,dj->di", inverse, sides - np.einsum("dij,j->di", blocks, common))
    return FeatureEffects(scale=scale, common=common, own=np.vstack([own, np.zeros(k)]))
