"""The paper's published JSON results: per-class accuracies and per-concept retrieval recalls.

A file maps ``backbone{B}_pretrained{P}`` to ``{full, classwise}`` (per cent) or, for retrieval, to
``{full, conceptwise}`` (fractions). What was evaluated stands in the file's name only.

References
----------
bethgelab/frequency_determines_performance (MIT), ``zero_shot_evaluations`` and
``retrieval_evaluations``.
"""

import math
import re
from pathlib import Path
from typing import Any

import pandas as pd

from conceptaudit.display import quantity
from conceptaudit.errors import DataError
from conceptaudit.reading import is_text

_CLASSIFICATION = re.compile(
    r"(?P<dataset>[A-Za-z0-9-]+)_(?P<prompt>class|simple|ensemble)_results\.json"
)
_RETRIEVAL = re.compile(r"(?P<dataset>[A-Za-z0-9-]+)_(?P<task>i2t|t2i)_k=(?P<k>\d+)_results\.json")
_MODEL = re.compile(r"backbone(?P<model>.+)_pretrained(?P<pretraining>.+)")

KNOWN_NAMES = (
    "{dataset}_{class|simple|ensemble}_results.json and {dataset}_{i2t|t2i}_k={K}_results.json, "
    "the dataset in letters, digits and hyphens"
)

RENAMED = {("cifar10", "plane"): "airplane"}
"""Classes that the published results and the published counts call by different names."""


def is_paper_results(content: Any) -> bool:
    """Tell whether a JSON value has the shape of the paper's results."""
    return (
        isinstance(content, dict)
        and bool(content)
        and all(
            isinstance(value, dict) and ("classwise" in value or "conceptwise" in value)
            for value in content.values()
        )
    )


def read_paper_results(
    path: Path, content: dict[str, dict[str, Any]], dataset: str | None
) -> tuple[pd.DataFrame, list[str]]:
    """Turn a published result file into `ACCURACY_COLUMNS`, with notes.

    The file's name tells the dataset and the metric; `dataset` is needed where it does not.
    """
    retrieval = any("conceptwise" in value for value in content.values())
    evaluated, metric = _described(path, retrieval=retrieval, dataset=dataset)
    rows: list[tuple[str, str, str, float]] = []
    renamed: set[str] = set()
    unnamed = 0
    for key, value in content.items():
        if not is_text(key):
            raise DataError(f"{path}: the model {key!r} is no valid Unicode.")
        found = _MODEL.fullmatch(key)
        if found is None:
            raise DataError(
                f"{path}: models must be named backbone{{B}}_pretrained{{P}}. Got {key!r} instead."
            )
        scores = value.get("conceptwise" if retrieval else "classwise")
        if not isinstance(scores, dict):
            raise DataError(
                f"{path}, {key}: accuracies must be a mapping of concept to number. Got "
                f"{type(scores).__name__} instead."
            )
        for concept, score in scores.items():
            if not is_text(concept):
                raise DataError(f"{path}, {key}: the concept {concept!r} is no valid Unicode.")
            if not concept.strip():
                unnamed += 1
                continue
            name = RENAMED.get((evaluated, str(concept)), str(concept))
            if name != concept:
                renamed.add(f"{concept!r} as {name!r}")
            fraction = _fraction(path, key, concept, score, bound=1.0 if retrieval else 100.0)
            rows.append((found["model"], found["pretraining"], name, fraction))
    notes = [f"accuracies were read as {'fractions' if retrieval else 'per cent'}."]
    if renamed:
        notes.append(f"{', '.join(sorted(renamed))}, as in the published counts.")
    if unnamed:
        notes.append(f"Left out: {quantity(unnamed, 'value')} of a concept without a name.")
    table = pd.DataFrame(rows, columns=["model", "pretraining", "concept", "accuracy"])
    table = table.astype({"model": "str", "pretraining": "str", "concept": "str"})
    unknown = pd.Series(pd.NA, index=table.index, dtype="Int64")
    return (
        table.assign(dataset=evaluated, metric=metric, n_correct=unknown, n_images=unknown),
        notes,
    )


def _described(path: Path, *, retrieval: bool, dataset: str | None) -> tuple[str, str]:
    """Dataset and metric of a file, from its name."""
    found = (_RETRIEVAL if retrieval else _CLASSIFICATION).fullmatch(path.name)
    if found is None:
        if dataset is None:
            raise DataError(
                f"The name {path.name!r} does not tell which dataset was evaluated. Known names "
                f"are {KNOWN_NAMES}. Rename the file, or pass dataset='...'."
            )
        return dataset, "recall" if retrieval else "accuracy"
    if dataset is not None and dataset != found["dataset"]:
        raise DataError(
            f"The 'dataset' parameter must agree with the file name. {path.name} names "
            f"{found['dataset']!r}. Got {dataset!r} instead."
        )
    if retrieval:
        return found["dataset"], f"{found['task']}_recall@{found['k']}"
    return found["dataset"], f"accuracy_{found['prompt']}"


def _fraction(path: Path, model: str, concept: str, score: Any, *, bound: float) -> float:
    valid = isinstance(score, int | float) and not isinstance(score, bool)
    if not valid or not math.isfinite(score) or not 0.0 <= score <= bound * (1 + 1e-9):
        raise DataError(
            f"{path}, {model}: accuracies must lie in [0, {bound:g}]. Got {score!r} for concept "
            f"{concept!r} instead."
        )
    return min(float(score) / bound, 1.0)
