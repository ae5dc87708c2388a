"""Test images that stand in the pretraining set: what a model was trained on is no test.

Only the candidates that are left after cleaning are compared, so every pretraining image is looked
at once and the work grows with the pretraining set alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from conceptaudit.artifacts import Json
from conceptaudit.datasets.base import EMBEDDING, IMAGE, Shard
from conceptaudit.datasets.identities import (
    DIGESTS,
    MD5,
    PHASH,
    SHA256,
    URL,
    is_url,
    plain_url,
)
from conceptaudit.display import quantity
from conceptaudit.engine import EngineChoice, open_engine
from conceptaudit.errors import DataError
from conceptaudit.image.similarity_join import find_matches
from conceptaudit.image.vectors import reaches
from conceptaudit.longtail.candidates import mark, remaining, vectors_of
from conceptaudit.longtail.leak_probes import (
    Hit,
    PictureProbe,
    Positions,
    Probed,
    TableProbe,
    positions,
)
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

# Which reason is told where an image leaks in several ways: the surest first.
CERTAINTY = (LEAK_PIXELS, LEAK_HASH, LEAK_URL, LEAK_PHASH, LEAK_ALTERED, LEAK_EMBEDDING)

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


def least_similarity(options: LongTailOptions) -> float:
    """Cosine similarity from which embeddings count as those of one image."""
    given = options.leak_similarity
    return options.embedding_similarity if given is None else given


def compare(
    candidates: pd.DataFrame,
    vectors: Float32Array,
    source: Pretraining,
    options: LongTailOptions,
    progress: Progress,
    workers: int | EngineChoice | None,
) -> Iterator[Probed]:
    """Compare the candidates with one source in every way that it allows."""
    similarity = least_similarity(options)
    if source.index is not None and similarity <= 1.0 and len(candidates):
        yield _by_index(vectors, source, similarity)
    if source.vectors is not None and similarity <= 1.0 and len(candidates):
        yield _by_embedding(vectors, source, similarity, progress)
    if source.pictures is not None and "sha256" in candidates:
        probe = PictureProbe.of(
            source.pictures,
            candidates,
            distance=options.phash_distance,
            skip_unreadable=options.skip_unreadable,
        )
        shards = source.pictures.shards()
        yield _run(probe, shards, progress, workers, f"leaks: {source.location}")
    if source.table is not None:
        hashes = candidates["phash"].tolist() if "phash" in candidates else []
        table = TableProbe(
            dataset=source.table,
            known={kind: _known(kind, candidates) for kind in source.kinds if kind != PHASH},
            hashes=hashes if PHASH in source.kinds else None,
            distance=options.phash_distance,
            skip_unreadable=options.skip_unreadable,
        )
        shards = source.table.shards()
        yield _run(table, shards, progress, workers, f"leaks: {source.location}")


def _run(
    probe: PictureProbe | TableProbe,
    shards: Sequence[Shard],
    progress: Progress,
    workers: int | EngineChoice | None,
    title: str,
) -> Probed:
    progress.start(title, len(shards), "shards")
    done: dict[str, Probed] = {}
    for shard, result in open_engine(workers, n_items=len(shards)).run(probe, shards):
        done[shard.name] = result
        progress.advance()
    progress.finish()
    return sum((done[shard.name] for shard in shards), Probed())


def _by_embedding(
    vectors: Float32Array, source: Pretraining, similarity: float, progress: Progress
) -> Probed:
    """Find each candidate's most similar pretraining image; every pair is compared."""
    best: dict[int, Hit] = {}
    n_compared = 0
    progress.start(f"leaks: {source.location}", None, "embeddings")
    if source.vectors is None:
        return Probed()
    for block in source.vectors.blocks():
        if block.vectors.shape[1] != vectors.shape[1]:
            raise DataError(
                f"The embeddings in {source.location} have dimension {block.vectors.shape[1]}, the "
                f"candidates' {vectors.shape[1]}: they come from different models. Embed the "
                "pretraining images with the model that finds the images here."
            )
        found = find_matches(vectors, block.vectors, similarity)
        for row, column, score in zip(
            found.rows.tolist(), found.columns.tolist(), found.scores.tolist(), strict=True
        ):
            if row not in best or best[row].distance > 1.0 - score:
                best[row] = _alike(row, block.keys[column], score)
        n_compared += len(block)
        progress.advance(len(block))
    progress.finish()
    n_unusable = sum(source.vectors.dropped.values())
    return Probed(hits=tuple(best.values()), n_compared=n_compared, n_unusable=n_unusable)


def _by_index(vectors: Float32Array, source: Pretraining, similarity: float) -> Probed:
    if source.index is None:
        return Probed()
    if source.index.dimension != vectors.shape[1]:
        raise DataError(
            f"The index in {source.location} holds vectors of dimension {source.index.dimension}, "
            f"the candidates have {vectors.shape[1]}: they come from different models."
        )
    found = source.index.search(vectors, 1)
    near = np.flatnonzero(reaches(found.scores[:, 0], similarity) & (found.sample_ids[:, 0] >= 0))
    keys = source.index.keys(found.sample_ids[near, 0].tolist())
    hits = tuple(
        _alike(row, keys[int(found.sample_ids[row, 0])], float(found.scores[row, 0]))
        for row in near.tolist()
    )
    return Probed(hits=hits, n_compared=len(source.index))


def _alike(candidate: int, key: str, score: float) -> Hit:
    return Hit(
        candidate=candidate,
        reason=LEAK_EMBEDDING,
        key=key,
        distance=1.0 - score,
        detail=f"similarity {score:.4f}",
    )


def _known(kind: str, candidates: pd.DataFrame) -> Positions:
    """Candidates, by position, by their address or digest."""
    if kind == URL:
        return positions(urls_of(candidates))
    name = {MD5: "md5", SHA256: "sha256"}[kind]
    return positions(candidates[name]) if name in candidates else {}


def urls_of(candidates: pd.DataFrame) -> list[str]:
    """Where images came from, folded by `plain_url`; empty where it is not known."""
    pairs = zip(candidates["url"], candidates["key"], strict=True)
    known = (url or (key if is_url(key) else "") for url, key in pairs)
    return [plain_url(url) if url else "" for url in known]
