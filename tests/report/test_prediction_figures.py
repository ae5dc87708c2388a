"""Figures that judge predictions draw what the tables say."""

import numpy as np
import pytest

from conceptaudit.curves.cross_validation import calibration_table, held_out_predictions
from conceptaudit.errors import ConfigError, DataError
from conceptaudit.report import prediction_figures
from conceptaudit.report.prediction_figures import (
    draw_calibration,
    draw_predicted,
    draw_residuals,
)

from .test_curve_figures import curve_of


@pytest.fixture(scope="module")
def tables():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("conceptaudit.curves.intervals.N_RESAMPLES", 50)
        patch.setattr("conceptaudit.curves.model_fitting.N_SHUFFLES", 19)
        patch.setattr("conceptaudit.curves.binned.N_SHUFFLES", 20)
        curve = curve_of(n_models=2, n_datasets=3)
        return (
            held_out_predictions(curve, n_folds=2),
            calibration_table(curve, levels=(0.5, 0.9), n_folds=2),
        )


def test_predicted_against_observed(tables, tmp_path):
    held, _ = tables
    text = draw_predicted(held, tmp_path / "p.svg").read_text()
    rows = held[held["model"] == held["model"].iloc[0]]
    error = rows["residual"].abs().mean()
    residual, total = (rows["residual"] ** 2).sum(), rows["accuracy"].var(ddof=0) * len(rows)
    assert f"mean error {100 * error:.1f} points, R² {1 - residual / total:.2f}" in text
    assert f"{len(rows):,} concepts" in text
    for name in ("set 0", "set 1", "set 2"):
        assert name in text


def test_residuals(tables, tmp_path):
    held, _ = tables
    assert "mean and 90 % of the residuals" in draw_residuals(held, tmp_path / "r.svg").read_text()
    no_zero = held[held["count"] > 0]
    assert draw_residuals(no_zero, tmp_path / "r.png").stat().st_size > 10_000


def test_calibration_names_every_dataset(tables, tmp_path):
    _, coverage = tables
    text = draw_calibration(coverage, tmp_path / "c.svg").read_text()
    for name in ("set 0 (30)", "set 1 (30)", "set 2 (30)", "intervals of 90%"):
        assert name in text


def test_the_same_tables_give_the_same_bytes(tables, tmp_path):
    held, coverage = tables
    for draw, table in (
        (draw_predicted, held),
        (draw_residuals, held),
        (draw_calibration, coverage),
    ):
        one, two = (draw(table, tmp_path / f"{i}.svg").read_bytes() for i in range(2))
        assert one == two


def test_more_models_than_panels_is_said(tables, tmp_path, monkeypatch):
    monkeypatch.setattr(prediction_figures, "MAX_MODELS", 1)
    assert "1 of 2 models shown" in draw_predicted(tables[0], tmp_path / "p.svg").read_text()


def test_nothing_to_draw(tables, tmp_path):
    held, coverage = tables
    with pytest.raises(DataError, match="no held-out prediction"):
        draw_predicted(held.assign(predicted=np.nan), tmp_path / "p.png")
    with pytest.raises(DataError, match=r"at level 0\.8"):
        draw_calibration(coverage, tmp_path / "c.png", level=0.8)
    with pytest.raises(ConfigError, match="must end in one of"):
        draw_predicted(held, tmp_path / "p.gif")
