"""Sentences before statistics: the numbers in them, and what is left out where there is none."""

import numpy as np
import pandas as pd

from conceptaudit.cli.main import main
from conceptaudit.curves import fit_curve, predict
from conceptaudit.curves.folds import held_out
from conceptaudit.curves.plain_words import fit_sentences, has_interval, prediction_sentences
from conceptaudit.curves.simulated import World, simulate
from conceptaudit.records import ConceptAccuracies, ConceptFrequencies


def curve_of(n_datasets):
    table = simulate(World(n_datasets=n_datasets, count_error=0.0), seed=1)
    counts = table[["dataset", "concept", "count"]].rename(columns={"count": "n_text"})
    scores = ConceptAccuracies(table.assign(model="m", pretraining="", metric="accuracy"))
    return fit_curve(ConceptFrequencies(counts), scores), ConceptFrequencies(counts)


def test_a_fit_in_sentences(quick):
    curve, _ = curve_of(6)
    fit = curve.fits[0]
    ten, missed, explained = fit_sentences(curve, fit)
    line = fit.line
    assert f"{100 * line.slope:+.1f} points" in ten
    assert f"({100 * line.slope_low:+.1f} to {100 * line.slope_high:+.1f})" in ten
    rows, estimator = curve.rows(fit), curve.estimator(fit)
    errors = [
        100 * np.abs(held_out(rows, estimator, s) - rows.y).mean() for s in ("concepts", "datasets")
    ]
    assert f"missed by {errors[0]:.0f} points, of a new set by {errors[1]:.0f}." in missed
    means = curve.points.groupby("dataset")["accuracy"].transform("mean")
    y = curve.points["accuracy"]
    own = 1 - ((y - means) ** 2).sum() / ((y - y.mean()) ** 2).sum()
    assert f"the set itself {own:.0%}" in explained


def test_two_sets_have_no_interval_and_one_no_new_set(quick):
    two, _ = curve_of(2)
    assert not has_interval(two.fits[0].line)
    assert "(no interval: two datasets)" in fit_sentences(two, two.fits[0])[0]
    one, _ = curve_of(1)
    assert "new set" not in " ".join(fit_sentences(one, one.fits[0]))


def test_a_line_per_dataset(quick):
    curve, counts = curve_of(3)
    lines = prediction_sentences(predict(curve, counts))
    assert len(lines) == 3
    assert all(line.startswith(f"set {i:02}: ") for i, line in enumerate(lines))
    zero = ConceptFrequencies(pd.DataFrame({"concept": list("abcd"), "n_text": [0, 0, 0, 9]}))
    [line] = prediction_sentences(predict(curve, zero))
    assert "75% of these classes have count 0: only their names tell them apart" in line
    assert line.startswith("all classes: 4 classes, mean ")


def test_the_verbs_speak_first_and_name_what_is_dropped(tmp_path, capsys, quick):
    table = simulate(World(n_datasets=3, count_error=0.0), seed=2)
    counts = table[["dataset", "concept", "count"]].rename(columns={"count": "n_text"})
    counts = counts.astype({"n_text": "Int64"})
    counts.loc[counts["dataset"] == "set 01", "n_text"] = pd.NA
    counts.iloc[3:].to_csv(tmp_path / "n.csv", index=False)
    table.assign(model="m").drop(columns=["count", "true_count"]).to_csv(tmp_path / "a.csv")
    call = ["fit", str(tmp_path / "n.csv"), "-a", str(tmp_path / "a.csv")]
    assert main([*call, "-o", str(tmp_path / "curve"), "--figures"]) == 0
    shown = capsys.readouterr().out
    assert shown.index("Ten times more examples go with") < shown.index("slope per decade")
    assert "no frequency for 3 classes of set 00, such as concept 0" in shown
    assert "n_text missing in set 01" in shown
    asked = ["predict", str(tmp_path / "curve"), "-f", str(tmp_path / "n.csv")]
    assert main(asked) == 0
    assert "set 02: " in capsys.readouterr().out.splitlines()[-1]
