"""Questions of a judged sample or of a long-tail review, and what their answers say so far."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from conceptaudit.artifacts import digest_of
from conceptaudit.errors import ConfigError, DataError
from conceptaudit.explore.answers import NO, UNSURE, YES, AnswerBook, Question
from conceptaudit.frequency.judged import JudgedSample, count_judged, share_judged

if TYPE_CHECKING:
    from conceptaudit.explore.opened import OpenRun
    from conceptaudit.longtail import LongTailSet

IMAGE, TEXT, REVIEW = "image", "text", "review"


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What the answers on a concept say so far."""

    what: str  # is estimated, in words
    value: float
    low: float
    high: float
    share: bool  # and not a count
    n: int  # answers
    n_yes: int


class Queue:
    """A file of questions, opened to be answered."""

    def __init__(self, path: Path, runs: list[OpenRun], longtail: LongTailSet | None) -> None:
        self.path = path
        self.run: OpenRun | None = None
        self.longtail = longtail
        self._marks: dict[int, tuple[frozenset[str], frozenset[str]]] = {}
        rows = _read(path)
        if "verdict" in rows:
            self._open_review(rows)
        else:
            self._open_judged(rows, runs)
        self.book = AnswerBook(path, self._questions(), self._filled)

    def _open_judged(self, rows: pd.DataFrame, runs: list[OpenRun]) -> None:
        missing = [name for name in ("key", "concept", "present") if name not in rows]
        if missing or rows.empty:
            raise DataError(
                f"--judge {self.path} must be a table of 'conceptaudit judge' or of 'longtail "
                f"--review-out'; it lacks {missing or 'rows'}."
            )
        if "side" not in rows:
            rows = rows.assign(side=IMAGE)
        names = set(rows["concept"])
        self.run = next((run for run in runs if names <= set(run.ids)), None)
        if self.run is None:
            raise ConfigError(
                f"{self.path} asks for concepts that none of the runs counted, such as "
                f"{min(names - set(runs[0].ids))!r}."
            )
        self.rows = rows
        self.kind = TEXT if bool((rows["side"] == TEXT).all()) else IMAGE

    def _open_review(self, rows: pd.DataFrame) -> None:
        if self.longtail is None:
            raise ConfigError(f"{self.path} judges a long-tail set: name it with --set.")
        self.rows = rows
        self.kind = REVIEW
        from conceptaudit.longtail.review import image_id

        images = self.longtail.images.to_dict("records")
        self._row_of_image = {
            (str(row["concept"]), image_id(str(row["sha256"]), str(row["key"]))): place
            for place, row in enumerate(images)
        }

    def _questions(self) -> list[Question]:
        identity = (
            ["concept", "id"] if self.kind == REVIEW else ["side", "key", "concept", "sample_id"]
        )
        columns = [self.rows[name] for name in identity if name in self.rows]
        column = "verdict" if self.kind == REVIEW else "present"
        given = {"1": YES, "1.0": YES, "true": YES, "right": YES, "yes": YES, "y": YES}
        given |= {"0": NO, "0.0": NO, "false": NO, "wrong": NO, "no": NO, "n": NO}
        words = self.rows[column].str.strip().str.lower()
        ids = [digest_of(list(row))[:16] for row in zip(*columns, strict=True)]
        return [
            Question(id=one, place=place, concept=concept, given=given.get(word, ""))
            for place, (one, concept, word) in enumerate(
                zip(ids, self.rows["concept"], words, strict=True)
            )
        ]

    def _filled(self, answers: dict[str, str]) -> pd.DataFrame:
        """Fill answers in as `--judged` or `--review-in` reads them."""
        words = (
            {YES: "right", NO: "wrong", UNSURE: "unsure"}
            if self.kind == REVIEW
            else {YES: "1", NO: "0", UNSURE: ""}
        )
        column = "verdict" if self.kind == REVIEW else "present"
        filled = [words.get(answers.get(q.id, ""), "") for q in self._questions()]
        return self.rows.assign(**{column: filled})

    @property
    def name(self) -> str:
        """The file's name."""
        return self.path.name

    def row(self, question: Question) -> dict[str, Any]:
        """Return what the table says of a question."""
        row = {str(k): v for k, v in self.rows.iloc[question.place].to_dict().items()}
        text = str(row.get("sample_id", ""))
        row["sample"] = int(float(text)) if text.replace(".", "", 1).isdecimal() else None
        if self.kind == REVIEW:
            row["image_row"] = self._row_of_image.get((row["concept"], row["id"]))
        elif row["sample"] is None and self.run is not None:
            row["sample"] = self.run.sample_of(str(row["key"]))
        return row

    def estimate(self, concept: str) -> Estimate | None:
        """Estimate from the answers so far, as `correct` and the set's purity do."""
        answers = self.book.answers()
        places = [
            (q.place, answers[q.id] == YES)
            for q in self.book.questions
            if q.concept == concept and answers.get(q.id) in (YES, NO)
        ]
        if not places:
            return None
        rows = self.rows.iloc[[place for place, _ in places]]
        yes = np.array([is_yes for _, is_yes in places])
        if self.kind == REVIEW:
            return self._purity(concept, answers)
        run = self.run
        if run is None:
            return None
        number = run.ids[concept]
        if self.kind == TEXT:
            size = float(run.row(number).get("n_text") or 0)
            value, low, high = share_judged(size, len(yes), int(yes.sum()), level=run.record.level)
            return Estimate(
                what="captions that mean it", value=value, low=low, high=high, share=False,
                n=len(yes), n_yes=int(yes.sum()),
            )  # fmt: skip
        return self._images(run, number, rows, yes)

    def _purity(self, concept: str, answers: dict[str, str]) -> Estimate | None:
        from conceptaudit.longtail.review import Review

        verdicts: dict[tuple[str, str], bool | None] = {}
        suspects = set()
        for question in self.book.questions:
            row = self.rows.iloc[question.place]
            key = (question.concept, str(row["id"]))
            verdicts[key] = {YES: True, NO: False}.get(answers.get(question.id, ""))
            if str(row.get("suspect", "")).strip():
                suspects.add(key)
        told = Review(verdicts=verdicts, suspects=frozenset(suspects)).purity(concept)
        if told["purity"] is None:
            return None
        return Estimate(
            what="purity of the class", value=told["purity"], low=told["purity_low"],
            high=told["purity_high"], share=True, n=told["n_judged"], n_yes=told["n_right"],
        )  # fmt: skip

    def _images(
        self, run: OpenRun, concept: int, rows: pd.DataFrame, yes: np.ndarray
    ) -> Estimate | None:
        from conceptaudit.auditing.judged_run import (
            CELL_COLUMNS,
            CELLS_FILE,
            SHARE_COLUMNS,
            design_of,
        )
        from conceptaudit.reading import read_parquet

        path = run.folder / CELLS_FILE
        if not path.is_file():
            return None
        cells = read_parquet(path)
        sizes = cells[list(CELL_COLUMNS)].iloc[concept].to_numpy(np.float64)
        shares = cells[list(SHARE_COLUMNS)].iloc[concept].to_numpy(np.float64)
        group = pd.DataFrame(
            {
                name: pd.to_numeric(rows[name], errors="coerce").to_numpy(np.float64)
                if name in rows
                else np.full(len(rows), missing)
                for name, missing in (("stratum", 0.0), ("n_stratum", np.nan))
            }
        )
        strata_sizes, strata = design_of(group, float(sizes.sum()))
        if concept not in self._marks:
            of_concept = self.rows.loc[self.rows["concept"] == run.record.concepts[concept], "key"]
            self._marks[concept] = run.keys_with(concept, of_concept.tolist())
        named, tagged = self._marks[concept]
        places = [
            (0 if key in named else 2) if key in tagged else (1 if key in named else 3)
            for key in rows["key"]
        ]
        sample = JudgedSample(
            sizes=sizes, predicted=shares, cells=np.array(places, dtype=np.int64), present=yes,
            strata=strata, stratum_sizes=strata_sizes,
        )  # fmt: skip
        count = count_judged(sample, level=run.record.level, seed=concept)
        value, low, high = count.image
        return Estimate(
            what="images that show it", value=value, low=low, high=high, share=False,
            n=count.n_judged, n_yes=count.n_present,
        )  # fmt: skip


def _read(path: Path) -> pd.DataFrame:
    """Read a table of questions, all of it as text."""
    from conceptaudit.longtail.review import review_rows
    from conceptaudit.reading import exact_texts, read_parquet

    if path.suffix == ".json":
        return pd.DataFrame([row for _, row in review_rows(path)]).fillna("").astype(str)
    try:
        if path.suffix == ".parquet":
            table = read_parquet(path)
            return table.astype(object).where(table.notna(), "").astype(str)
        return exact_texts(pd.read_csv(path, dtype=str, keep_default_na=False))
    except (OSError, ValueError) as error:
        raise DataError(f"Cannot read --judge {path}: {error}.") from error
