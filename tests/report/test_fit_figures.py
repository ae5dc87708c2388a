"""Figures that take a fit apart say their numbers and are the same for the same curve."""

import pytest

from conceptaudit.errors import ConfigError
from conceptaudit.report import fit_figures
from conceptaudit.report.fit_figures import draw_datasets, draw_slopes

from .test_curve_figures import curve_of, quick  # noqa: F401 -- a fixture


def test_every_dataset_has_a_panel(tmp_path):
    curve = curve_of(n_datasets=5)
    text = draw_datasets(curve, tmp_path / "datasets.svg").read_text()
    for one in curve.fits[0].effects.slopes:
        assert one.dataset in text
        assert f"n {one.n:,}, {one.slope:+.3f} per decade" in text


def test_every_slope_is_in_the_forest(tmp_path):
    curve = curve_of(n_models=2, n_datasets=4)
    text = draw_slopes(curve, tmp_path / "slopes.svg").read_text()
    effects = curve.fits[1].effects
    for expected in ("within datasets", "between datasets", "curve of all", "set 3 (30)"):
        assert expected in text
    assert f"{effects.n_negative} of {effects.n_sloped} negative" in text


def test_one_dataset(tmp_path):
    curve = curve_of(n_datasets=1)
    assert draw_datasets(curve, tmp_path / "a.png").stat().st_size > 5_000
    assert draw_slopes(curve, tmp_path / "b.pdf").stat().st_size > 2_000


def test_more_models_than_fit_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr(fit_figures, "MAX_MODELS", 2)
    assert (
        "2 of 3 models shown" in draw_slopes(curve_of(n_models=3), tmp_path / "s.svg").read_text()
    )


@pytest.mark.parametrize("draw", [draw_datasets, draw_slopes])
def test_the_same_curve_gives_the_same_bytes(draw, tmp_path):
    curve = curve_of()
    for ending in (".svg", ".pdf"):
        one, two = (draw(curve, tmp_path / f"{i}{ending}").read_bytes() for i in range(2))
        assert one == two


def test_an_unknown_model(tmp_path):
    with pytest.raises(ConfigError, match="must name a model of the curve"):
        draw_datasets(curve_of(), tmp_path / "d.png", model="other")


def test_all_figures_are_those_that_the_verb_names(tmp_path, quick):  # noqa: F811 -- the fixture
    from conceptaudit.report.figures import FILES, draw_all

    drawn = draw_all(curve_of(n_datasets=2), tmp_path)
    assert sorted(drawn) == sorted(FILES) == sorted(p.name for p in tmp_path.iterdir())
