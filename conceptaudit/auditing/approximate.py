"""An audit whose images are tagged through an index, and what that loses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from conceptaudit.artifacts import Json, ShardStore
from conceptaudit.auditing.options import AuditOptions
from conceptaudit.datasets.base import EMBEDDING, Dataset, Shard
from conceptaudit.errors import ConfigError, DataError
from conceptaudit.image.approximate import CHECKED, ApproximateTagger, approximate_tagger
from conceptaudit.image.index.store import open_index
from conceptaudit.image.stages import ImageTagger
from conceptaudit.records import ConceptFrequencies

RECALL = "n_image_index_recall"
"""Column: part of a concept's exact tags, on the checked images, that the index found."""

CHECKED_TAGS = "n_image_index_checked"
"""Column: exact tags of a concept on the checked images."""


def index_settings(options: AuditOptions, dataset: Dataset) -> list[Json]:
    """Return what the choice of an index adds to an audit's settings.

    Raises
    ------
    ConfigError
        The dataset has no embeddings.
    DataError
        There is no index where the options name one.
    """
    if options.approximate_index is None:
        return []
    if EMBEDDING not in dataset.provides:
        raise ConfigError(
            f"--approximate-index needs a dataset of embeddings, and {dataset.location} is "
            f"{dataset.layout}. Embed it with 'conceptaudit embed', build an index from that "
            "folder, and audit the folder."
        )
    return [{"approximate_index": open_index(options.approximate_index).manifest.get("digest")}]


def tagger_for(
    tagger: ImageTagger, options: AuditOptions, dataset: Dataset, shards: tuple[Shard, ...]
) -> ImageTagger | ApproximateTagger:
    """Return the exact tagger, or one that asks the index that the options name.

    Raises
    ------
    DataError
        The index is damaged.
    """
    if options.approximate_index is None:
        return tagger
    opened = open_index(options.approximate_index)
    damaged = opened.damage()  # reads all of it: a search through damage finds less, in silence
    if damaged:
        raise DataError(
            f"{damaged[0]} of the index in {opened.folder} has changed since it was written. Build "
            "the index again."
        )
    return approximate_tagger(tagger, opened, dataset, shards)


def with_index_recall(
    frequencies: ConceptFrequencies,
    options: AuditOptions,
    store: ShardStore | None,
    counted: Sequence[Shard],
) -> tuple[ConceptFrequencies, tuple[str, ...]]:
    """Put the measured recall of the index beside each concept's image count.

    Returns
    -------
    ConceptFrequencies
        With the columns ``n_image_index_checked`` and ``n_image_index_recall`` (NaN where no
        checked image shows the concept).
    tuple of str
        What the summary says.
    """
    if options.approximate_index is None or store is None:
        return frequencies, ()
    table = frequencies.table
    exact = np.zeros(len(table), dtype=np.int64)
    found = np.zeros_like(exact)
    for shard in counted:
        path = store.path(shard.name, CHECKED)
        if path.exists():
            part = pd.read_parquet(path)
            np.add.at(exact, part["concept_id"].to_numpy(), part["n_exact"].to_numpy())
            np.add.at(found, part["concept_id"].to_numpy(), part["n_found"].to_numpy())
    recall = np.divide(found, exact, out=np.full(len(exact), np.nan), where=exact > 0)
    total = int(exact.sum())
    name = Path(options.approximate_index).name
    overall = f"{found.sum() / total:.1%} of {total:,}" if total else "none of 0"
    worst = np.nanmin(recall) if total else np.nan
    note = (
        f"Images were tagged through the index {name!r}, which does not see every image: on those "
        f"that were checked exactly it found {overall} tags, and {worst:.0%} for the concept that "
        f"it serves worst. Image and joint counts are too low by as much; see {RECALL}."
    )
    more = table.assign(**{CHECKED_TAGS: exact, RECALL: recall})
    return replace(frequencies, table=more), (note,)
