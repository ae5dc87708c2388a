"""Counts measured against the simulator's truth, and the verdict that the page gives."""

from pathlib import Path

import pandas as pd
import pytest

from conceptaudit.auditing import audit
from conceptaudit.errors import DataError
from conceptaudit.lab import LabConfig, generate, lab_vocabulary
from conceptaudit.report import write_report
from conceptaudit.report.inputs import read_run
from conceptaudit.report.truth import TruthComparison, measure


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("lab")
    config = LabConfig(
        seed=5, n_samples=120, shard_size=60, image_size=48, n_concepts=40, max_objects=2,
        empty_caption_rate=0.05, truncated_rate=0.05, link_rot_rate=0.05,
    )  # fmt: skip
    generate(config, folder / "set")
    audit(folder / "set", lab_vocabulary(config), folder / "run")
    return folder / "set", folder / "run"


def test_true_counts_are_those_an_auditor_could_find(lab: tuple[Path, Path]) -> None:
    from conceptaudit.lab import true_frequencies

    [text] = measure(read_run(lab[1]), lab[0] / "truth.parquet")
    expected = true_frequencies(lab[0]).table.set_index("concept")["n_text"]
    assert text.table.set_index("concept")["true"].to_dict() == expected.to_dict()
    assert text.tags is not None
    assert text.tags.n_true == expected.sum()
    assert text.tags.n_tags == text.table["counted"].sum()
    assert text.tags.precision > 0.9
    assert text.tags.recall > 0.9


def test_the_page_compares_with_truth(lab: tuple[Path, Path], tmp_path: Path) -> None:
    out = write_report(tmp_path / "r.html", run=lab[1], dataset=lab[0], truth=lab[0])
    page = out.read_text("utf-8")
    assert "Caption counts are" in page
    assert 'id="truth-captions"' in page
    assert "truth-images" not in page


def compared(true: list[int], counted: list[int]) -> TruthComparison:
    names = [str(i) for i in range(len(true))]
    table = pd.DataFrame({"concept": names, "true": true, "counted": counted})
    return TruthComparison(column="n_text", table=table, tags=None)


def test_numbers_counted_by_hand() -> None:
    one = compared([100, 10, 10, 4, 0, 0], [109, 20, 5, 0, 3, 0])
    assert (one.n_occurring, one.n_within_tenth, one.n_missed, one.n_invented) == (4, 1, 1, 1)
    assert one.typical_factor == pytest.approx(2.0)
    assert compared([1, 2, 3], [2, 4, 9]).rank_correlation == pytest.approx(1.0)
    assert compared([1, 2], [2, 2]).rank_correlation != compared([1, 2], [2, 2]).rank_correlation


@pytest.mark.parametrize(
    ("counted", "verdict"),
    [([100, 100, 100, 100], "good"), ([100, 100, 50, 50], "mixed"), ([100, 9, 50, 50], "poor")],
)
def test_the_verdict_is_as_plain_when_bad(counted: list[int], verdict: str) -> None:
    from conceptaudit.report.sections.truth import truth_section

    body = truth_section([compared([100] * 4, counted)]).body
    assert f"Caption counts are {verdict}" in body
    assert ("Do not read these counts as numbers" in body) is (verdict == "poor")


def test_the_truth_of_something_else(lab: tuple[Path, Path], tmp_path: Path) -> None:
    audit(lab[0], ["quasar"], tmp_path / "run")
    with pytest.raises(DataError, match="knows none of the 1 audited concept"):
        measure(read_run(tmp_path / "run"), lab[0] / "truth.parquet")


def test_a_table_that_is_no_truth(lab: tuple[Path, Path], tmp_path: Path) -> None:
    pd.DataFrame({"key": ["a"], "text": ["b"]}).to_parquet(tmp_path / "t.parquet")
    with pytest.raises(DataError, match="not the truth of a generated dataset"):
        measure(read_run(lab[1]), tmp_path / "t.parquet")
