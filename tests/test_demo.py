"""The demo as one run: every step in order, small, and what it leaves can be used."""

from pathlib import Path

import pytest

from conceptaudit import read_accuracies, read_frequencies
from conceptaudit.demo import DemoSize, run_demo
from conceptaudit.errors import ArtifactMismatchError
from conceptaudit.validation import validate

pytestmark = pytest.mark.slow  # a minute: models are loaded and evaluated on every concept


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("demo") / "demo"
    size = DemoSize(n_samples=600, n_pool=300, per_concept=1)
    result = run_demo(folder, size=size, workers=1)
    assert result.report.is_file()
    assert len(result.held_out) > 50
    return folder


def test_it_is_a_finished_run_whose_every_file_is_bound(demo):
    checked = validate(demo)
    assert checked.faults == ()
    assert checked.n_records > 0  # those of the runs inside


def test_its_tables_can_be_read_by_the_next_command(demo, tmp_path):
    assert len(read_frequencies(demo / "audit").table) > 300
    assert len(read_accuracies(demo / "accuracies.csv").table) > 300


@pytest.mark.parametrize("name", ["predictions.csv", "audit/frequencies.csv"])
def test_a_changed_table_is_found(demo, name):
    table = demo / name
    before = table.read_bytes()
    try:
        table.write_bytes(before + b"\n")
        assert [fault.file for fault in validate(demo).faults] == [name]
    finally:
        table.write_bytes(before)


def test_it_is_replaced_only_when_asked(demo):
    with pytest.raises(ArtifactMismatchError, match="--overwrite"):
        run_demo(demo, size=DemoSize(n_samples=600, n_pool=300, per_concept=1), workers=1)
