"""Open a pool, and decide how candidates of the selected concepts are found in it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from conceptaudit.datasets import open_dataset
from conceptaudit.datasets.base import CAPTION, EMBEDDING, IMAGE, Dataset
from conceptaudit.errors import ArtifactMismatchError, ConfigError
from conceptaudit.image.clip import find_clip
from conceptaudit.longtail.embedding import EmbeddingSpace, find_space
from conceptaudit.longtail.examples import rank_vectors, read_examples
from conceptaudit.longtail.index_candidates import propose
from conceptaudit.longtail.pictures import PictureSet, open_pictures
from conceptaudit.longtail.pool import Pool
from conceptaudit.longtail.source import AuditSource
from conceptaudit.options.longtail import LongTailOptions

if TYPE_CHECKING:
    from conceptaudit.image.clip import ClipModel
    from conceptaudit.text.tagger import TextTagger

PICTURE_ROWS, VECTOR_ROWS = 1_024, 100_000
"""Rows per shard of pools that can be cut."""


def open_pool(location: str | Path, layout: str) -> Dataset:
    """Open a pool, cut so that a stopped run loses minutes: images take longer than vectors."""
    pool = open_dataset(location, layout=layout, shard_rows=VECTOR_ROWS)
    if IMAGE not in pool.provides:
        return pool
    return open_dataset(location, layout=layout, shard_rows=PICTURE_ROWS)


def make_pool(
    dataset: Dataset,
    audit: AuditSource,
    concepts: tuple[str, ...],
    options: LongTailOptions,
    clip: ClipModel | None = None,
) -> Pool:
    """Decide how candidates of the selected concepts are found in a dataset."""
    positions = {name: i for i, name in enumerate(audit.vocabulary.names)}
    ids = [positions[name] for name in concepts]
    space = find_space(audit, dataset, options, clip)
    shards = dataset.shards()
    ranked_by = np.ascontiguousarray(space.concepts[ids])
    examples = None
    if options.examples is not None:
        examples = read_examples(options.examples, concepts, audit.vocabulary.names)
        model = clip or space.clip or _example_model(audit, options)
        known = space.identity and not space.identity.startswith("file:")
        if known and model.digest != space.identity:
            raise ArtifactMismatchError(
                f"The weights of {model.name} are not those that made the concepts' vectors, so "
                "examples embedded with it mean nothing among them. Name the right model with "
                "--clip."
            )
        ranked_by = rank_vectors(ranked_by, examples, model, options.rank)
    proposals = None
    if options.index is not None:
        proposals = propose(options.index, dataset, shards, ranked_by, options.n_candidates)
    return Pool(
        dataset=dataset,
        shards=shards,
        space=space,
        ids=tuple(ids),
        ranked_by=ranked_by,
        options=options,
        examples=examples,
        pictures=_pictures(dataset, space, options),
        proposals=proposals,
        tagger=_tagger(dataset, audit, options),
    )


def _pictures(
    dataset: Dataset, space: EmbeddingSpace, options: LongTailOptions
) -> PictureSet | None:
    if options.pictures is None:
        return None
    if space.part != EMBEDDING:
        raise ConfigError(
            f"--pictures is for a pool of embeddings; {dataset.location} ({dataset.layout}) holds "
            "its images itself. Leave it out."
        )
    return open_pictures(str(options.pictures))


def _example_model(audit: AuditSource, options: LongTailOptions) -> ClipModel:
    name = options.clip or audit.clip
    if name is None:
        raise ConfigError(
            "Examples must be embedded with the model that made the pool's embeddings. Name it "
            "with --clip, for instance ViT-B-32/laion2b_s34b_b79k."
        )
    return find_clip(name, device=options.device)


def _tagger(dataset: Dataset, audit: AuditSource, options: LongTailOptions) -> TextTagger | None:
    if CAPTION not in dataset.provides:
        if options.require_text:
            raise ConfigError(
                f"--require-text needs captions, and the pool {dataset.location} has none. "
                "Leave it out, or name a pool with captions."
            )
        return None
    from conceptaudit.text.pipeline import find_pipeline
    from conceptaudit.text.tagger import TextTagger

    pipeline = find_pipeline(options.spacy_model)
    return TextTagger(vocabulary=audit.vocabulary, pipeline=pipeline, evidence=0)
