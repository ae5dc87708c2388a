"""Tables behind the figures of held-out predictions."""

import numpy as np
import pytest

from conceptaudit.curves import fit_curve
from conceptaudit.curves.cross_validation import (
    calibration_table,
    held_out_predictions,
    residual_table,
)
from conceptaudit.errors import ConfigError


@pytest.fixture(scope="module")
def curve(make_frequencies, make_accuracies, quick_module):
    rng = np.random.default_rng(0)
    n = 320
    dataset = np.repeat([f"set {i}" for i in range(8)], 40)
    counts = np.floor(10 ** rng.uniform(0, 4, n))
    level = np.repeat(rng.normal(0, 0.1, 8), 40)
    y = (0.3 + 0.06 * np.log10(1 + counts) + level + rng.normal(0, 0.08, n)).clip(0, 1)
    names = [f"class {i}" for i in range(n)]
    return fit_curve(make_frequencies(counts, names), make_accuracies(y, names, dataset=dataset))


def test_every_concept_is_predicted_from_the_others(curve):
    held = held_out_predictions(curve)
    assert held["concept"].tolist() == curve.points["concept"].tolist()
    assert held["residual"].to_numpy() == pytest.approx(
        (held["accuracy"] - held["predicted"]).to_numpy()
    )
    inside = (held["low"] <= held["accuracy"]) & (held["accuracy"] <= held["high"])
    assert (held["covered"] == inside).all()
    assert 0.85 <= held["covered"].mean() <= 0.95
    assert held["residual"].std() < 0.1


def test_calibration_follows_the_level(curve):
    found = calibration_table(curve, levels=(0.5, 0.8, 0.9))
    assert found.groupby("level")["n"].sum().tolist() == [640, 640, 640]
    overall = found[found["dataset"] == ""].set_index("level")
    for level in (0.5, 0.8, 0.9):
        assert overall.loc[level, "coverage"] == pytest.approx(level, abs=0.06)
    assert overall["mean_width"].is_monotonic_increasing
    assert set(found["dataset"]) == {"", *(f"set {i}" for i in range(8))}


def test_residuals_by_frequency_hold_every_row_once(curve):
    held = held_out_predictions(curve)
    table = residual_table(held)
    assert table["n"].sum() == len(held)
    total = (table["mean"] * table["n"]).sum()
    assert total == pytest.approx(held["residual"].sum())
    assert (table["low"] <= table["high"]).all()


def test_parameters_outside_their_range(curve):
    with pytest.raises(ConfigError, match="'level' parameter"):
        held_out_predictions(curve, level=90)
    with pytest.raises(ConfigError, match="'n_folds' parameter"):
        held_out_predictions(curve, n_folds=1)
    with pytest.raises(ConfigError, match="'bins_per_decade' parameter"):
        residual_table(held_out_predictions(curve), bins_per_decade=0)
