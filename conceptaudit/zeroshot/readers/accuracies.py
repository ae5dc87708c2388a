"""Read per-concept accuracies from files, folders or globs, whatever the format of each file."""

import glob
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from conceptaudit.display import quantity
from conceptaudit.errors import ConfigError, DataError
from conceptaudit.records import ACCURACY_COLUMNS, ConceptAccuracies
from conceptaudit.store.checking import check_written
from conceptaudit.zeroshot.readers.paper import is_paper_results, read_paper_results
from conceptaudit.zeroshot.readers.tidy import TABLE_SUFFIXES, read_table, tidy_accuracies

OUR_FILES = ("accuracies.parquet", "accuracies.csv")
"""What an evaluation of ours leaves in its folder; the first that exists is read."""

RESULT_SUFFIXES = (*TABLE_SUFFIXES, ".json", ".jsonl")


def read_accuracies(
    paths: str | Path | Sequence[str | Path],
    *,
    dataset: str | None = None,
    model: str | None = None,
    percent: str | bool = "auto",
) -> ConceptAccuracies:
    r"""Read per-concept accuracies.

    Parameters
    ----------
    paths : path or sequence of paths
        Files, folders or globs. A table (CSV, TSV or parquet) has a row per model, dataset and
        concept with ``n_correct, n_images`` or ``accuracy``; the paper's
        ``{dataset}_{prompt}_results.json`` and ``{dataset}_{i2t|t2i}_k={K}_results.json`` are
        read as published, the prompt or the task becoming the metric (``accuracy_ensemble``,
        ``i2t_recall@1``).
    dataset : str, optional
        Evaluation set of files that do not name one. It must not contradict a file that does.
    model : str, optional
        Model of tables without a model column; from other files, the only model to keep.
    percent : {"auto", True, False}
        Whether accuracies in tables are per cent. ``"auto"`` takes a file with any value above
        1 as per cent and refuses one where most values could be either.

    Returns
    -------
    ConceptAccuracies
        Accuracies in [0, 1]; the notes say what was decided for which file.

    Raises
    ------
    ConfigError
        `percent` has no such value.
    DataError
        A file is missing, damaged, ambiguous or holds no per-concept accuracy; or two files
        hold the same result.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "pets.csv"
    >>> _ = path.write_text("model,concept,n_correct,n_images\nRN50,dog,9,10\n")
    >>> read_accuracies(path, dataset="pets").table[["dataset", "accuracy"]].values.tolist()
    [['pets', 0.9]]
    """
    if percent not in {"auto", True, False}:
        raise ConfigError(
            "The 'percent' parameter of read_accuracies must be 'auto', True or False. "
            f"Got {percent!r} instead."
        )
    stated = None if percent == "auto" else bool(percent)
    tables: list[pd.DataFrame] = []
    notes: dict[str, list[str]] = {}
    for file in accuracy_files(paths):
        table, remarks = _read_file(file, dataset, model, percent=stated)
        tables.append(table.assign(file=str(file)))
        for remark in remarks:
            notes.setdefault(remark, []).append(file.name)
    merged = pd.concat(tables, ignore_index=True)
    if model is not None:
        merged = merged[merged["model"] == model]
    if merged.empty:
        known = sorted({str(name) for table in tables for name in table["model"]})
        raise DataError(f"The files hold no accuracy of the model {model!r}. They hold {known}.")
    _refuse_repeats(merged)
    return ConceptAccuracies(
        merged[list(ACCURACY_COLUMNS)].reset_index(drop=True),
        tuple(f"{_some(names)}: {remark}" for remark, names in notes.items()),
    )


def _some(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1:,} more"


