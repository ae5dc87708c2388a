"""The bundled tagger's network, computed only where a decision is wanted.

The network sees a fixed number of words to either side, so a word's tag follows from a window of
words. Here the layers of spaCy's ``MaxoutWindowEncoder`` are computed with the same weights for
what wanted tags depend on: after the first layer a row depends on three words, after the second on
five, and so on, and equal runs of words are computed once, whatever captions they stand in.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from conceptaudit.records import Float32Array

if TYPE_CHECKING:
    from spacy.language import Language

IntArray = npt.NDArray[np.int64]

EPSILON = 1e-8
"""Added to the variance by thinc's ``LayerNorm``."""

BLOCK_ROWS = 2_048
"""Rows per matrix product: enough to be fast, few enough to stay in the processor's cache."""

_SHARED = 2
"""Rows made per row given from which it pays to multiply those given instead."""

CLEAR_MARGIN = 1e-3
"""Least lead of the best tag over the second for a decision taken here.

Sums in another order differ by rounding, a few 1e-6 of a score; a closer race is left to the
pipeline itself.
"""

_PROBE = ("a man in an orange shirt watches two boats on the lake", "Watches for sale")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Layer:
    """One residual block: a window of three rows, maxout of two pieces, layer normalisation."""

    weights: Float32Array  # (3 * width, 2 * width): both pieces side by side
    bias: Float32Array
    scale: Float32Array
    shift: Float32Array

    def __call__(self, rows: Float32Array, triples: IntArray) -> Float32Array:
        """Compute the rows that follow from three given ones each.

        Parameters
        ----------
        rows : numpy.ndarray of float32, shape (n_rows, width)
            What is given.
        triples : numpy.ndarray of int64, shape (n, 3)
            Which of `rows` stand before, at and after the place.
        """
        width = rows.shape[1]
        parts = None
        if len(triples) > _SHARED * len(rows):
            # each row is multiplied by the weights of all three places, and the parts are added
            parts = [rows @ self.weights[i * width : (i + 1) * width] for i in range(3)]
        following = np.empty((len(triples), width), dtype=np.float32)
        for start in range(0, len(triples), BLOCK_ROWS):
            block = triples[start : start + BLOCK_ROWS]
            if parts is None:
                pieces = rows[block].reshape(len(block), 3 * width) @ self.weights
            else:
                pieces = parts[0][block[:, 0]]
                pieces += parts[1][block[:, 1]]
                pieces += parts[2][block[:, 2]]
            pieces += self.bias
            best = np.maximum(pieces[:, :width], pieces[:, width:])
            best -= best.mean(axis=1, keepdims=True)
            variance = np.einsum("ij,ij->i", best, best) / np.float32(width)
            best *= (1.0 / np.sqrt(variance + np.float32(EPSILON)))[:, None]
            best *= self.scale
            best += self.shift
            best += rows[block[:, 1]]
            following[start : start + len(block)] = best
        return following


class WindowNetwork:
    """Tags single words in their context; made by `read_network`.

    Parameters
    ----------
    embed : thinc model
        The bundled embedding of words; it looks at one word at a time.
    layers : sequence
        The encoder's blocks.
    weights, bias : numpy.ndarray of float32, shapes (n_tags, width) and (n_tags,)
        The output layer.
    """

    def __init__(
        self, embed: Any, layers: Sequence[_Layer], weights: Float32Array, bias: Float32Array
    ) -> None:
        self._embed = embed
        self._layers = tuple(layers)
        self._weights = np.ascontiguousarray(weights.T)
        self._bias = bias

    @property
    def reach(self) -> int:
        """Words to either side that a tag depends on."""
        return len(self._layers)

    def embed(self, words: Sequence[str]) -> Float32Array:
        """Return the context-free vectors of words, shape (n_words, width)."""
        from conceptaudit.text.noun_lexicon import word_features
        from conceptaudit.text.word_forms import parse_forms

        forms = parse_forms(self._embed.attrs["word_forms"])
        rows = np.array([word_features(word, forms) for word in words], dtype=np.uint64)
        return np.asarray(self._embed.layers[0].predict(rows), dtype=np.float32)

    def scores(self, vectors: Float32Array, windows: IntArray) -> Float32Array:
        """Score the tags of the words in the middle of windows.

        Parameters
        ----------
        vectors : numpy.ndarray of float32, shape (n_vectors, width)
            Word vectors; the first is zero and stands for what is outside a caption.
        windows : numpy.ndarray of int64, shape (n, 2 * reach + 1)
            Which of `vectors` stand there.

        Returns
        -------
        numpy.ndarray of float32, shape (n, n_tags)
        """
        rows, at = vectors, windows
        for layer in self._layers:
            triples, at = _distinct_triples(at, len(rows))
            rows = layer(rows, triples)
        scores: Float32Array = rows[at[:, 0]] @ self._weights + self._bias
        return scores


