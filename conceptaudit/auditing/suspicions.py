"""What an audit's numbers say about its own inputs: lists that match nothing, joins that are off.

A silent zero is the worst fault, so what is found here comes before all other notes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from conceptaudit.artifacts import Json
from conceptaudit.display import quantity
from conceptaudit.records import ConceptVocabulary
from conceptaudit.text.normalize import phrase_text

ENOUGH_SAMPLES = 1_000
"""Samples beyond which a list of which next to nothing is found fits the data badly."""

FEW_FOUND = 20
"""One concept in so many is few."""

CERTAIN_SAMPLES = 30
"""Samples from which on agreement near chance is a suspicion; below, a weak sign."""

_SIGMAS, _WEAK_SIGMAS = 5.0, 2.0
"""How far agreement could be above chance for its absence to say something."""

_NEAR_SIGMAS, _NEAR_SHARE = 3.0, 0.05
"""How near to chance agreement is near: in standard errors, or as a share of what it could be."""

_SWALLOWED = {
    "rows_swallowed": (
        "with quoted text of lines that look like rows: rows may have been swallowed by "
        "an unbalanced quotation mark, and their captions count as one"
    ),
    "unbalanced_quote": (
        "with a quotation mark that is never closed; each was read as the one line it is"
    ),
}


def suspicions(
    table: pd.DataFrame,
    account: Mapping[str, Json],
    vocabulary: ConceptVocabulary,
    reading: Mapping[str, str],
) -> tuple[str, ...]:
    """Say what is suspicious about an audit, the worst first."""
    return (
        *_unmatched(table, account, vocabulary, reading),
        *_misjoined(table, account),
        *_swallowed(account),
    )


def _unmatched(
    table: pd.DataFrame,
    account: Mapping[str, Json],
    vocabulary: ConceptVocabulary,
    reading: Mapping[str, str],
) -> Iterator[str]:
    for side, what in (("text", "captions"), ("image", "images")):
        n_used = account.get(side, {}).get("n_used", 0)
        n_found = int((table[f"n_{side}"] > 0).sum())
        # few samples hold few concepts, whatever the list is
        if n_used <= ENOUGH_SAMPLES or n_found * FEW_FOUND >= len(table):
            continue
        missing = table.loc[~(table[f"n_{side}"] > 0), "concept"].head(3)
        phrases = [
            repr(phrase_text(concept.name))
            for concept in vocabulary
            if concept.name in set(missing)
        ]
        counted = f"only {n_found:,}" if n_found else "none"
        yield (
            f"Of {quantity(len(table), 'concept')} {counted} occur{'s' if n_found == 1 else ''} in "
            f"{n_used:,} {what}. Looked for: {', '.join(phrases)} … "
            + (
                _TEXT_CAUSES.format(column=_caption_column(reading))
                if side == "text"
                else _IMAGE_CAUSES
            )
        )


_TEXT_CAUSES = (
    "Likely causes: the list holds ids, file names or words of another language than the captions; "
    "the captions are in another column than {column!r} (--caption-column); the names are verbs "
    "or adjectives, which count with --pos any."
)
_IMAGE_CAUSES = (
    "Likely causes: the embeddings are of another model than --clip or --concept-vectors, or the "
    "vectors are in another order than the list; the threshold is too high (--threshold); the keys "
    "or names of --image-tags are written otherwise."
)


def _caption_column(reading: Mapping[str, str]) -> str:
    return reading.get("caption_column", "auto").removeprefix("auto: ")


def _misjoined(table: pd.DataFrame, account: Mapping[str, Json]) -> Iterator[str]:
    if not {"text", "image"} <= account.keys() or table["n_joint"].isna().all():
        return
    n = min(account[side]["n_used"] for side in ("text", "image"))
    numbers = _agreement(table, n)
    if numbers is None:
        return
    joint, chance, error, most = (numbers[k] for k in ("joint", "chance", "error", "most"))
    certain = n >= CERTAIN_SAMPLES
    near = joint - chance < max(_NEAR_SIGMAS * error, _NEAR_SHARE * (most - chance))
    if not certain:
        near = joint <= chance
    if most - chance <= (_SIGMAS if certain else _WEAK_SIGMAS) * error or not near:
        return
    sign = "Suspicious" if certain else f"A weak sign, of {quantity(n, 'sample')}"
    yield (
        f"{sign}: captions and images name the same concept {joint:,.0f} times, where chance alone "
        f"gives {chance:,.1f} and agreement {most:,.0f}. The keys or the order of the captions may "
        "not be those of the images: was one of the two filtered, sorted or shuffled without the "
        "other? Or the model may see nothing: is it untrained, or not the one that made the "
        "embeddings? Counts of images say nothing until that is settled."
    )


def _agreement(table: pd.DataFrame, n: int) -> dict[str, float] | None:
    """Joint counts as they are, by chance (with its standard error), and at most."""
    counts: dict[str, Any] = {
        side: table[f"n_{side}"].fillna(0).to_numpy(dtype=float)
        for side in ("text", "image", "joint")
    }
    if n < 2 or not counts["text"].sum() or not counts["image"].sum():
        return None
    text, image = (counts[side].clip(max=n) for side in ("text", "image"))
    chance = text * image / n
    # of a hypergeometric number: the samples that a concept's tags would share by chance
    variance = chance * (1 - text / n) * (1 - image / n) * n / (n - 1)
    return {
        "joint": float(counts["joint"].sum()),
        "chance": float(chance.sum()),
        "error": math.sqrt(float(variance.sum())),
        "most": float(pd.DataFrame({"t": text, "i": image}).min(axis=1).sum()),
    }


def _swallowed(account: Mapping[str, Json]) -> Iterator[str]:
    for reason, what in _SWALLOWED.items():
        n = max((side["noted"].get(reason, 0) for side in account.values()), default=0)
        if n:
            yield f"{quantity(n, 'record')} {what} ({reason} in *.drops.parquet)."
