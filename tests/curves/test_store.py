"""A curve survives its file, and a file that is not a curve is named as such."""

import dataclasses
import json
import math

import numpy as np
import pytest

from conceptaudit.curves import Curve, fit_curve, predict
from conceptaudit.errors import DataError


@pytest.fixture(scope="module")
def curve(make_frequencies, make_accuracies, quick_module):
    names = ["yak", "émeu", "猫", "x-ray", "NA", "null"]
    counts = make_frequencies([0, 9, 99, 999, 9999, 5], names, source="run")
    scores = make_accuracies(
        [0.1, 0.25, 0.3, 0.35, 0.5, 0.2, 0.7],
        [*names, "lost"],
        dataset=["a", "a", "a", "b", "b", "b", "b"],
    )
    return fit_curve(counts, scores)


def test_round_trip(curve, make_frequencies, tmp_path):
    curve.save(tmp_path / "curve.json")
    for path in (tmp_path / "curve.json", tmp_path, str(tmp_path)):
        again = Curve.load(path)
        assert repr(again) == repr(curve)  # NaN equals NaN here
        assert again.points.equals(curve.points)
        assert again.unmatched.to_numpy().tolist() == curve.unmatched.to_numpy().tolist()
        query = make_frequencies([0, 50, 10**9], dataset=["a", "b", "c"])
        assert predict(again, query).equals(predict(curve, query))
        assert again.table.equals(curve.table)


def test_saving_twice_gives_the_same_bytes(curve, tmp_path):
    curve.save(tmp_path / "one.json")
    Curve.load(tmp_path / "one.json").save(tmp_path / "two.json")
    assert (tmp_path / "one.json").read_bytes() == (tmp_path / "two.json").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one.json", "two.json"]


def test_undefined_numbers_are_null_and_come_back_undefined(
    make_frequencies, make_accuracies, quick, tmp_path
):
    curve = fit_curve(make_frequencies([1, 10, 100]), make_accuracies([0.3] * 3))
    curve.save(tmp_path / "curve.json")
    text = (tmp_path / "curve.json").read_text()
    assert "NaN" not in text
    assert json.loads(text)["fits"][0]["line"]["r"] is None
    assert math.isnan(Curve.load(tmp_path).fits[0].line.r)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema": "other"}, "is not a curve"),
        ({"schema_version": 99}, "schema version 99; this program reads version 3"),
        ({"fits": [{}]}, "damaged curve"),
        ({"fits": None}, "damaged curve"),
        ({"points": [{"concept": [99], "accuracy": [0.1]}]}, "damaged curve"),
        ({"concepts": {}}, "damaged curve"),
        ({"points": [{"concept": [-1], "accuracy": [0.1]}]}, "damaged curve"),
        ({"level": "0.9"}, "damaged curve"),
        ({"seed": None}, "damaged curve"),
    ],
)
def test_other_files_are_refused(change, message, curve, tmp_path):
    path = tmp_path / "curve.json"
    curve.save(path)
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(DataError, match=message):
        Curve.load(path)


@pytest.mark.parametrize("text", ["", "[1]", "{", "[" * 100_000])
def test_files_that_are_not_json_objects_are_refused(text, tmp_path):
    path = tmp_path / "curve.json"
    path.write_text(text)
    with pytest.raises(DataError, match=r"curve\.json"):
        Curve.load(path)


def test_a_missing_curve_is_named(tmp_path):
    with pytest.raises(DataError, match=r"no curve at .*conceptaudit fit"):
        Curve.load(tmp_path)


def test_a_folder_that_cannot_be_written_to(curve, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="Cannot write"):
        curve.save(tmp_path / "file" / "curve.json")


def test_records_are_frozen(curve):
    with pytest.raises(dataclasses.FrozenInstanceError):
        curve.level = 0.5
    assert np.isfinite(curve.fits[0].effects.slope_between)
