"""The long-tail test set: its classes, what was removed, what it looks like."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from conceptaudit.display import quantity
from conceptaudit.progress import Progress
from conceptaudit.report.inputs import ReportInputs
from conceptaudit.report.markup import Markup, el, join
from conceptaudit.report.measured import Measured
from conceptaudit.report.pictures import PictureBudget
from conceptaudit.report.sections.base import Section, absent, folded, table
from conceptaudit.report.sections.foretold import foretold_part
from conceptaudit.report.tail_truth import tail_truth
from conceptaudit.report.wording import count, listed, reason

PER_CLASS = 3
MOST_CLASSES = 40
MOST_ROWS = 12
"""A longer table of classes is folded."""
TITLE = "The long-tail test set"


def longtail_section(
    inputs: ReportInputs,
    measured: tuple[Measured, ...] | None,
    budget: PictureBudget,
    progress: Progress,
) -> Section:
    """Build the part on the long-tail set."""
    made = inputs.longtail
    foretold = foretold_part(inputs)
    if made is None and foretold is not None:
        return Section(identifier="longtail", title=TITLE, short="Long tail", body=foretold)
    if made is None:
        why = (
            "No long-tail set was given; `conceptaudit longtail` builds one from this audit and "
            "`--longtail SET` adds it here."
        )
        return absent("longtail", TITLE, "Long tail", why)
    manifest = made.manifest
    included = [one for one in manifest["classes"] if one["included"]]
    left_out = [one["concept"] for one in manifest["classes"] if not one["included"]]
    missing = [one["concept"] for one in included if one["n_missing"]]
    known = tail_truth(made, pool_truth=inputs.pool_truth, measured=measured)
    body = [
        el(
            "p",
            "A test set of the concepts that the audit found to be rare, with about as many "
            "clean images each, so that a model's score on it says how it does in the tail. It "
            "holds ",
            el("b", quantity(manifest["n_images"], "image")),
            " of ",
            el("b", quantity(manifest["n_classes"], "class")),
            ". ",
            f"{quantity(len(missing), 'class is', 'classes are')} short of images"
            f" ({listed(missing)}). "
            if missing
            else "No class is short of images. ",
            f"Left out for lack of images: {listed(left_out)}." if left_out else None,
        ),
        el("ul", [el("li", sentence) for sentence in known]) if known else None,
        el("ul", [el("li", note) for note in made.notes], class_="notes") if made.notes else None,
        _classes(included),
        _removed(manifest["removed"]),
        foretold,
        _sheet(inputs, included, budget, progress),
    ]
    return Section(identifier="longtail", title=TITLE, short="Long tail", body=join(body))


def _classes(included: list[dict[str, Any]]) -> Markup:
    rows = [
        [
            one["concept"],
            one["n_images"],
            one["n_missing"] or "–",
            *("–" if one[name] is None else one[name] for name in ("n_text", "n_image", "n_joint")),
        ]
        for one in included
    ]
    whole = table(
        ["class", "images", "missing", "in captions", "in images", "in both"],
        rows,
        caption="Classes, with their counts in the audited data",
        numeric=(1, 2, 3, 4, 5),
    )
    return whole if len(rows) <= MOST_ROWS else folded(f"All {quantity(len(rows), 'class')}", whole)


def _inside(root: Path, name: str) -> Path | None:
    """Path of a picture; None where the table, which anyone may have edited, leads elsewhere."""
    if not name or "\0" in name:
        return None
    path = (root / name).resolve()
    return path if path.is_relative_to(root) else None


def _removed(removed: dict[str, int]) -> Markup | None:
    from conceptaudit.longtail import REASONS

    if not removed:
        return None
    ordered = sorted(removed.items(), key=lambda pair: (-pair[1], pair[0]))
    rows = [[REASONS.get(code) or reason(code), count(n)] for code, n in ordered]
    return table(
        ["why", "images"],
        rows,
        caption="Candidates that are not in the set",
        numeric=(1,),
    )


def _sheet(
    inputs: ReportInputs,
    included: list[dict[str, Any]],
    budget: PictureBudget,
    progress: Progress,
) -> Markup | None:
    made = inputs.longtail
    if made is None or "file" not in made.images:
        return None
    strips = []
    shown = included[:MOST_CLASSES]
    progress.start("long-tail pictures", len(shown), "classes")
    root = made.folder.resolve()
    for one in shown:
        rows = made.images[made.images["class_index"] == one["class_index"]]
        items = []
        for row in rows.sort_values("rank").head(PER_CLASS).to_dict("records"):
            path = _inside(root, str(row["file"]))
            uri = None if path is None else budget.thumbnail_of(path)
            if uri:
                alt = str(row["caption"]) or f"{one['concept']}, image {row['rank']:.0f}"
                items.append(el("li", el("img", src=uri, alt=alt, title=alt, loading="lazy")))
        if items:
            heading = el(
                "h4", one["concept"], el("span", f" {quantity(int(one['n_images']), 'image')}")
            )
            strips.append(
                el(
                    "div",
                    heading,
                    el("ul", items, class_="strip"),
                    class_=f"concept span-{PER_CLASS}",
                )
            )
        progress.advance()
    progress.finish()
    if not strips:
        return el("p", "The set holds no pictures that could be shown here.")
    more = len(included) - len(shown)
    note = el("p", f"{quantity(more, 'more class')} not shown.") if more else None
    return join([el("h3", "A look at the classes"), el("div", strips, class_="group"), note])
