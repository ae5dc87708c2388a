"""Answers of judges: appended and synced one by one, shared by all who judge the same file.

``judge.csv.answers.jsonl`` holds every answer that was ever given, a line each; the last line of a
judge on a question is that judge's answer. ``judge.answered.csv`` is the table with the answers
filled in, written whole after each of them. Where judges disagree the question stays open.
"""

from __future__ import annotations

import fcntl
import json
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from conceptaudit.artifacts import digest_of, write_csv
from conceptaudit.errors import ConfigError, DataError
from conceptaudit.store.outputs import OutputFile, staged

YES, NO, UNSURE, UNDO = "yes", "no", "unsure", "undo"
ANSWERS = (YES, NO, UNSURE)

LEASE = 120.0
"""Seconds for which a question that somebody looks at is given to nobody else."""

KIND = "answers"


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One thing to be judged."""

    id: str  # digest of what is asked: answers find it in a table of another order
    place: int  # row of the table
    concept: str
    given: str = ""  # answer that the table holds already


class AnswerBook:
    """The answers to a table's questions, as they are on disk."""

    def __init__(
        self,
        path: Path,
        questions: Sequence[Question],
        fill: Callable[[dict[str, str]], pd.DataFrame],
    ) -> None:
        self.path = path
        self.questions = list(questions)
        self.log = path.with_name(f"{path.name}.answers.jsonl")
        self.filled = path.with_name(f"{path.stem}.answered.csv")
        self._fill = fill
        self._lock = threading.RLock()
        self._read_to = 0
        self._place = {question.id: i for i, question in enumerate(self.questions)}
        self._answers: dict[str, dict[str, str]] = {}
        self._order: dict[str, list[str]] = {}
        self._leases: dict[str, tuple[str, float]] = {}
        self._output = OutputFile(path=self.filled, kind=KIND)
        with self._held():
            self._output.check()
            self._write()

    @contextmanager
    def _held(self) -> Iterator[int]:
        """Hold the log against other threads and servers, and take in what they wrote."""
        with self._lock:
            try:
                file = os.open(self.log, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
            except OSError as error:
                raise ConfigError(
                    f"Answers are kept in {self.log}, which cannot be written "
                    f"({error.strerror}): copy {self.path.name} to a folder of yours."
                ) from error
            try:
                fcntl.flock(file, fcntl.LOCK_EX)
                self._take_in(file)
                yield file
            finally:
                os.close(file)

    def _take_in(self, file: int) -> None:
        size = os.fstat(file).st_size
        if size < self._read_to:  # another log than before
            self._read_to = 0
            self._answers.clear()
            self._order.clear()
        data = os.pread(file, size - self._read_to, self._read_to)
        whole, newline, _ = data.rpartition(b"\n")
        for line in whole.split(b"\n") if newline else ():
            self._apply(line)
        self._read_to += len(whole) + len(newline)

    def _apply(self, line: bytes) -> None:
        """Take in one line; one that a kill cut short says nothing."""
        try:
            row = json.loads(line)
            question, judge, answer = str(row["question"]), str(row["judge"]), row["answer"]
        except (ValueError, KeyError, TypeError, RecursionError):
            return
        if question not in self._place:
            return
        if answer == UNDO:
            self._answers.get(question, {}).pop(judge, None)
            if question in self._order.get(judge, []):
                self._order[judge].remove(question)
        elif answer in ANSWERS:
            self._answers.setdefault(question, {})[judge] = answer
            order = self._order.setdefault(judge, [])
            if question in order:
                order.remove(question)
            order.append(question)

    def answer(self, question: str, answer: str, judge: str) -> None:
        """Append an answer, and write the table with all of them; both are on disk on return."""
        if question not in self._place or answer not in (*ANSWERS, UNDO):
            raise DataError("There is no such question, or no such answer.")
        row = {"question": question, "answer": answer, "judge": judge}
        line = json.dumps(row, ensure_ascii=False, sort_keys=True).encode("utf-8", "replace")
        with self._held() as file:
            size = os.fstat(file).st_size
            torn = size > 0 and os.pread(file, 1, size - 1) != b"\n"
            try:
                os.write(file, (b"\n" if torn else b"") + line + b"\n")
                os.fsync(file)
            except OSError as error:
                raise DataError(f"The answer was not saved: {error.strerror}.") from error
            self._take_in(file)
            self._leases.pop(question, None)
            self._write()

    def undo(self, judge: str) -> str | None:
        """Take a judge's last answer back, and return its question; None where there is none."""
        with self._held():
            order = self._order.get(judge, [])
            last = order[-1] if order else None
        if last is not None:
            self.answer(last, UNDO, judge)
            self._lease(last, judge)
        return last

    def _write(self) -> None:
        with staged([self._output]) as files:
            files.about["digest"] = digest_of([self.path.name, sorted(self._agreed().items())])
            write_csv(files[self.filled], self._fill(self._agreed()))

    def _agreed(self) -> dict[str, str]:
        """Answers on which all who judged a question agree; those of the table are kept."""
        agreed = {question.id: question.given for question in self.questions if question.given}
        for question, answers in self._answers.items():
            if answers:
                given = set(answers.values())
                agreed[question] = given.pop() if len(given) == 1 else UNSURE
        return agreed

    def answers(self) -> dict[str, str]:
        """Return the agreed answers by question id, others' taken in."""
        with self._held():
            return self._agreed()

    def disputed(self) -> int:
        """Count the questions that judges answer differently."""
        with self._lock:
            return sum(len(set(answers.values())) > 1 for answers in self._answers.values())

    def judges(self) -> int:
        """Count those who have answered."""
        with self._lock:
            return sum(bool(order) for order in self._order.values())

    def next(self, judge: str) -> Question | None:
        """Return the next open question that nobody else looks at; None where all are answered."""
        now = time.monotonic()
        with self._held():
            agreed = self._agreed()
            waiting = None
            for question in self.questions:
                if question.id in agreed:
                    continue
                holder, since = self._leases.get(question.id, (judge, now))
                if holder == judge or now - since > LEASE:
                    self._lease(question.id, judge)
                    return question
                waiting = waiting or question
            return waiting  # the last ones are better judged twice than not at all

    def question(self, identity: str, judge: str) -> Question | None:
        """Return a question by its id."""
        if identity not in self._place:
            return None
        self._lease(identity, judge)
        return self.questions[self._place[identity]]

    def _lease(self, question: str, judge: str) -> None:
        with self._lock:
            self._leases = {q: held for q, held in self._leases.items() if held[0] != judge}
            self._leases[question] = (judge, time.monotonic())
