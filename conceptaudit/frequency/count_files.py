"""Read published count files, which say only in their names what they hold.

The paper has one JSON file per evaluation set, pretraining set and kind of search,
``{dataset}_{pretraining}_{search}_search_counts.json``; NeglectedTails and SWAT one per evaluation
and pretraining set, ``{dataset}_metrics-{PRETRAINING}.json``, with the hits of a class by any name.
"""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from conceptaudit.errors import ConfigError, DataError
from conceptaudit.reading import is_text
from conceptaudit.records import FREQUENCY_COLUMNS, ConceptFrequencies

PATTERNS = ("*_search_counts.json", "*_metrics-*.json")

# The search behind the paper's main figures, taken where the files hold several of a kind.
HEADLINE = {
    "n_text": "lemmatized",
    "n_image": "rampp0.7",
    "n_joint": "integrated_tlemmatized_i0.7",
}

_COUNTS_NAME = re.compile(
    r"(?P<dataset>[A-Za-z0-9-]+)_(?P<pretraining>[A-Za-z0-9_-]+?)_"
    r"(?P<search>lemmatized|lowercased|rampp0\.\d+|integrated_tlemmatized_i0\.\d+)"
    r"_search_counts\.json"
)

_METRICS_NAME = re.compile(
    r"(?:neglected_tails_|swat_)?(?P<dataset>[A-Za-z0-9_-]+?)_metrics-(?P<pretraining>[A-Za-z0-9-]+)\.json"
)

# Of a class in NeglectedTails' files: hits of all its names, hits judged relevant, their share.
METRICS_FIELDS = ("actual_freq", "relevant_total", "llama_relevance_ratio")

KNOWN_NAMES = (
    "{dataset}_{pretraining}_{lemmatized|lowercased|rampp0.N|integrated_tlemmatized_i0.N}"
    "_search_counts.json or {dataset}_metrics-{PRETRAINING}.json"
)


def from_count_files(
    files: Sequence[Path], pretraining: str | None, searches: Mapping[str, str]
) -> ConceptFrequencies:
    """Read count files of one pretraining set; see `readers.read_frequencies`."""
    named = pd.DataFrame([_described(path) for path in files])
    origins = sorted(set(named["pretraining"]))
    if pretraining is None and len(origins) > 1:
        raise ConfigError(
            f"The count files must be of one pretraining set. Got {', '.join(origins)} instead. "
            "Choose one with the 'pretraining' parameter, or name fewer files."
        )
    origin = pretraining or origins[0]
    if origin not in origins:
        raise ConfigError(
            f"The 'pretraining' parameter must be one of {origins}. Got {pretraining!r} instead."
        )
    kept = named[named["pretraining"] == origin]
    columns = []
    for column, group in kept.groupby("column", sort=True):
        search = _search(str(column), sorted(set(group["search"])), searches)
        chosen = group[group["search"] == search]
        read = _read_metrics if search == "metrics" else _read_counts
        counts = pd.concat([read(path) for path in chosen["path"]])
        columns.append(counts.rename(columns={"count": str(column)}))
    merged = columns[0]
    for other in columns[1:]:
        merged = merged.merge(other, on=["dataset", "concept"], how="outer")
    present = [column for column in FREQUENCY_COLUMNS if column in merged]
    table = merged.sort_values(["dataset", "concept"], kind="stable").reset_index(drop=True)
    more = [column for column in ("n_relevant", "relevance", "name") if column in table]
    return ConceptFrequencies(table[["dataset", "concept", *present, *more]], origin)


def _described(path: Path) -> dict[str, object]:
    found = _COUNTS_NAME.fullmatch(path.name)
    metrics = _METRICS_NAME.fullmatch(path.name)
    if metrics is not None:
        folded = metrics["pretraining"].replace("-", "").casefold()
        fields = {"dataset": metrics["dataset"], "pretraining": folded, "path": path}
        return {**fields, "search": "metrics", "column": "n_text"}
    if found is None:
        raise DataError(
            f"The name {path.name!r} does not tell what was counted. Known names are "
            f"{KNOWN_NAMES}; any other counts go into a table with the columns concept and "
            f"{', '.join(FREQUENCY_COLUMNS)}."
        )
    search = found["search"]
    column = "n_image" if search.startswith("rampp") else "n_text"
    column = "n_joint" if search.startswith("integrated") else column
    return {**found.groupdict(), "column": column, "path": path}


def _search(column: str, present: Sequence[str], searches: Mapping[str, str]) -> str:
    """Choose one search per count column for all datasets, so that counts are comparable."""
    wanted = searches.get(column)
    if wanted is None and len(present) == 1:
        return present[0]
    wanted = wanted or HEADLINE[column]
    if wanted not in present:
        raise ConfigError(
            f"The 'searches' parameter must choose among the searches for {column}: "
            f"{', '.join(present)}. Got {wanted!r} instead."
        )
    return wanted


def _json_mapping(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"Cannot read {path} as JSON: {error}.") from error
    if not isinstance(content, dict) or not content:
        raise DataError(f"{path} must map class names to counts. Got no such mapping instead.")
    return content


def _read_metrics(path: Path) -> pd.DataFrame:
    """Read one of NeglectedTails' or SWAT's files: an entry per class, by its index."""
    rows = []
    found = _METRICS_NAME.fullmatch(path.name)
    for index, entry in _json_mapping(path).items():
        fields = entry if isinstance(entry, dict) else {}
        name = fields.get("name")
        if not isinstance(name, str) or not is_text(name) or not name.strip():
            raise DataError(f"{path}: class {index!r} has no 'name'. Got {entry!r:.80} instead.")
        numbers = {}
        for field in METRICS_FIELDS:
            value = fields.get(field)
            # what was judged is missing where nothing was found to judge
            if not _is_count(value) and (value is not None or field == METRICS_FIELDS[0]):
                raise DataError(
                    f"{path}: {field!r} of the class {name!r} must be a number of at least 0. Got "
                    f"{value!r} instead."
                )
            numbers[field] = np.nan if value is None else float(value)
        hits, relevant, share = numbers.values()
        best = str(fields.get("most_common_name") or name)
        rows.append((name, round(hits), np.round(relevant), share, best))
    table = pd.DataFrame(rows, columns=["concept", "count", "n_relevant", "relevance", "name"])
    return table.astype({"count": "Int64", "n_relevant": "Int64"}).assign(
        dataset=found["dataset"] if found else ""
    )


def _is_count(value: object) -> bool:
    """Whether a JSON value is a number of samples."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return 0 <= value < 1 << 63  # NaN is not


def _read_counts(path: Path) -> pd.DataFrame:
    content = _json_mapping(path)
    for concept, count in content.items():
        if not is_text(concept):
            raise DataError(f"{path}: the concept {concept!r} is no valid Unicode.")
        if not isinstance(count, int) or isinstance(count, bool) or not 0 <= count < 1 << 63:
            raise DataError(
                f"{path}: counts must be whole numbers of at least 0. Got {count!r} for concept "
                f"{concept!r} instead."
            )
    found = _COUNTS_NAME.fullmatch(path.name)
    # The published retrieval concepts hold the empty string, which is no concept.
    named = {concept: count for concept, count in content.items() if concept.strip()}
    table = pd.DataFrame({"concept": list(named), "count": list(named.values())})
    return table.astype({"concept": "str", "count": "Int64"}).assign(
        dataset=found["dataset"] if found else ""
    )
