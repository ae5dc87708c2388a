"""Repeated samples of the same open pairs, for ``bench_text.py --repeat-samples``.

Every open pair of a corpus is tagged once; then the fast mode's sampling is repeated with several
seeds and its estimates are compared with what tagging every pair gives.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

FEW, MANY = 100, 1_000
"""Matches from which a concept's error is told, and told apart."""

CLEAR = 5.0
"""Standard error, in captions, from which that counts are whole numbers hardly widens intervals."""


def all_pairs(captions: list[str], concepts: Any) -> tuple[pd.DataFrame, npt.NDArray[np.int64]]:
    """Return every open pair with what the tagger says, and the certain pairs per concept."""
    from conceptaudit.text.annotator import ZONE_CAPTIONS
    from conceptaudit.text.normalize import caption_texts
    from conceptaudit.text.pipeline import find_pipeline
    from conceptaudit.text.sampling import CERTAIN
    from conceptaudit.text.tagger import TextTagger, annotator_of

    annotator = annotator_of(TextTagger(vocabulary=concepts, pipeline=find_pipeline()))
    certain = np.zeros(len(concepts), dtype=np.int64)
    parts = []
    for start in range(0, len(captions), ZONE_CAPTIONS):
        texts = caption_texts(captions[start : start + ZONE_CAPTIONS])
        pairs = annotator.pairs(texts)
        is_open = pairs.forms != CERTAIN
        certain += np.bincount(pairs.concepts[~is_open], minlength=len(concepts))
        keys = pairs.captions[is_open] * np.int64(len(concepts)) + pairs.concepts[is_open]
        found = annotator.find(texts, keys)
        named = found.captions * np.int64(len(concepts)) + found.concepts
        columns = {
            "sample_id": pairs.captions[is_open] + np.int64(start),
            "concept_id": pairs.concepts[is_open],
            "form": pairs.forms[is_open],
            "context": pairs.contexts[is_open],
            "named": np.isin(keys, named[found.accepted]),
            "joint": False,
        }
        parts.append(pd.DataFrame(columns))
    return pd.concat(parts, ignore_index=True), certain


def sample_once(
    pairs: pd.DataFrame, certain: npt.NDArray[np.int64], *, error: float, seed: int
) -> pd.DataFrame:
    """Estimate every concept from one sample; a row per concept."""
    from conceptaudit.frequency.adaptive_sampling import AdaptiveSample
    from conceptaudit.frequency.strata import add_cells
    from conceptaudit.text.sampling import ranks
    from conceptaudit.text.tagger import sample_limit

    rank = ranks(pairs["sample_id"].to_numpy(), pairs["form"].to_numpy(), seed=seed)
    ranked = pairs.assign(rank=rank)
    by = ["concept_id", "form", "context"]
    strata = pairs.groupby(by, as_index=False).agg(n=("joint", "size"), n_joint=("joint", "sum"))
    sample = AdaptiveSample(
        read=lambda bounds: ranked[bounds.hold(ranked)].reset_index(drop=True),
        tag=lambda rows: rows,
        error=error,
        most=sample_limit(error),
    )
    cells, _ = sample(strata, certain)
    found = add_cells(cells, len(certain))
    low, high = found.interval()
    n = len(certain)
    named = np.bincount(pairs["concept_id"], weights=pairs["named"], minlength=n)
    tagged = np.bincount(cells["concept_id"], weights=cells["m"], minlength=n)
    return pd.DataFrame(
        {
            "concept_id": np.arange(n),
            "truth": certain + named,
            "count": certain + np.rint(found.total),
            "se": np.sqrt(found.variance),
            "low": certain + low,
            "high": certain + high,
            "tagged": tagged,
        }
    )


def summary(tables: list[pd.DataFrame]) -> dict[str, float]:
    """Say how estimates of repeated samples compare with the truth."""
    table = pd.concat(tables, ignore_index=True)
    off = (table["count"] - table["truth"]).abs() / table["truth"].clip(lower=1)
    some, many = table["truth"] >= FEW, table["truth"] >= MANY
    unsure = table["se"] > 0
    inside = table["truth"].between(table["low"], table["high"])
    clear = table["se"] > CLEAR
    worst = table.assign(off=off)[many].groupby("concept_id")["off"].max()
    return {
        "tagged": float(table["tagged"].sum() / len(tables)),
        "median_error": float(off[some].median()),
        "p95_error_many": float(off[many].quantile(0.95)),
        "within_1_percent_many": float((off[many] <= 0.01).mean()),
        "concepts_many": int(many.sum() / len(tables)),
        "always_within_1_percent_many": float((worst <= 0.01).mean()),
        "unsure": float(unsure.sum() / len(tables)),
        "inside": float(inside[unsure].mean()),
        "clear": float(clear.sum() / len(tables)),
        "inside_clear": float(inside[clear].mean()),
        "se_over_error_clear": float(
            table["se"][clear].pow(2).mean() ** 0.5
            / (table["count"] - table["truth"])[clear].pow(2).mean() ** 0.5
        ),
    }


def repeat_samples(
    captions: list[str], concepts: Any, *, repeats: int, error: float
) -> dict[str, float]:
    """Sample `repeats` times and sum up."""
    pairs, certain = all_pairs(captions, concepts)
    tables = [sample_once(pairs, certain, error=error, seed=seed) for seed in range(repeats)]
    return {"pairs": len(pairs), **summary(tables)}
