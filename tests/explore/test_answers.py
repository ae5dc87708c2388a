"""Answers are kept one by one, shared, and read by what asked for them."""

import multiprocessing
from pathlib import Path

import pandas as pd
import pytest

from conceptaudit.auditing import correct, draw_sample
from conceptaudit.auditing.judged_run import read_judged
from conceptaudit.errors import ArtifactMismatchError, ConfigError
from conceptaudit.explore.answers import AnswerBook, Question
from conceptaudit.explore.opened import OpenRun
from conceptaudit.explore.queues import Queue


def questions(n: int) -> list[Question]:
    return [Question(id=f"q{i}", place=i, concept="dog") for i in range(n)]


def fill(answers: dict[str, str]) -> pd.DataFrame:
    return pd.DataFrame({"question": list(answers), "answer": list(answers.values())})


def book(path: Path, n: int = 20) -> AnswerBook:
    return AnswerBook(path, questions(n), fill)


def judge_many(path: Path, judge: str, first: int, n: int) -> None:
    one = book(path, 40)
    for i in range(first, first + n):
        one.answer(f"q{i}", "yes", judge)


class TestTheBook:
    def test_two_processes_lose_nothing(self, tmp_path: Path) -> None:
        path = tmp_path / "judge.csv"
        context = multiprocessing.get_context("spawn")
        both = [
            context.Process(target=judge_many, args=(path, name, first, 20))
            for name, first in (("ann", 0), ("bob", 20))
        ]
        for one in both:
            one.start()
        for one in both:
            one.join(60)
        assert len(book(path, 40).answers()) == 40
        assert len(pd.read_csv(tmp_path / "judge.answered.csv")) == 40

    def test_a_line_cut_short_by_a_kill_costs_one_answer(self, tmp_path: Path) -> None:
        path = tmp_path / "judge.csv"
        book(path).answer("q0", "yes", "ann")
        log = tmp_path / "judge.csv.answers.jsonl"
        log.write_bytes(log.read_bytes() + b'{"answer": "no", "judge": "a')
        again = book(path)
        assert again.answers() == {"q0": "yes"}
        again.answer("q1", "no", "ann")
        assert book(path).answers() == {"q0": "yes", "q1": "no"}

    def test_two_judges_are_asked_different_questions(self, tmp_path: Path) -> None:
        one = book(tmp_path / "j.csv", 2)
        first, second = one.next("ann"), one.next("bob")
        assert (first.id, second.id) == ("q0", "q1")
        assert one.next("ann").id == "q0"
        assert one.next("eve").id == "q0"  # the last ones are judged twice rather than not at all

    def test_who_disagrees_leaves_it_open(self, tmp_path: Path) -> None:
        one = book(tmp_path / "j.csv")
        one.answer("q0", "yes", "ann")
        one.answer("q0", "no", "bob")
        assert one.answers() == {"q0": "unsure"}
        assert one.disputed() == 1
        assert one.undo("bob") == "q0"
        assert one.answers() == {"q0": "yes"}
        assert one.undo("bob") is None

    def test_a_file_of_somebody_is_left_alone(self, tmp_path: Path) -> None:
        (tmp_path / "j.answered.csv").write_text("mine\n1\n")
        with pytest.raises(ArtifactMismatchError):
            book(tmp_path / "j.csv")
        assert (tmp_path / "j.answered.csv").read_text() == "mine\n1\n"


class TestTheQueue:
    @pytest.fixture
    def queue(self, copied: Path, audited, tmp_path: Path) -> Queue:
        table, _ = draw_sample(copied, budget=20, concepts=["dog"])
        table.to_csv(tmp_path / "judge.csv", index=False)
        return Queue(tmp_path / "judge.csv", [OpenRun(copied, "run")], None)

    def test_what_it_writes_is_read_and_counts_as_it_said(self, queue: Queue, copied: Path) -> None:
        for i, question in enumerate(queue.book.questions):
            answer = ("yes", "no", "unsure")[i % 3]
            queue.book.answer(question.id, answer, "ann")
            if answer != "unsure":
                estimate = queue.estimate("dog")
        judged = read_judged(queue.book.filled, list(queue.run.record.concepts))
        assert len(judged.table) == 14
        assert judged.n_open == 6
        table, _ = correct(copied, queue.book.filled)
        row = table[table["concept"] == "dog"].iloc[0]
        assert estimate.n == row["n_image_judged_sample"] == 14
        assert estimate.n_yes == row["n_image_judged_shown"] == 7
        assert (estimate.value, estimate.low, estimate.high) == pytest.approx(
            (row["n_image_judged"], row["n_image_judged_low"], row["n_image_judged_high"])
        )

    def test_every_question_has_its_sample(self, queue: Queue) -> None:
        assert all(queue.row(q)["sample"] is not None for q in queue.book.questions)

    def test_concepts_of_another_run_are_refused(self, copied: Path, tmp_path: Path) -> None:
        pd.DataFrame({"key": ["a"], "concept": ["unicorn"], "present": [""]}).to_csv(
            tmp_path / "other.csv", index=False
        )
        with pytest.raises(ConfigError, match="unicorn"):
            Queue(tmp_path / "other.csv", [OpenRun(copied, "run")], None)
