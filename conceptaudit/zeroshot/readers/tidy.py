"""Tables with a row per model, dataset and concept: ours, or anybody's with the same columns."""

from collections.abc import Hashable
from pathlib import Path

import numpy as np
import pandas as pd

from conceptaudit.display import quantity
from conceptaudit.errors import DataError
from conceptaudit.reading import exact_texts, read_parquet

TABLE_SUFFIXES = (".csv", ".tsv", ".parquet")

ALIASES = {
    "model": ("model", "backbone", "architecture", "arch"),
    "pretraining": ("pretraining", "pretrained", "pretraining_dataset", "pretrain"),
    "dataset": ("dataset", "evaluation_set", "eval_set", "benchmark"),
    "concept": ("concept", "class", "classname", "class_name", "label", "category"),
    "n_correct": ("n_correct", "correct", "num_correct", "hits"),
    "n_images": ("n_images", "images", "n_total", "total", "num_images", "support"),
    "accuracy": ("accuracy", "acc", "acc1", "top1", "score"),
    "metric": ("metric",),
    "class_id": ("class_index", "class_idx", "index", "wnid", "synset"),
}
"""Names under which each column is found, whatever their case; the first is ours."""

ROUNDING = 0.006
"""How far a stated accuracy may be from n_correct / n_images: two decimals, rounded."""


def read_table(path: Path) -> pd.DataFrame:
    """Read a CSV, TSV or parquet file; names such as ``NA`` and ``null`` stay text."""
    try:
        if path.suffix.lower() == ".parquet":
            table = read_parquet(path)
        else:
            separator = "\t" if path.suffix.lower() == ".tsv" else ","
            table = exact_texts(
                pd.read_csv(
                    path, sep=separator, dtype="str", keep_default_na=False, encoding="utf-8-sig"
                )
            )
    except (OSError, ValueError, ImportError) as error:
        raise DataError(f"Cannot read {path} as a table: {error}.") from error
    if table.empty:
        raise DataError(f"{path} has no rows.")
    return table


def tidy_accuracies(
    path: Path,
    table: pd.DataFrame,
    dataset: str | None,
    model: str | None,
    *,
    percent: bool | None,
) -> tuple[pd.DataFrame, list[str]]:
    """Turn a table of `read_table` into `ACCURACY_COLUMNS`, checked row by row, with notes.

    `dataset` and `model` are values for tables without these columns; `percent` as `as_fractions`
    takes it.
    """
    columns = _named_columns(path, table)
    concept = _text(columns, "concept", None, path)
    result = pd.DataFrame(
        {
            "model": _text(columns, "model", model, path),
            "pretraining": _text(columns, "pretraining", "", path),
            "dataset": _dataset(columns, dataset, path),
            "concept": concept,
            "metric": _text(columns, "metric", "accuracy", path),
        }
    )
    notes: list[str] = []
    stated = _numbers(columns, "accuracy", path) if "accuracy" in columns else None
    if stated is not None:
        stated, remark = as_fractions(path, stated, concept, percent=percent)
        notes.append(remark)
    if {"n_correct", "n_images"} <= columns.keys():
        counted = _counted(path, columns, concept)
        if stated is not None:
            _compare(path, stated, counted["accuracy"], concept)
        return _pool_namesakes(pd.concat([result, counted], axis=1), columns, notes)
    if stated is None:
        raise DataError(
            f"{path} must have the columns n_correct and n_images, or accuracy. It has "
            f"{list(table.columns)}."
        )
    unknown = pd.Series(pd.NA, index=result.index, dtype="Int64")
    images = _numbers(columns, "n_images", path).round() if "n_images" in columns else unknown
    result = result.assign(
        n_correct=unknown, n_images=images.astype("Int64"), accuracy=stated.astype("float64")
    )
    return _pool_namesakes(result, columns, notes)


def _pool_namesakes(
    table: pd.DataFrame, columns: dict[str, "pd.Series[str]"], notes: list[str]
) -> tuple[pd.DataFrame, list[str]]:
    """Make one row of classes that share a name, such as ImageNet's two cranes."""
    key = ["model", "pretraining", "dataset", "concept", "metric"]
    if "class_id" not in columns or not table.duplicated(key).any():
        return table, notes
    ids = columns["class_id"].astype("str")
    if table.assign(class_id=ids).duplicated([*key, "class_id"]).any():
        return table, notes  # the same class twice: whoever joins the files refuses it
    shared = sorted(table.loc[table.duplicated(key), "concept"].unique())
    groups = table.groupby(key, sort=False)
    pooled = groups[["n_correct", "n_images"]].sum(min_count=1).astype("Int64")
    share = (pooled["n_correct"] / pooled["n_images"]).astype("Float64")
    pooled["accuracy"] = share.fillna(groups["accuracy"].mean()).astype("float64")
    notes.append(
        f"{quantity(len(shared), 'name is', 'names are')} of several classes "
        f"({', '.join(shared[:3])}{' …' if len(shared) > 3 else ''}), whose results were put "
        "together: a frequency is of the name."
    )
    return pooled.reset_index()[table.columns.tolist()], notes


def columns_of(table: pd.DataFrame) -> dict[str, Hashable]:
    """Find the table's column for each of `ALIASES`."""
    folded = {str(name).strip().casefold(): name for name in table.columns}
    found = {
        name: next((folded[alias] for alias in aliases if alias in folded), None)
        for name, aliases in ALIASES.items()
    }
    return {name: column for name, column in found.items() if column is not None}


