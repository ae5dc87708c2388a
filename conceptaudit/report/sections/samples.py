"""Images with their captions: contact sheets by frequency, agreeing and misaligned pairs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from conceptaudit.counts import Rarest, rarest
from conceptaudit.report.inputs import RunRecord
from conceptaudit.report.pictures import Seen
from conceptaudit.report.samples import PER_CONCEPT, Choice, Shown
from conceptaudit.report.templating import Section

PER_BAND = 4
"""Concepts shown from the head, the middle and the tail."""

BANDS = (
    "Head: the most frequent concepts",
    "Middle: concepts in the middle of the ranking",
    "Tail: the rarest concepts that occur at all",
)

NO_DATASET = (
    "There are no {what} here because the dataset was not given; "
    "`conceptaudit report … --dataset DATASET` adds them."
)


def bands(run: RunRecord) -> tuple[tuple[int, ...], ...]:
    """Choose the concepts (by id) of head, middle and tail among those that occur, none twice."""
    head, between, tail = _ranking(run)
    start = max(0, (len(between) - PER_BAND) // 2)
    return (tuple(head), tuple(between[start : start + PER_BAND]), tail.rows)


def _ranking(run: RunRecord) -> tuple[list[int], list[int], Rarest]:
    """Split the concepts that occur: the most frequent, those between, and the rarest."""
    counts = np.array(run.table[run.strictest], dtype=np.int64)
    order = np.lexsort((np.arange(len(counts)), -counts))
    occurring = order[counts[order] > 0].tolist()
    head = occurring[:PER_BAND]
    counts[np.array(head, dtype=np.intp)] = 0
    tail = rarest(counts, run.table["concept"].astype("str").tolist(), PER_BAND)
    return head, [row for row in occurring[PER_BAND:] if row not in tail.rows], tail


def contact_section(
    run: RunRecord, choice: Choice, seen: Mapping[int, Seen] | None, n_refused: int
) -> Section:
    """Build the contact sheets."""
    heading: dict[str, Any] = {"title": "What the concepts look like", "short": "Samples"}
    if seen is None:
        why = NO_DATASET.format(what="sample images")
        return Section(identifier="samples", missing=why, **heading)
    tail = _ranking(run)[2]
    ties = ""
    if tail.n_tied > len(tail.rows):
        ties = f" (a sample of {tail.n_tied:,} with equal counts)"
    titles = (*BANDS[:2], f"{BANDS[2]}{ties}")
    groups = [
        (title, [_concept(run, one, choice.by_concept.get(one, []), seen) for one in members])
        for title, members in zip(titles, bands(run), strict=True)
        if members
    ]
    return Section(
        identifier="samples",
        **heading,
        values={
            "run": run,
            "groups": groups,
            "pictured": any(one.picture for one in seen.values()),
            "n_refused": n_refused,
        },
    )


def _concept(
    run: RunRecord, concept: int, samples: Sequence[Shown], seen: Mapping[int, Seen]
) -> dict[str, Any]:
    looks = _distinct([seen[one.sample_id] for one in samples if one.sample_id in seen])
    return {
        "name": run.concepts[concept],
        "n": int(run.table[run.strictest].iloc[concept]),
        "samples": looks,
        "span": min(max(len(looks), 1), PER_CONCEPT),
    }


def _distinct(looks: Sequence[Seen]) -> list[Seen]:
    """Show an image once, with all its captions: copies under other keys look the same."""
    captions: dict[str, list[str]] = {}
    for look in looks:
        if look.picture:
            captions.setdefault(look.picture, []).extend([look.caption] if look.caption else [])
    images = [
        Seen(caption=" / ".join(dict.fromkeys(texts)) or None, picture=picture)
        for picture, texts in captions.items()
    ]
    return [*images, *(look for look in looks if not look.picture)]


def pairs_section(run: RunRecord, choice: Choice, seen: Mapping[int, Seen] | None) -> Section:
    """Build the agreeing and the misaligned pairs."""
    why = ""
    if run.alignment.get("n_misaligned") is None:
        why = "This audit counted one side only, so captions and images cannot be compared."
    elif seen is None:
        why = NO_DATASET.format(what="pairs")
    return Section(
        identifier="agreement",
        title="Where caption and image agree, and where not",
        short="Agreement",
        missing=why,
        values={
            "run": run,
            "agreeing": _pairs(choice.agreeing, seen or {}),
            "misaligned": _pairs(choice.misaligned, seen or {}),
        },
    )


def _pairs(samples: Iterable[Shown], seen: Mapping[int, Seen]) -> list[dict[str, Any]]:
    """Lay pairs out: concept ids of both sides, best first, and those they have in common."""
    pairs = []
    for one in samples:
        if one.sample_id in seen:
            text, image = ([concept for concept, _ in side] for side in (one.text, one.image))
            common = set(text) & set(image)
            look = seen[one.sample_id]
            pairs.append(
                {"key": one.key, "look": look, "text": text, "image": image, "common": common}
            )
    return pairs
