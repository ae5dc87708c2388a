"""Human judgement of a set's images: a file to judge in, and what becomes of the verdicts.

The images of a class stand in a seeded random order, so that judging the first few of each class is
a fair sample of it.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from conceptaudit.artifacts import Json, digest_of, write_csv, write_json
from conceptaudit.errors import DataError
from conceptaudit.frequency.intervals import wilson_interval
from conceptaudit.longtail.naming import csv_text
from conceptaudit.longtail.records import REJECTED, Candidate, LongTailSet, Removal

COLUMNS = ("id", "concept", "file", "key", "score", "verdict", "comment")
ID_DIGITS = 16

VERDICTS = {
    **dict.fromkeys(("right", "yes", "y", "1", "true"), True),
    **dict.fromkeys(("wrong", "no", "n", "0", "false"), False),
    **dict.fromkeys(("", "unsure", "?"), None),
}
"""What a person may write; an empty verdict is no verdict."""


def image_id(content: str, key: str) -> str:
    """Identify an image in a review file: by its content, by its key where it has no file."""
    return content[:ID_DIGITS] or hashlib.sha256(key.encode()).hexdigest()[:ID_DIGITS]


def write_review(made: LongTailSet, path: str | Path, *, seed: int = 0) -> None:
    """Write the images of a set to be judged, as CSV or (``.json``) JSON.

    Parameters
    ----------
    made : LongTailSet
    path : str or Path
    seed : int
        Decides the order within each class.

    Raises
    ------
    DataError
        The file cannot be written.
    """
    rows = []
    for row in made.images.to_dict("records"):
        identity = image_id(row["sha256"], row["key"])
        rank = hashlib.sha256(f"{seed}:{row['class_index']}:{identity}".encode()).hexdigest()
        told = (identity, row["concept"], row["file"], row["key"], row["score"], "", "")
        rows.append(((int(row["class_index"]), rank), dict(zip(COLUMNS, told, strict=True))))
    ordered = [told for _, told in sorted(rows, key=lambda one: one[0])]
    target = Path(path)
    if target.suffix.lower() == ".json":
        write_json(target, ordered)
    else:
        write_csv(target, pd.DataFrame(ordered, columns=list(COLUMNS)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Review:
    """Verdicts on images.

    Parameters
    ----------
    verdicts : dict of (concept, image id) to bool or None
        Whether the image shows the concept; None where the judge left it open.
    source : str
        The file, for messages.
    """

    verdicts: dict[tuple[str, str], bool | None]
    source: str = ""

    @property
    def digest(self) -> str:
        """SHA-256 of the verdicts."""
        rows = [[*key, verdict] for key, verdict in sorted(self.verdicts.items())]
        return digest_of(rows)

    def apply(
        self, candidates: Sequence[Candidate], names: Sequence[str]
    ) -> tuple[tuple[Candidate, ...], tuple[Removal, ...]]:
        """Leave out what was judged wrong.

        Parameters
        ----------
        candidates : sequence of Candidate
        names : sequence of str
            Names of the classes.

        Raises
        ------
        DataError
            A verdict is on an image that is no candidate of its class.
        """
        known = {_key(candidate, names) for candidate in candidates}
        unknown = sorted(set(self.verdicts) - known)
        if unknown:
            concept, identity = unknown[0]
            raise DataError(
                f"{self.source} judges {len(unknown):,} images that are no candidates here, such "
                f"as {identity!r} of {concept!r}. A review belongs to the audit, pool and options "
                "that its set was built from."
            )
        wrong = {key for key, verdict in self.verdicts.items() if verdict is False}
        removals = tuple(
            Removal(
                key=candidate.entry.key,
                source=candidate.entry.source,
                concept=names[candidate.class_id],
                reason=REJECTED,
            )
            for candidate in candidates
            if _key(candidate, names) in wrong
        )
        return tuple(c for c in candidates if _key(c, names) not in wrong), removals

    def purity(self, concept: str) -> Json:
        """Share of a class's judged images that show the concept, with its 90 % interval.

        Of the images as they were found, before those judged wrong were left out.
        """
        judged = [v for (name, _), v in self.verdicts.items() if name == concept and v is not None]
        n_right = sum(judged)
        low, high = wilson_interval(n_right, len(judged))
        return {
            "n_judged": len(judged),
            "n_right": n_right,
            "purity": round(n_right / len(judged), 6) if judged else None,
            "purity_low": round(low, 6) if judged else None,
            "purity_high": round(high, 6) if judged else None,
        }


def _key(candidate: Candidate, names: Sequence[str]) -> tuple[str, str]:
    picture, entry = candidate.picture, candidate.entry
    identity = image_id(picture.sha256 if picture else "", entry.key)
    return names[candidate.class_id], identity


def read_review(path: str | Path, concepts: Sequence[str]) -> Review:
    """Read a review file that a person has filled in.

    Parameters
    ----------
    path : str or Path
        CSV, or JSON with a list of records; needs ``id``, ``concept`` and ``verdict``.
    concepts : sequence of str
        Names of the selected classes.

    Raises
    ------
    DataError
        The file cannot be read, a verdict is none of `VERDICTS`, an image has two verdicts, or a
        class is not selected.
    """
    source = Path(path)
    known = {name: name for name in concepts} | {csv_text(name): name for name in concepts}
    verdicts: dict[tuple[str, str], bool | None] = {}
    for line, row in _rows(source):
        missing = [name for name in ("id", "concept", "verdict") if name not in row]
        if missing:
            raise DataError(
                f"{source} must have the columns id, concept and verdict: row {line} "
                f"lacks {missing}."
            )
        word = str(row["verdict"] if row["verdict"] is not None else "").strip().casefold()
        if word not in VERDICTS:
            raise DataError(
                f"A verdict must be 'right', 'wrong' or empty. Got {row['verdict']!r} in row "
                f"{line} of {source} instead."
            )
        name = known.get(str(row["concept"]))
        if name is None:
            raise DataError(f"Row {line} of {source} names {row['concept']!r}, which is no class.")
        key = (name, str(row["id"]).strip())
        verdict = VERDICTS[word]
        if verdicts.get(key, verdict) not in (None, verdict) and verdict is not None:
            raise DataError(f"{source} calls image {key[1]!r} of {name!r} both right and wrong.")
        verdicts[key] = verdict if verdict is not None else verdicts.get(key)
    return Review(verdicts=verdicts, source=str(source))


def _rows(path: Path) -> list[tuple[int, dict[str, Any]]]:
    """Rows of a review file with their numbers, the header being row 1."""
    try:
        text = path.read_text(encoding="utf-8-sig")  # spreadsheets add a byte order mark
        if path.suffix.lower() == ".json":
            records = json.loads(text)
            if not isinstance(records, list) or not all(isinstance(r, dict) for r in records):
                raise DataError(f"{path} must hold a list of records.")
            return list(enumerate(records, start=1))
        header = text.split("\n", 1)[0]
        mark = ";" if "," not in header and ";" in header else ","
        reader = csv.DictReader(
            io.StringIO(text, newline=""), delimiter=mark, restval="", strict=True
        )
        reader.fieldnames = [name.strip().lower() for name in reader.fieldnames or []]
        return [(reader.line_num, row) for row in reader]
    except (OSError, ValueError, RecursionError, csv.Error) as error:
        raise DataError(f"Cannot read the review {path}: {error}.") from error
