"""Scale as a covariate: a planted change of slopes, published models, and what predictions take."""

import numpy as np
import pandas as pd
import pytest

from conceptaudit.cli.main import main
from conceptaudit.curves import Curve, fit_curve, predict
from conceptaudit.curves.reference import reference_accuracies
from conceptaudit.errors import ConfigError
from conceptaudit.frequency.reference import reference_frequencies
from conceptaudit.records import ConceptAccuracies
from conceptaudit.zeroshot.model_scale import model_scales

SIZES = {"S": 1e7, "M": 1e8, "L": 1e9, "XL": 1e10}
SLOPES = dict(zip(SIZES, (0.08, 0.06, 0.04, 0.02), strict=True))
PARAMETERS = {
    "ViT-B-32": 151_277_313, "ViT-B-16": 149_620_737, "ViT-L-14": 427_616_513,
    "ViT-H-14": 986_109_441, "ViT-g-14": 1_366_678_273, "ViT-bigG-14": 2_539_567_105,
}  # fmt: skip


@pytest.fixture(scope="module")
def world(make_frequencies, make_accuracies, quick_module):
    """Four models, six sets: 2 points of slope less and 5 of level more for a tenfold model."""
    rng = np.random.default_rng(0)
    names = [f"thing {i}" for i in range(240)]
    sets = np.repeat([f"set {i}" for i in range(6)], 40)
    x = rng.uniform(0.5, 4.0, 240)
    counts = np.round(10**x - 1)
    centred = x - pd.Series(x).groupby(sets).transform("mean").to_numpy()
    hard = rng.normal(0, 0.03, 240)
    parts = [
        make_accuracies(
            np.clip(0.3 + 0.05 * step + slope * centred + hard, 0, 1),
            names,
            dataset=sets,
            model=model,
        ).table
        for step, (model, slope) in enumerate(SLOPES.items())
    ]
    return make_frequencies(counts, names, dataset=sets), parts


def fitted(world, models) -> Curve:
    frequencies, parts = world
    chosen = pd.concat([part for part in parts if part["model"].iloc[0] in models])
    scales = ("parameters", {(name, ""): size for name, size in SIZES.items()})
    return fit_curve(frequencies, ConceptAccuracies(chosen), scales=scales)


def test_a_planted_change_is_found_and_kept(world, tmp_path):
    scale = fitted(world, SIZES).scale
    assert scale.change == pytest.approx(-0.02, abs=0.001)
    assert scale.change_low <= -0.02 <= scale.change_high
    assert scale.change_high < 0
    assert scale.level_changes == pytest.approx([0.05] * 6, abs=0.001)
    assert "-2.0 points of slope" in scale.sentence
    assert "over 4 models" in scale.sentence
    fitted(world, SIZES).save(tmp_path / "curve.json")
    assert Curve.load(tmp_path / "curve.json").scale == scale


def test_a_larger_model_does_not_take_a_smaller_ones_slope(world):
    frequencies, parts = world
    curve = fitted(world, ["S", "M", "L"])
    truth = parts[-1]["accuracy"].to_numpy()
    asked = predict(curve, frequencies, covariate=1e10)
    nearest = predict(curve, frequencies, model="L", same_model=False)
    assert np.abs(asked["accuracy"] - truth).mean() < 0.03
    assert np.abs(nearest["accuracy"] - truth).mean() > 0.05
    assert asked["basis"].str.contains("moved from parameters 1e").all()
    with pytest.raises(ConfigError, match="above 0"):
        predict(curve, frequencies, covariate=-1.0)


def test_what_no_covariate_is(world, quick):
    frequencies, parts = world
    with pytest.raises(ConfigError, match="at least 3 different"):
        fitted(world, ["S", "M"])
    with pytest.raises(ConfigError, match="S/accuracy has none"):
        fit_curve(frequencies, ConceptAccuracies(parts[0]), scales=("parameters", {}))
    plain = fit_curve(frequencies, ConceptAccuracies(parts[0]))
    with pytest.raises(ConfigError, match="fitted with one"):
        predict(plain, frequencies, covariate=1e9)


def test_slopes_of_published_models_fall_with_their_size(quick):
    """LAION-2B's six models, counts by clip-beyond-tail, the five sets that both have."""
    frequencies, table = reference_frequencies("laion2b"), reference_accuracies("laion2b").table
    scales = ("parameters", {(name, "laion2b"): float(n) for name, n in PARAMETERS.items()})
    scale = fit_curve(frequencies, ConceptAccuracies(table), scales=scales).scale
    by_size = [slope for _, slope in sorted(zip(scale.scales, scale.slopes, strict=True))]
    assert by_size[0] > 0.03
    assert by_size[-1] < 0.01
    assert scale.change == pytest.approx(-0.023, abs=0.002)


def test_scales_of_models_are_looked_up(tmp_path, world, quick, capsys):
    assert model_scales("parameters", [("ViT-B/32", "openai")]) == {
        ("ViT-B/32", "openai"): PARAMETERS["ViT-B-32"]
    }
    assert (
        model_scales("samples_seen", [("m", "laion2b_s34b_b88k")])["m", "laion2b_s34b_b88k"] == 34e9
    )
    for covariate, model in (("samples_seen", "m"), ("parameters", "no-net"), ("depth", "m")):
        with pytest.raises(ConfigError, match="--covariate"):
            model_scales(covariate, [(model, "openai")])
    frequencies, parts = world
    frequencies.table.to_csv(tmp_path / "counts.csv", index=False)
    scores = pd.concat(parts).drop(columns=["n_correct", "n_images"])
    scores.assign(width=scores["model"].map(SIZES)).to_csv(tmp_path / "scores.csv", index=False)
    command = ["fit", str(tmp_path / "counts.csv"), "-a", str(tmp_path / "scores.csv")]
    options = ["--covariate", "width", "--law", "1", "-o", str(tmp_path / "curve")]
    assert main([*command, *options]) == 0
    shown = capsys.readouterr().out
    assert "Ten times more width go with -2.0 points of slope" in shown
    assert "artificial law" in shown
    command = ["predict", str(tmp_path / "curve"), "-f", str(tmp_path / "counts.csv")]
    assert main([*command, "--covariate", "1e11", "-o", str(tmp_path / "out.csv")]) == 0
    assert pd.read_csv(tmp_path / "out.csv")["basis"].str.contains("moved from width 1e").all()
