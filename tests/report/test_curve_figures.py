"""Figures are written whole, in the format asked for, and say the numbers."""

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from conceptaudit.curves import binned, fit_curve, intervals, model_fitting
from conceptaudit.errors import ConfigError, DataError
from conceptaudit.records import ConceptAccuracies, ConceptFrequencies
from conceptaudit.report import curve_figures
from conceptaudit.report.curve_figures import draw_curve


def curve_of(n_models=1, n_datasets=2, **options):
    rng = np.random.default_rng(0)
    n = 30 * n_datasets
    names = [f"class {i}" for i in range(n)]
    counts = np.floor(10 ** rng.uniform(0, 4, n)) - 1
    dataset = np.repeat([f"set {i}" for i in range(n_datasets)], 30)
    scores = [
        {
            "model": f"model ${i}",
            "pretraining": "",
            "dataset": dataset[j],
            "concept": names[j],
            "n_correct": pd.NA,
            "n_images": pd.NA,
            "accuracy": min(1.0, 0.1 * np.log10(1 + counts[j]) + rng.random() / 2),
            "metric": "accuracy",
        }
        for i in range(n_models)
        for j in range(n)
    ]
    frequencies = ConceptFrequencies(pd.DataFrame({"concept": names, "n_text": counts}), "my $run")
    return fit_curve(frequencies, ConceptAccuracies(pd.DataFrame(scores)), **options)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(intervals, "N_RESAMPLES", 50)
    monkeypatch.setattr(model_fitting, "N_SHUFFLES", 19)
    monkeypatch.setattr(binned, "N_SHUFFLES", 20)


def test_png(tmp_path):
    path = draw_curve(curve_of(), tmp_path / "new" / "curve.png")
    assert path.read_bytes().startswith(b"\x89PNG")


def test_svg_says_the_numbers(tmp_path):
    curve = curve_of()
    text = draw_curve(curve, tmp_path / "curve.svg").read_text()
    fit = curve.fits[0]
    for expected in (
        f"{fit.usage.n_used:,} concepts used, {fit.usage.n_zero:,} with frequency zero",
        f"slope {fit.line.slope:+.3f} per decade",
        f"r per concept {fit.line.r:.2f}",
        f"r of bin means {fit.binned.r:.2f}",
        "set 0",
        "set 1",
    ):
        assert expected in text


def test_the_same_curve_gives_the_same_bytes(tmp_path):
    curve = curve_of()
    one, two = (draw_curve(curve, tmp_path / f"{i}.svg").read_bytes() for i in range(2))
    assert one == two


@pytest.mark.parametrize(
    "options", [{"zero_policy": "exclude"}, {"family": "paper"}, {"level": 0.5}], ids=str
)
def test_every_policy_and_family_can_be_drawn(options, tmp_path):
    assert draw_curve(curve_of(**options), tmp_path / "curve.png").stat().st_size > 10_000


def test_more_models_than_panels_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr(curve_figures, "MAX_PANELS", 3)
    text = draw_curve(curve_of(n_models=4, n_datasets=1), tmp_path / "curve.svg").read_text()
    assert "3 of 4 models shown" in text


def test_other_endings_are_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"must end in one of .* Got 'curve.docx' instead"):
        draw_curve(curve_of(), tmp_path / "curve.docx")


def test_a_folder_that_cannot_be_written_to(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="Cannot write"):
        draw_curve(curve_of(), tmp_path / "file" / "curve.png")


def test_drawing_never_touches_pyplot():
    code = (
        "import sys, conceptaudit.report.curve_figures as c; assert 'matplotlib' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
