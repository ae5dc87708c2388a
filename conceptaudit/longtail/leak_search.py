"""One source of pretraining data against all candidates, in every way that it allows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from conceptaudit.datasets.base import Shard
from conceptaudit.datasets.identities import MD5, PHASH, SHA256, URL, is_url, plain_url
from conceptaudit.engine import EngineChoice, open_engine
from conceptaudit.errors import DataError
from conceptaudit.image.similarity_join import find_matches
from conceptaudit.image.vectors import reaches
from conceptaudit.longtail.leak_probes import (
    Hit,
    PictureProbe,
    Positions,
    Probed,
    TableProbe,
    positions,
)
from conceptaudit.longtail.pretraining import Pretraining
from conceptaudit.longtail.records import LEAK_EMBEDDING
from conceptaudit.options.longtail import LongTailOptions
from conceptaudit.progress import Progress
from conceptaudit.records import Float32Array


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
