"""Two counts at once, counts without copies, and controls, from the command line."""

import numpy as np
import pandas as pd
import pytest

from conceptaudit.cli.main import main
from conceptaudit.counts import choose_count, counts_of
from conceptaudit.curves import Curve
from conceptaudit.errors import ConfigError
from conceptaudit.records import ConceptFrequencies


@pytest.fixture(scope="module")
def files(tmp_path_factory, quick_module):
    """Accuracy follows the mean of two counts' decades; image counts without copies are halves."""
    folder = tmp_path_factory.mktemp("two")
    rng = np.random.default_rng(0)
    n = 300
    names = [f"class {i}" for i in range(n)]
    text, image = np.round(10 ** rng.uniform(0, 4, (2, n)))
    x = (np.log10(1 + text) + np.log10(1 + image)) / 2
    counts = {"n_text": text, "n_image": image, "n_image_unique": np.round(image / 2)}
    frame = pd.DataFrame({"concept": names, **counts}).astype(dict.fromkeys(counts, int))
    frame.to_csv(folder / "counts.csv", index=False)
    accuracy = np.clip(0.1 + 0.15 * x + rng.normal(0, 0.05, n), 0, 1)
    scores = pd.DataFrame({"model": "m", "dataset": "zoo", "concept": names, "accuracy": accuracy})
    scores.to_csv(folder / "scores.csv", index=False)
    hits = pd.DataFrame({"sample_id": range(300), "concept": names})
    hits[text > 5].to_csv(folder / "hits.csv", index=False)
    hits[["sample_id"]].head(100).to_csv(folder / "similar.csv", index=False)
    return folder


def fit(files, *options):
    command = ["fit", str(files / "counts.csv"), "-a", str(files / "scores.csv"), "--overwrite"]
    assert main([*command, *options, "-o", str(files / "curve")]) == 0
    return Curve.load(files / "curve")


def test_two_counts_at_once_say_whether_they_help(files, capsys):
    curve = fit(files, "--count", "text+image")
    assert curve.count == "n_text+n_image"
    assert curve.fits[0].line.slope == pytest.approx(0.15, abs=0.01)
    assert "n_text+n_image earns its place" in capsys.readouterr().out
    for verb in (["predict"], ["plan", "--target", "0.6"]):
        command = [verb[0], str(files / "curve"), "-f", str(files / "counts.csv"), *verb[1:]]
        assert main([*command, "-o", str(files / f"{verb[0]}.csv")]) == 0
    counts = pd.read_csv(files / "predict.csv").set_index("concept")["count"]
    table = pd.read_csv(files / "counts.csv").set_index("concept")
    expected = np.sqrt((1 + table["n_text"]) * (1 + table["n_image"])) - 1
    assert counts.to_numpy() == pytest.approx(expected.to_numpy())


def test_counts_without_copies_are_fitted(files):
    curve = fit(files, "--count", "image_unique")
    assert curve.count == "n_image_unique"
    assert curve.points["count"].max() <= 5000


def test_controls_stand_beside_the_slope(files, capsys):
    lists = ["--without", str(files / "hits.csv"), "--without", str(files / "similar.csv")]
    line = fit(files, "--count", "text", *lists, "--law", "1").fits[0].line
    shown = capsys.readouterr().out
    assert "Without the samples left out, the slope of m/accuracy is" in shown
    assert f"with all counts {line.slope:+.4f}" in shown
    drawn = shown.partition("rank ** -1, the slope of m/accuracy is ")[2]
    assert abs(float(drawn.split()[0])) < 0.5 * line.slope


def test_counts_that_are_not_there_are_named(files):
    counts = ConceptFrequencies(pd.read_csv(files / "counts.csv"))
    assert choose_count(counts, "text+image_unique").column == "n_text+n_image_unique"
    assert len(counts_of(counts, "n_text+n_image_unique")) == 300
    for count in ("text+joint", "text+text", "joint_unique"):
        with pytest.raises(ConfigError, match="--count must be"):
            choose_count(counts, count)
