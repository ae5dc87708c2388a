"""Which concepts are named together in captions: PMI and the top partners of each concept."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd

from conceptaudit.errors import ConfigError
from conceptaudit.frequency.pairs import PairCounts, Run
from conceptaudit.records import ConceptVocabulary, Int64Array

DEFAULT_TOP = 50
MIN_COUNT = 5
"""Pairs seen fewer times have no steady PMI and are ranked by count only."""

Float64Array = npt.NDArray[np.float64]


def top_pairs(
    pairs: PairCounts,
    vocabulary: ConceptVocabulary,
    n_text: Int64Array,
    n_captions: int,
    *,
    top: int = DEFAULT_TOP,
) -> pd.DataFrame:
    """List for every concept those that are most often, and most markedly, named with it.

    Shapes: `n_text` (n_concepts,). ``concept_a, concept_b, n_a, n_b, n, pmi, npmi``, by concept and
    falling count. ``n_a``, ``n_b`` and ``n`` count captions that name a, b and both. ``pmi`` is in
    bits; ``npmi`` lies in [-1, 1], 0 where the two are independent, 1 where neither occurs alone.
    See Bouma, "Normalized (pointwise) mutual information in collocation extraction", 2009.
    """
    if top < 1:
        raise ConfigError(f"The 'top' parameter must be at least 1. Got {top} instead.")
    n = len(vocabulary)
    kept = [_ranked(block, n, n_text, n_captions, top) for block in pairs.blocks()]
    empty = _table(np.empty(0, np.int64), np.empty(0, np.int64), n, n_text, n_captions)
    table = pd.concat([empty, *kept], ignore_index=True) if kept else empty
    names = np.asarray(vocabulary.names, dtype=object)
    for column in ("concept_a", "concept_b"):
        table[column] = pd.Series(names[table[column].to_numpy(dtype=np.int64)], dtype="str")
    return table


def _ranked(block: Run, n: int, n_text: Int64Array, n_captions: int, top: int) -> pd.DataFrame:
    table = _table(block.keys, block.counts, n, n_text, n_captions)
    table = table.sort_values(
        ["concept_a", "n", "concept_b"], ascending=[True, False, True], ignore_index=True
    )
    often = table.groupby("concept_a", sort=False).cumcount() < top
    marked = table[table["n"] >= MIN_COUNT].sort_values(
        ["concept_a", "npmi", "concept_b"], ascending=[True, False, True]
    )
    marked = marked[marked.groupby("concept_a", sort=False).cumcount() < top]
    return table[often | table.index.isin(marked.index)]


def _table(
    keys: Int64Array, counts: Int64Array, n: int, n_text: Int64Array, n_captions: int
) -> pd.DataFrame:
    a, b = np.divmod(keys, n)
    pmi, npmi = pointwise_information(counts, n_text[a], n_text[b], n_captions)
    return pd.DataFrame(
        {"concept_a": a, "concept_b": b, "n_a": n_text[a], "n_b": n_text[b], "n": counts}
        | {"pmi": pmi, "npmi": npmi}
    )


def pointwise_information(
    n_both: Int64Array, n_a: Int64Array, n_b: Int64Array, n_captions: int
) -> tuple[Float64Array, Float64Array]:
    """Return pointwise mutual information in bits, and normalised to [-1, 1].

    Shapes: `n_both`, `n_a`, `n_b` (n,).
    """
    both = n_both.astype(np.float64)
    pmi = np.log2(both * n_captions) - np.log2(n_a.astype(np.float64) * n_b)
    surprise = -np.log2(both / n_captions)
    # two concepts that every caption names: no surprise, and neither occurs alone
    npmi = np.divide(pmi, surprise, out=np.ones_like(pmi), where=surprise > 0)
    return pmi, np.clip(npmi, -1.0, 1.0)
