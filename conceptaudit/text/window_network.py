"""The bundled tagger's network, computed only where a decision is wanted.

The network sees a fixed number of words to either side, so a word's tag follows from a window of
words. Here the layers of spaCy's ``MaxoutWindowEncoder`` are computed for the rows that wanted tags
depend on, with the same weights; everything else of a caption is never computed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from conceptaudit.records import Float32Array

if TYPE_CHECKING:
    from spacy.language import Language

IntArray = npt.NDArray[np.int64]

EPSILON = 1e-8
"""Added to the variance by thinc's ``LayerNorm``."""

BLOCK_ROWS = 2_048
"""Rows per matrix product: enough to be fast, few enough to stay in the processor's cache."""

CLEAR_MARGIN = 1e-3
"""Least lead of the best tag over the second for a decision taken here.

Sums in another order differ by rounding, a few 1e-6 of a score; a closer race is left to the
pipeline itself.
"""

_PROBE = ("a man in an orange shirt watches two boats on the lake", "Watches for sale")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Layer:
    """One residual block: a window of three rows, maxout of two pieces, layer normalisation."""

    pieces: tuple[Float32Array, Float32Array]  # each (3 * width, width)
    biases: tuple[Float32Array, Float32Array]
    scale: Float32Array
    shift: Float32Array

    def __call__(self, windows: Float32Array, centre: Float32Array) -> Float32Array:
        best = windows @ self.pieces[0]
        best += self.biases[0]
        other = windows @ self.pieces[1]
        other += self.biases[1]
        np.maximum(best, other, out=best)
        best -= best.mean(axis=1, keepdims=True)
        variance = np.einsum("ij,ij->i", best, best) / np.float32(best.shape[1])
        best *= (1.0 / np.sqrt(variance + np.float32(EPSILON)))[:, None]
        best *= self.scale
        best += self.shift
        best += centre
        return best


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
        from conceptaudit.text.noun_lexicon import parse_forms, word_features

        forms = parse_forms(self._embed.attrs["word_forms"])
        rows = np.array([word_features(word, forms) for word in words], dtype=np.uint64)
        return np.asarray(self._embed.layers[0].predict(rows), dtype=np.float32)

    def scores(self, rows: Float32Array, targets: IntArray) -> Float32Array:
        """Score the tags of some rows.

        Parameters
        ----------
        rows : numpy.ndarray of float32, shape (n_rows, width)
            Word vectors of many captions, with at least `reach` rows of zeros between captions
            and at both ends.
        targets : numpy.ndarray of int64, shape (n_targets,)
            Rows whose tags are wanted.

        Returns
        -------
        numpy.ndarray of float32, shape (n_targets, n_tags)
        """
        needed = np.zeros(len(rows), dtype=bool)
        needed[targets] = True
        wanted = [np.flatnonzero(needed)]
        for _ in self._layers[1:]:
            spread = needed.copy()
            spread[1:] |= needed[:-1]
            spread[:-1] |= needed[1:]
            needed = spread
            wanted.append(np.flatnonzero(needed))
        width = rows.shape[1]
        for layer, where in zip(self._layers, reversed(wanted), strict=True):
            # row i of the view is the rows i, i + 1, i + 2 side by side
            view = np.lib.stride_tricks.as_strided(
                rows, (len(rows) - 2, 3 * width), rows.strides, writeable=False
            )
            following = np.empty_like(rows)
            for start in range(0, len(where), BLOCK_ROWS):
                block = where[start : start + BLOCK_ROWS]
                following[block] = layer(view[block - 1], rows[block])
            rows = following
        scores: Float32Array = rows[targets] @ self._weights + self._bias
        return scores


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
        pieces=(
            np.ascontiguousarray(weights[:, 0].T),
            np.ascontiguousarray(weights[:, 1].T),
        ),
        biases=(np.ascontiguousarray(bias[:, 0]), np.ascontiguousarray(bias[:, 1])),
        scale=norm.get_param("G"),
        shift=norm.get_param("b"),
    )


def _agrees(network: WindowNetwork, nlp: Language) -> bool:
    for text in _PROBE:
        doc = nlp.make_doc(text)
        rows = padded(network, [[token.text for token in doc]])
        targets = np.arange(network.reach, network.reach + len(doc))
        expected = nlp.get_pipe("tok2vec").model.predict([doc])[0]  # type: ignore[attr-defined]  # typed as any Pipe
        output = nlp.get_pipe("morphologizer").model.get_ref("softmax")  # type: ignore[attr-defined]  # typed as any Pipe
        if not np.allclose(
            network.scores(rows, targets),
            expected @ output.get_param("W").T + output.get_param("b"),
            atol=CLEAR_MARGIN / 10,
        ):
            return False
    return True


def padded(network: WindowNetwork, captions: Sequence[Sequence[str]]) -> Float32Array:
    """Lay out the word vectors of captions as `WindowNetwork.scores` wants them."""
    gap = np.zeros((network.reach, network.embed(["a"]).shape[1]), dtype=np.float32)
    parts = [gap]
    for words in captions:
        parts += [network.embed(words), gap]
    return np.concatenate(parts)