def _named_columns(path: Path, table: pd.DataFrame) -> dict[str, "pd.Series[str]"]:
    """Map our column names to the table's columns."""
    found = {
        name: table[column].reset_index(drop=True) for name, column in columns_of(table).items()
    }
    if "concept" not in found:
        raise DataError(
            f"{path} must have a 'concept' column ({', '.join(ALIASES['concept'])}). It has "
            f"{list(table.columns)}."
        )
    return found


def _text(
    columns: dict[str, "pd.Series[str]"], name: str, default: str | None, path: Path
) -> "pd.Series[str]":
    if name not in columns:
        if default is None:
            raise DataError(
                f"{path} has no '{name}' column. Add one, or say it with {name}='...' where one "
                "value holds for the whole file."
            )
        return pd.Series(default, index=columns["concept"].index, dtype="str")
    values = columns[name]
    empty = values.isna() | (values.astype("str").str.strip() == "")
    if name in {"concept", "model"} and bool(empty.any()):
        raise DataError(f"{path}, row {_first(empty)}: the {name} is empty.")
    return values.where(~empty, "").astype("str")


def _dataset(
    columns: dict[str, "pd.Series[str]"], dataset: str | None, path: Path
) -> "pd.Series[str]":
    values = _text(columns, "dataset", dataset, path)
    named = set(values) - {""}
    if dataset is not None and named - {dataset}:
        raise DataError(
            f"The 'dataset' parameter must agree with the file. {path} names "
            f"{sorted(named)[:5]}. Got {dataset!r} instead."
        )
    return values.where(values != "", dataset or "")


def _numbers(columns: dict[str, "pd.Series[str]"], name: str, path: Path) -> "pd.Series[float]":
    """Read a column of numbers; a missing or unreadable one is an error that names its row."""
    values = pd.to_numeric(columns[name], errors="coerce").astype("Float64").astype("float64")
    bad = ~values.between(-np.inf, np.inf, inclusive="neither")
    if bool(bad.any()):
        row = _first(bad)
        raise DataError(
            f"{path}, row {row}: {name} must be a number. Got {columns[name].iloc[row - 1]!r} for "
            f"concept {columns['concept'].iloc[row - 1]!r} instead. Remove the row if the concept "
            "was not evaluated."
        )
    return values


def _counted(
    path: Path, columns: dict[str, "pd.Series[str]"], concept: "pd.Series[str]"
) -> pd.DataFrame:
    correct, images = _numbers(columns, "n_correct", path), _numbers(columns, "n_images", path)
    checks = (
        ((correct % 1 != 0) | (images % 1 != 0), "n_correct and n_images must be whole numbers"),
        (images <= 0, "n_images must be at least 1"),
        (images >= 1 << 53, "n_images must be a number that can be counted"),
        ((correct < 0) | (correct > images), "n_correct must lie between 0 and n_images"),
    )
    for bad, rule in checks:
        if bool(bad.any()):
            row = _first(bad)
            raise DataError(
                f"{path}, row {row}: {rule}. Got n_correct = {correct.iloc[row - 1]:g} and "
                f"n_images = {images.iloc[row - 1]:g} for concept {concept.iloc[row - 1]!r} "
                "instead."
            )
    return pd.DataFrame(
        {
            "n_correct": correct.astype("Int64"),
            "n_images": images.astype("Int64"),
            "accuracy": correct / images,
        }
    )


def _compare(
    path: Path,
    stated: "pd.Series[float]",
    counted: "pd.Series[float]",
    concept: "pd.Series[str]",
) -> None:
    apart = (stated - counted).abs() > ROUNDING
    if bool(apart.any()):
        row = _first(apart)
        raise DataError(
            f"{path}, row {row}: accuracy {stated.iloc[row - 1]:g} of concept "
            f"{concept.iloc[row - 1]!r} is not n_correct / n_images = {counted.iloc[row - 1]:g}. "
            "Remove the column that is wrong."
        )


def _first(flags: "pd.Series[bool]") -> int:
    """Position of the first marked row, counted from 1 without the header."""
    return int(np.flatnonzero(flags.to_numpy(dtype=bool))[0]) + 1


WITHIN_ROUNDING = 1e-9
"""A computed fraction or percentage may exceed its bound by this much."""


def as_fractions(
    path: Path,
    values: "pd.Series[float]",
    concept: "pd.Series[str]",
    *,
    percent: bool | None,
) -> tuple["pd.Series[float]", str]:
    """Bring the accuracies of one file, shape (n,), to [0, 1], and say what was decided.

    Where `percent` is None, any value above 1 means per cent, unless most values lie strictly
    between 0 and 1, which percentages of whole images hardly do.
    """
    highest = float(values.max())
    bound = 1.0 if percent is False else 100.0
    outside = (values < 0) | (values > bound * (1 + WITHIN_ROUNDING))
    if bool(outside.any()):
        row = _first(outside)
        raise DataError(
            f"{path}, row {row}: accuracies must lie in [0, 1], or in [0, 100] as per cent. "
            f"Got {values.iloc[row - 1]:g} for concept {concept.iloc[row - 1]!r} instead."
        )
    inside = int(((values > 0) & (values < 1)).sum())
    if percent is None and highest > 1 and inside > len(values) / 2:
        raise DataError(
            f"{path} mixes fractions and per cent, or it cannot be told which they are: "
            f"{inside:,} of {quantity(len(values), 'accuracy')} lie between 0 and 1, but the "
            f"highest is {highest:g} (concept {concept.iloc[int(values.to_numpy().argmax())]!r}). "
            "Correct it, or say which with percent=True or percent=False."
        )
    if percent or (percent is None and highest > 1):
        return (values / 100.0).clip(0.0, 1.0), "accuracies were read as per cent."
    return values.clip(0.0, 1.0), "accuracies were read as fractions."