def _distinct_triples(windows: IntArray, n: int) -> tuple[IntArray, IntArray]:
    """Return the distinct triples of neighbours below `n`, and which of them stand where."""
    keys = (windows[:, :-2] * n + windows[:, 1:-1]) * n + windows[:, 2:]
    at, distinct = pd.factorize(keys.ravel())
    left, last = np.divmod(distinct, n)
    first, middle = np.divmod(left, n)
    return np.stack([first, middle, last], axis=1), at.reshape(keys.shape)


def read_network(nlp: Language) -> WindowNetwork | None:
    """Take the weights of a pipeline's tagger, if it is built as the bundled one is.

    The result is compared with the pipeline itself on a few words before it is trusted.

    Returns
    -------
    WindowNetwork or None
        None where the pipeline is built otherwise: then whole captions have to be tagged.
    """
    try:
        network = _network(nlp)
        return network if network is not None and _agrees(network, nlp) else None
    except (KeyError, AttributeError, IndexError, ValueError):
        return None  # some other architecture


def _network(nlp: Language) -> WindowNetwork | None:
    from conceptaudit.text.noun_lexicon import EMBED_LAYER

    if nlp.pipe_names[:-1] != ["tok2vec", "morphologizer"]:
        return None
    embed, encode = nlp.get_pipe("tok2vec").model.layers  # type: ignore[attr-defined]  # typed as any Pipe
    if embed.name != EMBED_LAYER or embed.attrs["word_forms"] == b"":
        return None
    blocks = encode.layers[0].layers
    if encode.attrs["pad"] < len(blocks):
        return None
    layers = []
    for block in blocks:
        window, dense = block.layers[0].layers[:2]
        maxout, norm = (
            dense.layers[0].layers[:2] if dense.name.startswith("maxout>>") else (None,) * 2
        )
        if maxout is None:
            return None
        layers.append(_layer(window, maxout, norm))
    output = nlp.get_pipe("morphologizer").model.get_ref("softmax")  # type: ignore[attr-defined]  # typed as any Pipe
    return WindowNetwork(embed, layers, output.get_param("W"), output.get_param("b"))


def _layer(window: Any, maxout: Any, norm: Any) -> _Layer:
    if window.attrs["window_size"] != 1 or maxout.get_dim("nP") != 2:
        raise ValueError("not windows of three words with two pieces")
    weights, bias = maxout.get_param("W"), maxout.get_param("b")
    return _Layer(
        weights=np.ascontiguousarray(np.concatenate([weights[:, 0], weights[:, 1]]).T),
        bias=np.concatenate([bias[:, 0], bias[:, 1]]),
        scale=norm.get_param("G"),
        shift=norm.get_param("b"),
    )


def _agrees(network: WindowNetwork, nlp: Language) -> bool:
    for text in _PROBE:
        doc = nlp.make_doc(text)
        vectors, windows = laid_out(network, [token.text for token in doc])
        expected = nlp.get_pipe("tok2vec").model.predict([doc])[0]  # type: ignore[attr-defined]  # typed as any Pipe
        output = nlp.get_pipe("morphologizer").model.get_ref("softmax")  # type: ignore[attr-defined]  # typed as any Pipe
        if not np.allclose(
            network.scores(vectors, windows),
            expected @ output.get_param("W").T + output.get_param("b"),
            atol=CLEAR_MARGIN / 10,
        ):
            return False
    return True


def laid_out(network: WindowNetwork, words: Sequence[str]) -> tuple[Float32Array, IntArray]:
    """Return vectors and the window of each word of one caption, for `WindowNetwork.scores`."""
    embedded = network.embed(words)
    vectors = np.concatenate([np.zeros_like(embedded[:1]), embedded])
    outside = np.zeros(network.reach, dtype=np.int64)
    line = np.concatenate([outside, 1 + np.arange(len(words)), outside])
    return vectors, np.lib.stride_tricks.sliding_window_view(line, 2 * network.reach + 1)
