"""Human judgement of a set's images: a file to judge in, and what becomes of the verdicts.

Suspects come first. The other images of a class follow in a seeded random order, so that judging
the first few of them is a fair sample, and the purity of the class adds up the two.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from conceptaudit.artifacts import Json, digest_of, write_csv, write_json
from conceptaudit.display import quantity
from conceptaudit.errors import DataError
from conceptaudit.frequency.intervals import wilson_interval
from conceptaudit.longtail.candidates import mark, remaining
from conceptaudit.longtail.records import REJECTED, LongTailSet
from conceptaudit.longtail.safe_filenames import csv_text
from conceptaudit.longtail.select import edited_rows
from conceptaudit.store.checking import check_written

COLUMNS = ("id", "concept", "file", "key", "score", "suspect", "verdict", "comment")
ID_DIGITS = 16

# What a person may write; an empty verdict is no verdict.
VERDICTS = {
    **dict.fromkeys(("right", "yes", "y", "1", "true"), True),
    **dict.fromkeys(("wrong", "no", "n", "0", "false"), False),
    **dict.fromkeys(("", "unsure", "?"), None),
}


def image_id(content: str, key: str) -> str:
    """Identify an image in a review file: by its content, by its key where it has no file."""
    return content[:ID_DIGITS] or hashlib.sha256(key.encode()).hexdigest()[:ID_DIGITS]


def write_review(made: LongTailSet, path: str | Path, *, seed: int = 0) -> None:
    """Write the images of a set to be judged, as CSV or (``.json``) JSON."""
    rows = []
    for row in made.images.to_dict("records"):
        identity = image_id(row["sha256"], row["key"])
        rank = hashlib.sha256(f"{seed}:{row['class_index']}:{identity}".encode()).hexdigest()
        suspect = str(row.get("suspect") or "")
        told = (identity, row["concept"], row["file"], row["key"], row["score"], suspect, "", "")
        order = (not suspect, int(row["class_index"]), rank)
        rows.append((order, dict(zip(COLUMNS, told, strict=True))))
    ordered = [told for _, told in sorted(rows, key=lambda one: one[0])]
    target = Path(path)
    if target.suffix.lower() == ".json":
        write_json(target, ordered)
    else:
        write_csv(target, pd.DataFrame(ordered, columns=list(COLUMNS)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Review:
    """Verdicts on images."""

    # whether the image shows the concept; None where the judge left it open
    verdicts: dict[tuple[str, str], bool | None]
    suspects: frozenset[tuple[str, str]] = frozenset()  # those that the file calls suspect
    source: str = ""  # the file, for messages

    @property
    def digest(self) -> str:
        """SHA-256 of the verdicts."""
        rows = [
            [*key, verdict, key in self.suspects] for key, verdict in sorted(self.verdicts.items())
        ]
        return digest_of(rows)

    def apply(self, table: pd.DataFrame, candidates: pd.Index) -> None:
        """Mark what was judged wrong.

        `candidates` labels the rows that cleaning began with: a verdict on one that is gone by now
        does no harm.
        """
        files = table["sha256"] if "sha256" in table else [""] * len(table)
        keys = pd.Series(
            [
                (concept, image_id(content, key))
                for concept, content, key in zip(table["concept"], files, table["key"], strict=True)
            ],
            index=table.index,
            dtype=object,
        )
        unknown = sorted(set(self.verdicts) - set(keys.loc[candidates]))
        if unknown:
            concept, identity = unknown[0]
            raise DataError(
                f"{self.source} judges "
                f"{quantity(len(unknown), 'image that is', 'images that are')} no candidates "
                f"here, such as {identity!r} of {concept!r}. A review belongs to the audit, pool "
                "and options that its set was built from."
            )
        wrong = {key for key, verdict in self.verdicts.items() if verdict is False}
        left = remaining(table).index
        mark(table, [row for row in left if keys[row] in wrong], REJECTED)

    def purity(self, concept: str) -> Json:
        """Share of a class's images that show the concept, with its 90 % interval.

        Of the images as they were found, before those judged wrong were left out. Suspects are
        judged first and are worse than the rest, so the shares of the two are estimated apart and
        added up by their numbers in the file; the ends of their intervals likewise, which makes
        the interval of the sum too wide rather than too narrow. Unknown as long as one of the two
        has no verdict.
        """
        judged: list[bool] = []
        parts: list[tuple[int, list[bool]]] = []
        for suspect in (True, False):
            given = [
                verdict
                for key, verdict in self.verdicts.items()
                if key[0] == concept and (key in self.suspects) is suspect
            ]
            told = [verdict for verdict in given if verdict is not None]
            judged += told
            parts += [(len(given), told)] if given else []
        low, share, high = _weighted(parts)
        return {
            "n_judged": len(judged),
            "n_right": sum(judged),
            "purity": share,
            "purity_low": low,
            "purity_high": high,
        }


def _weighted(
    parts: Sequence[tuple[int, Sequence[bool]]],
) -> tuple[float | None, float | None, float | None]:
    """Lower end, value and upper end of a share over parts of known size."""
    if not parts or not all(told for _, told in parts):
        return None, None, None
    total = sum(size for size, _ in parts)
    ends = np.zeros(3)
    for size, told in parts:
        low, high = wilson_interval(sum(told), len(told))
        ends += np.array([low, sum(told) / len(told), high]) * (size / total)
    low, share, high = (round(float(end), 6) for end in ends)
    return low, share, high


def read_review(path: str | Path, concepts: Sequence[str]) -> Review:
    """Read a review file that a person has filled in."""
    source = Path(path)
    check_written(source)
    known = {name: name for name in concepts} | {csv_text(name): name for name in concepts}
    verdicts: dict[tuple[str, str], bool | None] = {}
    suspects: set[tuple[str, str]] = set()
    for line, row in review_rows(source):
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
        if str(row.get("suspect") or "").strip():
            suspects.add(key)
    return Review(verdicts=verdicts, suspects=frozenset(suspects), source=str(source))


def review_rows(path: Path) -> list[tuple[int, dict[str, Any]]]:
    """Read the rows of a review file with their numbers, the header being row 1."""
    if path.suffix.lower() != ".json":
        return edited_rows(path, "the review")[1]
    try:
        records = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"Cannot read the review {path}: {error}.") from error
    if not isinstance(records, list) or not all(isinstance(row, dict) for row in records):
        raise DataError(f"{path} must hold a list of records.")
    return list(enumerate(records, start=1))
