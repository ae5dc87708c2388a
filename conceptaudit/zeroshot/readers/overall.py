"""Recognise results of other tools that hold no accuracy per class, and say so."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from conceptaudit.errors import DataError

_SIGNS: tuple[tuple[str, tuple[frozenset[str], ...]], ...] = (
    (
        "a CLIP_benchmark result",
        (frozenset({"dataset", "model", "metrics"}), frozenset({"model_fullname", "acc1"})),
    ),
    ("a DataComp eval_results.jsonl", (frozenset({"key", "dataset", "metrics"}),)),
    (
        "an open_clip results.jsonl",
        (
            frozenset({"imagenet-zeroshot-val-top1"}),
            frozenset({"epoch", "clip_val_loss"}),
            frozenset({"imagenetv2-zeroshot-val-top1"}),
        ),
    ),
)
"""Keys (or columns) that such a file has, from the tools' own source."""

_ORDER = ("a DataComp eval_results.jsonl", "a CLIP_benchmark result", "an open_clip results.jsonl")


def refuse_overall_results(path: Path, records: Iterable[Any]) -> None:
    """Raise if a file holds only overall accuracies.

    Parameters
    ----------
    path : Path
        For the message.
    records : iterable
        JSON objects, or lists of column names.

    Raises
    ------
    DataError
        It is such a file.
    """
    signs = dict(_SIGNS)
    for record in records:
        keys = set(record) if isinstance(record, dict | list) and _hashable(record) else set()
        if "concept" in keys:
            continue
        for tool in _ORDER:
            if any(sign <= keys for sign in signs[tool]):
                raise DataError(
                    f"{path} is {tool}: it holds overall accuracy, not accuracy per class, which "
                    "a curve needs. Evaluate the model class by class with conceptaudit, or give "
                    "a table with the columns model, dataset, concept, n_correct, n_images."
                )


def _hashable(record: dict[str, Any] | list[Any]) -> bool:
    return all(isinstance(key, str) for key in record)
