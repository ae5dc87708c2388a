"""Scale of models, for a curve's covariate: from open_clip's table, or a column of one's own."""

import logging
import re
from collections.abc import Iterable, Sequence

from conceptaudit.errors import ConfigError, DataError
from conceptaudit.zeroshot.readers.accuracies import accuracy_files
from conceptaudit.zeroshot.readers.tidy import TABLE_SUFFIXES, columns_of, read_table

PARAMETERS, SAMPLES_SEEN = "parameters", "samples_seen"
"""Covariates that need no column."""

_SEEN = re.compile(r"_s(\d+)([bm])(?:_|$)")
_UNITS = {"m": 1e6, "b": 1e9}


def model_scales(
    covariate: str, models: Iterable[tuple[str, str]], files: Sequence[str] = ()
) -> dict[tuple[str, str], float]:
    """Return the scale of models, by model and pretraining.

    >>> model_scales("samples_seen", [("ViT-L-14", "laion2b_s32b_b82k")])
    {('ViT-L-14', 'laion2b_s32b_b82k'): 32000000000.0}
    """
    given = _from_tables(covariate, files)
    if given:
        return given
    if covariate == SAMPLES_SEEN:
        return {(model, tag): _samples_seen(model, tag) for model, tag in models}
    if covariate == PARAMETERS:
        return {(model, tag): _parameters(model) for model, tag in models}
    raise ConfigError(
        f"--covariate must be 'parameters', 'samples_seen' or a column of the accuracy tables. "
        f"Got {covariate!r} instead."
    )


def _from_tables(column: str, files: Sequence[str]) -> dict[tuple[str, str], float]:
    found: dict[tuple[str, str], float] = {}
    for file in accuracy_files(files) if files else []:
        if file.suffix.lower() not in TABLE_SUFFIXES:
            continue
        table = read_table(file)
        if column not in table:
            continue
        names = columns_of(table)
        keys = [names.get(key) for key in ("model", "pretraining")]
        chosen = [name for name in (*keys, column) if name is not None]
        for row in table[chosen].drop_duplicates().to_dict("records"):
            model, tag = (str(row[name]) if name is not None else "" for name in keys)
            try:
                value = float(row[column])
            except (TypeError, ValueError):
                raise DataError(
                    f"{file}: {column} must be a number. Got {row[column]!r} for {model!r} instead."
                ) from None
            if found.setdefault((model, tag), value) != value:
                raise DataError(
                    f"{file}: a model must have one {column}. Got {found[model, tag]:g} and "
                    f"{value:g} for {model!r}."
                )
    return found


def _samples_seen(model: str, tag: str) -> float:
    match = _SEEN.search(tag)
    if match is None:
        raise ConfigError(
            f"The samples seen by {model!r} cannot be read from its pretraining {tag!r}, as from "
            "laion2b_s34b_b88k. Add a column to the accuracies and name it with --covariate."
        )
    return float(match[1]) * _UNITS[match[2]]


def _parameters(model: str) -> float:
    """Count the parameters of an architecture without making them."""
    import open_clip
    import torch

    known = {str(name).lower().replace("/", "-"): str(name) for name in open_clip.list_models()}
    name = known.get(model.lower().replace("/", "-"))
    if name is None:
        raise ConfigError(
            f"open_clip has no model {model!r}, whose size --covariate parameters needs. Add a "
            "column to the accuracies and name it with --covariate."
        )
    level = logging.root.level
    logging.root.setLevel(logging.ERROR)  # open_clip warns that there are no weights
    try:
        with torch.device("meta"):
            built = open_clip.create_model(name, pretrained=None, device="meta")
    finally:
        logging.root.setLevel(level)
    return float(sum(one.numel() for one in built.parameters()))
