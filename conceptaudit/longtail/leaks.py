"""Test images that stand in the pretraining set: what a model was trained on is no test.

Only the candidates that are left after cleaning are compared, so every pretraining image is looked
at once and the work grows with the pretraining set alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pandas as pd

from conceptaudit.artifacts import Json
from conceptaudit.datasets.base import EMBEDDING, IMAGE
from conceptaudit.datasets.identities import DIGESTS, URL
from conceptaudit.display import quantity
from conceptaudit.engine import EngineChoice
from conceptaudit.longtail.candidates import mark, remaining, vectors_of
from conceptaudit.longtail.leak_probes import Hit
from conceptaudit.longtail.leak_search import compare, least_similarity, urls_of
from conceptaudit.longtail.pretraining import Pretraining
from conceptaudit.longtail.records import (
    LEAK_ALTERED,
    LEAK_EMBEDDING,
    LEAK_HASH,
    LEAK_PHASH,
    LEAK_PIXELS,
    LEAK_URL,
)
from conceptaudit.longtail.source import AuditSource
from conceptaudit.options.longtail import LongTailOptions
from conceptaudit.progress import Progress
from conceptaudit.records import Float32Array

CERTAINTY = (LEAK_PIXELS, LEAK_HASH, LEAK_URL, LEAK_PHASH, LEAK_ALTERED, LEAK_EMBEDDING)
"""Which reason is told where an image leaks in several ways: the surest first."""

NOT_CHECKED = (
    "The set was not checked for leaks: images that models were trained on may be in it. Name the "
    "pretraining data (images, embeddings, an index or a table of URLs) with --against{hint}."
)


def leak_hint(audit: AuditSource) -> str:
    """Say what an audit itself offers for a leak check."""
    if (audit.folder / "embeddings").is_dir():
        return "; the run folder of this audit will do, which holds the embeddings of its images"
    return f"; this audit read {audit.dataset}" if audit.dataset else ""


def find_leaks(
    table: pd.DataFrame,
    vectors: Float32Array,
    against: Sequence[Pretraining],
    options: LongTailOptions,
    *,
    progress: Progress,
    workers: int | EngineChoice | None = 1,
) -> tuple[list[Json], list[str]]:
    """Mark the candidates that pretraining data hold.

    `vectors` are those that the table's column ``vector`` points into. Returns by source what was
    compared, for ``manifest.json``, and the same for people, with what could not be compared.
    """
    candidates = remaining(table)
    own = vectors_of(candidates, vectors)
    found: dict[int, tuple[Hit, str]] = {}
    told: list[Json] = []
    notes: list[str] = []
    for source in against:
        probes = list(compare(candidates, own, source, options, progress, workers))
        hits = [hit for probed in probes for hit in probed.hits]
        for hit in sorted(hits, key=_surest):
            before = found.get(hit.candidate)
            if before is None or _surest(hit) < _surest(before[0]):
                found[hit.candidate] = (hit, source.location)
        n_compared = max((probed.n_compared for probed in probes), default=0)
        n_unusable = max((probed.n_unusable for probed in probes), default=0)
        leaked = {hit.candidate for hit in hits}
        told.append(
            {
                "against": source.location,
                "compared_by": list(source.compared),
                "n_compared": n_compared,
                "n_unusable": n_unusable,
                "n_leaks": len(leaked),
            }
        )
        if source.compared == (EMBEDDING,) and least_similarity(options) > 1.0:
            notes.append(f"{source.location} was not compared: --leak-similarity is above 1.")
        else:
            notes += _notes(source, candidates, n_compared, n_unusable, len(leaked))
        notes += [f"{source.location}: {why}" for probed in probes for why in probed.skipped]
    leaks = sorted(found.items())
    mark(
        table,
        candidates.index[[row for row, _ in leaks]],
        [hit.reason for _, (hit, _) in leaks],
        [_detail(hit, location) for _, (hit, location) in leaks],
    )
    return told, notes


def _surest(hit: Hit) -> tuple[int, float, str]:
    return (CERTAINTY.index(hit.reason), hit.distance, hit.key)


def _detail(hit: Hit, location: str) -> str:
    return f"{hit.key} of {location}{f', {hit.detail}' if hit.detail else ''}"


def _notes(
    source: Pretraining,
    candidates: pd.DataFrame,
    n_compared: int,
    n_unusable: int,
    n_leaks: int,
) -> Iterator[str]:
    by = ", ".join(source.compared)
    yield (
        f"Checked for leaks against {source.location}: {quantity(n_compared, 'image')} by {by}; "
        f"{n_leaks:,} of {quantity(len(candidates), 'candidate')} left out."
    )
    if source.index is not None:
        recall = source.index.manifest["recall"]
        yield (
            f"The index in {source.location} is approximate: it finds {recall['value']:.1%} of "
            f"{recall['k']} nearest images, so some leaks may be left. Name the embeddings "
            "themselves for an exact answer."
        )
    if source.compared == (EMBEDDING,):
        yield (
            f"{source.location} holds no images, so leaks were told by embedding alone: what the "
            "model cannot tell apart counts as one image. Name the images for pixels and hashes."
        )
    if n_unusable:
        yield (
            f"{quantity(n_unusable, 'image')} of {source.location} could not be used and were "
            "not compared."
        )
    if IMAGE in source.compared or set(source.kinds) & set(DIGESTS):
        blind = 0 if "sha256" in candidates else len(candidates)
        if blind:
            yield (
                f"{quantity(blind, 'candidate has', 'candidates have')} no image to compare "
                f"with {source.location}."
            )
    if URL in source.kinds:
        unknown = sum(not url for url in urls_of(candidates))
        if unknown:
            yield (
                f"The addresses of {unknown:,} of {quantity(len(candidates), 'candidate')} are "
                f"not known, so they could not be looked up in {source.location}."
            )
