"""The same number of images per class, as far as the pool goes."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from conceptaudit.artifacts import Json
from conceptaudit.counts import CORRECTED_COLUMNS
from conceptaudit.display import quantity
from conceptaudit.errors import DataError
from conceptaudit.longtail.filters import COUNT_ERROR, REJECTED_SHARE, SENSES
from conceptaudit.longtail.records import LEFT_OUT, SURPLUS, Candidate, Removal
from conceptaudit.longtail.review import Review
from conceptaudit.longtail.safe_filenames import folder_names
from conceptaudit.longtail.select import Selection
from conceptaudit.options.longtail import LongTailOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class LongTailClass:
    """One selected concept and its images."""

    concept: str  # its name
    folder: str  # safe name, unique in the set
    index: int | None  # line in ``classnames.txt``, from 0; None where the class is left out
    images: tuple[Candidate, ...]  # best first; empty where the class is left out
    n_clean: int  # candidates that passed every check
    n_missing: int  # images short of `per_class`
    facts: dict[str, Any]  # counts, stratum and reason from the selection

    def as_json(self) -> Json:
        """Say what ``manifest.json`` and ``classes.csv`` tell about the class."""
        scores = [image.entry.score for image in self.images]
        return {
            "class_index": self.index,
            "concept": self.concept,
            "folder": self.folder,
            "included": self.index is not None,
            "n_images": len(self.images),
            "n_missing": self.n_missing,
            "n_clean": self.n_clean,
            "lowest_score": round(min(scores), 6) if scores else None,
            "n_runner_up_leads": sum(image.margin < 0 for image in self.images),
            "n_suspect": sum(bool(image.suspect) for image in self.images),
            **self.facts,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Balanced:
    """Classes in the order of their folders, those left out last, and what was removed."""

    classes: tuple[LongTailClass, ...]
    removals: tuple[Removal, ...]

    @property
    def included(self) -> tuple[LongTailClass, ...]:
        """The classes that the set has, in the order of their indexes."""
        return tuple(one for one in self.classes if one.index is not None)


def balance_classes(
    candidates: Sequence[Candidate],
    selection: Selection,
    options: LongTailOptions,
    review: Review | None = None,
) -> Balanced:
    """Take the best `per_class` images of each class.

    Class indexes follow the sorted folder names, because that is how readers of image folders
    number classes.
    """
    names = selection.concepts
    folders = folder_names(names)
    ranked: list[list[Candidate]] = [[] for _ in names]
    for candidate in sorted(candidates, key=lambda c: c.priority):
        ranked[candidate.class_id].append(candidate)
    order = sorted(range(len(names)), key=lambda i: folders[i])
    kept = [i for i in order if len(ranked[i]) >= options.min_per_class]
    if not kept:
        most = max(len(found) for found in ranked)
        raise DataError(
            f"No concept has the {options.min_per_class} images that a class must have; the best "
            f"one has {most}. Name a larger pool, or relax --min-per-class, --min-score, "
            "--min-side or --require-text."
        )
    classes: list[LongTailClass] = []
    removals: list[Removal] = []
    for i in (*kept, *(i for i in order if i not in set(kept))):
        index = len(classes) if len(classes) < len(kept) else None
        n_taken = options.per_class if index is not None else 0
        reason = SURPLUS if index is not None else LEFT_OUT
        for candidate in ranked[i][n_taken:]:
            entry = candidate.entry
            removals.append(
                Removal(
                    key=entry.key,
                    source=entry.source,
                    concept=names[i],
                    reason=reason,
                    detail=f"candidate {candidate.rank}, score {entry.score:.4f}",
                )
            )
        classes.append(
            LongTailClass(
                concept=names[i],
                folder=folders[i],
                index=index,
                images=tuple(ranked[i][:n_taken]),
                n_clean=len(ranked[i]),
                n_missing=max(options.per_class - len(ranked[i]), 0),
                facts=_facts(selection, i) | (review.purity(names[i]) if review else {}),
            )
        )
    return Balanced(classes=tuple(classes), removals=tuple(removals))


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


def balance_notes(balanced: Balanced, options: LongTailOptions) -> list[str]:
    """Say which classes are short, left out, or doubtful."""
    notes = []
    short = [one for one in balanced.included if one.n_clean < options.per_class]
    if short:
        told = ", ".join(f"{one.concept} ({one.n_clean})" for one in short[:10])
        more = f" and {len(short) - 10} more" if len(short) > 10 else ""
        notes.append(
            f"{len(short)} of {quantity(len(balanced.included), 'class')} have fewer than "
            f"{options.per_class} images: {told}{more}."
        )
    absent = [one for one in balanced.classes if one.index is None]
    if absent:
        told = ", ".join(f"{one.concept} ({one.n_clean})" for one in absent[:10])
        more = f" and {len(absent) - 10} more" if len(absent) > 10 else ""
        notes.append(
            f"{len(absent)} of {quantity(len(balanced.classes), 'concept')} were left out, with "
            f"fewer than {options.min_per_class} images: {told}{more}."
        )
    rivals = Counter(image.margin < 0 for one in balanced.included for image in one.images)
    if rivals[True]:
        notes.append(
            f"For {rivals[True]} of {rivals.total()} images another concept of the audit fits "
            "better (column runner_up, margin below 0): look at them first. --min-margin or "
            "--min-score drops such images."
        )
    return notes
