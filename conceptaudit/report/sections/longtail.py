"""The long-tail test set: its classes, what was removed, what it looks like."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from conceptaudit.longtail import LongTailSet
from conceptaudit.progress import Progress
from conceptaudit.report.formatting import SIDES, count, reason
from conceptaudit.report.inputs import ReportInputs
from conceptaudit.report.pictures import PictureBudget, Seen
from conceptaudit.report.sections.prediction_check import prediction_checks
from conceptaudit.report.templating import Section
from conceptaudit.report.truth import TruthComparison, tail_truth

PER_CLASS = 3
MOST_CLASSES = 40
MOST_ROWS = 12
"""A longer table of classes is folded."""


def longtail_section(
    inputs: ReportInputs,
    measured: tuple[TruthComparison, ...] | None,
    budget: PictureBudget,
    progress: Progress,
) -> Section:
    """Build the part on the long-tail set."""
    made, why = inputs.longtail, ""
    values = prediction_checks(inputs)
    values |= {"made": made, "most_rows": MOST_ROWS, "strips": None, "n_more_classes": 0}
    if made is not None:
        known = tail_truth(made, pool_truth=inputs.pool_truth, measured=measured)
        values |= {"known": known, **_set(made), **_look(made, budget, progress)}
    elif not values["checks"]:
        why = (
            "No long-tail set was given; `conceptaudit longtail` builds one from this audit and "
            "`--longtail SET` adds it here."
        )
    return Section(
        identifier="longtail",
        title="The long-tail test set",
        short="Long tail",
        missing=why,
        values=values,
    )


def _included(made: LongTailSet) -> list[dict[str, Any]]:
    return [one for one in made.manifest["classes"] if one["included"]]


def _set(made: LongTailSet) -> dict[str, Any]:
    """Lay out classes, what is short, and what was left out."""
    included = _included(made)
    return {
        "short": [one["concept"] for one in included if one["n_missing"]],
        "left_out": [one["concept"] for one in made.manifest["classes"] if not one["included"]],
        "classes": [
            [
                one["concept"],
                one["n_images"],
                one["n_missing"] or "–",
                *("–" if one[name] is None else one[name] for name in SIDES),
            ]
            for one in included
        ],
        "removed": [[why, count(n)] for why, n in removed_by_reason(made)],
    }


def removed_by_reason(made: LongTailSet) -> list[tuple[str, int]]:
    """Say why candidates are not in a set, the most frequent reason first."""
    from conceptaudit.longtail import REASONS

    ordered = sorted(made.manifest["removed"].items(), key=lambda pair: (-pair[1], pair[0]))
    return [(REASONS.get(code) or reason(code), n) for code, n in ordered]


def file_inside(root: Path, name: str) -> Path | None:
    """Path of a set's file; None where the table, which anyone may have edited, leads elsewhere."""
    if not name or "\0" in name:
        return None
    root = root.resolve()
    path = (root / name).resolve()
    return path if path.is_relative_to(root) else None


def _look(made: LongTailSet, budget: PictureBudget, progress: Progress) -> dict[str, Any]:
    """Make small images of the first classes; no strips where the set names no files."""
    if "file" not in made.images:
        return {}
    included = _included(made)
    shown = included[:MOST_CLASSES]
    strips = []
    progress.start("long-tail images", len(shown), "classes")
    for one in shown:
        rows = made.images[made.images["class_index"] == one["class_index"]]
        samples = []
        for row in rows.sort_values("rank").head(PER_CLASS).to_dict("records"):
            path = file_inside(made.folder, str(row["file"]))
            uri = None if path is None else budget.thumbnail_of(path)
            if uri:
                caption = str(row["caption"]) or f"{one['concept']}, image {row['rank']:.0f}"
                samples.append(Seen(caption=caption, picture=uri))
        if samples:
            strips.append(
                {
                    "name": one["concept"],
                    "n": int(one["n_images"]),
                    "samples": samples,
                    "span": PER_CLASS,
                }
            )
        progress.advance()
    progress.finish()
    return {"strips": strips, "n_more_classes": len(included) - len(shown)}
