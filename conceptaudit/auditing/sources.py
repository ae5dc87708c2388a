"""Opening what an audit reads: its dataset and its concept list."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import pandas as pd

from conceptaudit.auditing.drawn import DrawnDataset
from conceptaudit.datasets import open_dataset
from conceptaudit.datasets.base import Dataset
from conceptaudit.datasets.memory import captions_of
from conceptaudit.errors import ConfigError
from conceptaudit.options.audit import PAPER, AuditOptions
from conceptaudit.records import ConceptVocabulary
from conceptaudit.vocabulary import read_concepts

Source = str | Path | Dataset | pd.DataFrame | Iterable[str | None]
"""What can be audited: a location, a dataset that is open, captions in memory."""


def open_source(dataset: Source, options: AuditOptions) -> Dataset:
    """Open the dataset as the options say, or the part of it that they draw."""
    opened = _open(dataset, options)
    return opened if options.sample is None else DrawnDataset.draw(opened, options.sample)


def _open(dataset: Source, options: AuditOptions) -> Dataset:
    """Open a dataset; one that is open stays as it is."""
    if isinstance(dataset, pd.DataFrame | Iterable) and not isinstance(dataset, str):
        _refuse_file_options(dataset, options)
        return captions_of(
            dataset if isinstance(dataset, pd.DataFrame) else tuple(dataset),
            caption_column=options.caption_column,
            key_column=options.key_column,
            unit=options.unit,
            shard_rows=options.shard_rows,
        )
    if not isinstance(dataset, str | Path):
        return dataset
    return open_dataset(
        dataset,
        layout=options.layout,
        caption_column=options.caption_column,
        image_column=options.image_column,
        key_column=options.key_column,
        url_column=options.url_column,
        languages=options.languages,
        language_column=options.language_column,
        require_url=options.text_mode == PAPER,
        unit=options.unit,
        shard_rows=options.shard_rows,
    )


def _refuse_file_options(
    dataset: pd.DataFrame | Iterable[str | None], options: AuditOptions
) -> None:
    """Refuse what chooses rows or columns that captions in memory do not have."""
    unread = ["languages", "language_column", "url_column", "image_column"]
    if not isinstance(dataset, pd.DataFrame):
        unread += ["caption_column", "key_column"]
    given = next((name for name in unread if getattr(options, name)), None)
    if given is not None:
        raise ConfigError(
            f"The {given!r} parameter is for tables in files and would change nothing here: the "
            f"'dataset' parameter is captions in memory. Got {getattr(options, given)!r} instead; "
            "choose the rows before, or write them as parquet and give its path."
        )


def read_vocabulary(
    concepts: str | Path | Sequence[str] | ConceptVocabulary, dataset_key: str | None = None
) -> tuple[ConceptVocabulary, tuple[str, ...]]:
    """Take a vocabulary as it is, or read the list that the user named, with its notes."""
    if isinstance(concepts, ConceptVocabulary):
        return concepts, ()
    read = read_concepts(concepts, dataset_key=dataset_key)
    return read.vocabulary, read.notes
