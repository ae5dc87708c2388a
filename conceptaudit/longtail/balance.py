"""The same number of images per class, as far as the pool goes."""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from conceptaudit.artifacts import Json
from conceptaudit.counts import CORRECTED_COLUMNS
from conceptaudit.display import quantity
from conceptaudit.errors import DataError
from conceptaudit.longtail.candidates import mark, remaining
from conceptaudit.longtail.records import LEFT_OUT, SURPLUS
from conceptaudit.longtail.review import Review
from conceptaudit.longtail.safe_filenames import folder_names
from conceptaudit.longtail.select import COUNT_ERROR, REJECTED_SHARE, SENSES, Selection
from conceptaudit.options.longtail import LongTailOptions


def balance_classes(
    table: pd.DataFrame,
    selection: Selection,
    options: LongTailOptions,
    review: Review | None = None,
) -> tuple[list[Json], pd.DataFrame]:
    """Take the best `per_class` images of each class, and mark the others.

    Class indexes follow the sorted folder names, because that is how readers of image folders
    number classes. Returns the classes as ``classes.csv`` has them, those left out last, and the
    images of the set with their class and their number in it.
    """
    names = selection.concepts
    folders = folder_names(names)
    clean = remaining(table)
    rows = {class_id: part.index for class_id, part in clean.groupby("class_id")}
    n_clean = [len(rows.get(i, ())) for i in range(len(names))]
    order = sorted(range(len(names)), key=lambda i: folders[i])
    included = [i for i in order if n_clean[i] >= options.min_per_class]
    if not included:
        raise DataError(
            f"No concept has the {options.min_per_class} images that a class must have; the best "
            f"one has {max(n_clean)}. Name a larger pool, or relax --min-per-class, --min-score, "
            "--min-side or --require-text."
        )
    classes: list[Json] = []
    parts: list[pd.DataFrame] = []
    for i in (*included, *(i for i in order if i not in set(included))):
        index = len(classes) if len(classes) < len(included) else None
        n_taken = options.per_class if index is not None else 0
        images = clean.loc[rows[i]] if i in rows else clean.iloc[:0]
        others = images.iloc[n_taken:]
        ranks = zip(others["rank"], others["score"], strict=True)
        details = [f"candidate {rank}, score {score:.4f}" for rank, score in ranks]
        mark(table, others.index, LEFT_OUT if index is None else SURPLUS, details)
        images = images.iloc[:n_taken]
        facts = _facts(selection, i)
        classes.append(
            {
                "class_index": index,
                "concept": names[i],
                "folder": folders[i],
                "included": index is not None,
                "n_images": len(images),
                "n_missing": max(options.per_class - n_clean[i], 0),
                "n_clean": n_clean[i],
                "lowest_score": round(float(images["score"].min()), 6) if len(images) else None,
                "n_runner_up_leads": int((images["margin"] < 0).sum()),
                "n_suspect": int((images["suspect"] != "").sum()),
                **facts,
                **(review.purity(names[i]) if review else {}),
            }
        )
        parts.append(
            images.assign(
                class_index=index,
                number=range(1, len(images) + 1),
                folder=folders[i],
                why=facts["why"],
            )
        )
    return classes, pd.concat(parts[: len(included)], ignore_index=True)


def _facts(selection: Selection, row: int) -> dict[str, Any]:
    record = selection.table.iloc[row]
    counts = ("n_text", "n_image", "n_joint", "stratum")
    numbers = {name: None if record.isna()[name] else int(record[name]) for name in counts}
    senses, missing = record["n_senses"], record.isna()
    shares = {
        name: None if missing[name] else float(record[name])
        for name in (COUNT_ERROR, REJECTED_SHARE)
    }
    corrected = {
        name: round(float(record[name]), 2) for name in CORRECTED_COLUMNS if name in record
    }
    return {
        **numbers,
        **corrected,
        **shares,
        SENSES: None if missing[SENSES] else int(senses),
        "why": str(record["why"]),
    }


def balance_notes(
    classes: Sequence[Json], images: pd.DataFrame, options: LongTailOptions
) -> list[str]:
    """Say which classes are short, left out, or doubtful."""
    notes = []
    included = [one for one in classes if one["included"]]
    short = [one for one in included if one["n_clean"] < options.per_class]
    if short:
        told = ", ".join(f"{one['concept']} ({one['n_clean']})" for one in short[:10])
        more = f" and {len(short) - 10} more" if len(short) > 10 else ""
        notes.append(
            f"{len(short)} of {quantity(len(included), 'class')} have fewer than "
            f"{options.per_class} images: {told}{more}."
        )
    absent = [one for one in classes if not one["included"]]
    if absent:
        told = ", ".join(f"{one['concept']} ({one['n_clean']})" for one in absent[:10])
        more = f" and {len(absent) - 10} more" if len(absent) > 10 else ""
        notes.append(
            f"{len(absent)} of {quantity(len(classes), 'concept')} were left out, with "
            f"fewer than {options.min_per_class} images: {told}{more}."
        )
    n_doubtful = int((images["margin"] < 0).sum())
    if n_doubtful:
        notes.append(
            f"For {n_doubtful} of {len(images)} images another concept of the audit fits "
            "better (column runner_up, margin below 0): look at them first. --min-margin or "
            "--min-score drops such images."
        )
    return notes