def accuracy_files(paths: str | Path | Sequence[str | Path]) -> list[Path]:
    """List the files behind the paths, each once, in the order given and sorted within."""
    listed = [paths] if isinstance(paths, str | Path) else list(paths)
    files: list[Path] = []
    for item in listed:
        path = Path(item)
        if path.is_dir():
            found = _in_folder(path)
        elif path.exists():
            found = [path]
        else:
            found = [Path(name) for name in sorted(glob.glob(str(item)))]  # noqa: PTH207
        if not found:
            raise DataError(
                f"There is no accuracy file at {item}. Name a {', '.join(RESULT_SUFFIXES)} file, "
                "a folder of them or a glob."
            )
        files.extend(found)
    if not files:
        raise DataError("No accuracy files were named.")
    return list(dict.fromkeys(files))


def _in_folder(folder: Path) -> list[Path]:
    for name in OUR_FILES:
        if (folder / name).is_file():
            return [folder / name]
    files = sorted(p for p in folder.iterdir() if p.suffix.lower() in RESULT_SUFFIXES)
    published = [path for path in files if path.name.endswith("_results.json")]
    return published or files


def _read_file(
    path: Path, dataset: str | None, model: str | None, *, percent: bool | None
) -> tuple[pd.DataFrame, list[str]]:
    check_written(path)
    suffix = path.suffix.lower()
    if suffix in TABLE_SUFFIXES:
        table = read_table(path)
        refuse_overall_results(path, [list(table.columns)])
        return tidy_accuracies(path, table, dataset, model, percent=percent)
    if suffix == ".jsonl":
        refuse_overall_results(path, _json_lines(path))
    elif suffix == ".json":
        content = _json(path)
        if is_paper_results(content):
            return read_paper_results(path, content, dataset)
        refuse_overall_results(path, content if isinstance(content, list) else [content])
    raise DataError(
        f"{path} holds no per-concept accuracies that this program knows. Give a table with the "
        "columns model, dataset, concept and n_correct, n_images or accuracy; or the paper's "
        "{dataset}_{prompt}_results.json."
    )


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"Cannot read {path} as JSON: {error}.") from error


def _json_lines(path: Path) -> list[Any]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        return [json.loads(line) for line in lines if line.strip()]
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"Cannot read {path} as JSON lines: {error}.") from error


def _refuse_repeats(table: pd.DataFrame) -> None:
    key = ["model", "pretraining", "dataset", "concept", "metric"]
    repeated = table.duplicated(key)
    if not bool(repeated.any()):
        return
    row = table[repeated].iloc[0]
    files = table.loc[(table[key] == row[key]).all(axis=1), "file"].unique().tolist()
    raise DataError(
        "Each concept must have one accuracy per model, pretraining, dataset and metric. Got "
        f"{row['concept']!r} of {row['dataset']!r} more than once for model {row['model']!r} "
        f"(in {', '.join(map(str, files))}; {quantity(int(repeated.sum()), 'repeated row')})."
    )


_TOOLS = {
    "a DataComp eval_results.jsonl": ({"key", "dataset", "metrics"},),
    "a CLIP_benchmark result": ({"dataset", "model", "metrics"}, {"model_fullname", "acc1"}),
    "an open_clip results.jsonl": (
        {"imagenet-zeroshot-val-top1"},
        {"epoch", "clip_val_loss"},
        {"imagenetv2-zeroshot-val-top1"},
    ),
}
"""Keys (or columns) that files of overall accuracies have, from the tools' own source."""


def refuse_overall_results(path: Path, records: Iterable[Any]) -> None:
    """Raise if JSON objects, or lists of column names, are of a file of overall accuracies."""
    for record in records:
        named = isinstance(record, dict | list) and all(isinstance(key, str) for key in record)
        keys = set(record) if named else set()
        if "concept" in keys:
            continue
        for tool, signs in _TOOLS.items():
            if any(sign <= keys for sign in signs):
                raise DataError(
                    f"{path} is {tool}: it holds overall accuracy, not accuracy per class, which "
                    "a curve needs. Evaluate the model class by class with conceptaudit, or give "
                    "a table with the columns model, dataset, concept, n_correct, n_images."
                )
