"""Counts of a sample: what is expected of the whole, and slopes that are those of the whole."""

import importlib
import json

import numpy as np
import pandas as pd
import pytest

from conceptaudit.auditing import AuditOptions, audit
from conceptaudit.cli.main import main
from conceptaudit.curves import fit_curve, predict
from conceptaudit.curves.count_errors import expected_counts
from conceptaudit.errors import ConfigError, DataError
from conceptaudit.frequency.readers import read_frequencies, with_share
from conceptaudit.records import ConceptFrequencies


@pytest.fixture
def simulation():
    return importlib.import_module("simulate_sampled")


def test_all_of_the_data_is_what_it_was():
    counts = np.array([0.0, 1.0, 7.0, 120.0, np.nan, 5e6])
    whole = expected_counts(counts, np.zeros(6, dtype=int), 1.0)
    assert whole.count == pytest.approx(counts, nan_ok=True)


@pytest.mark.parametrize("share", [0.001, 0.01, 0.1])
def test_expectations_are_those_of_the_whole(share):
    """Among concepts counted alike, log counts of the whole average to what was expected."""
    rng = np.random.default_rng(1)
    true = np.floor(10 ** rng.normal(3, 1.2, 6_000))
    counted = rng.binomial(true.astype(np.int64), share).astype(float)
    found = expected_counts(counted, np.zeros(6_000, dtype=int), share)
    log, expected = np.log10(1 + true), np.log10(1 + found.count)
    for count in (0, 1, 2, 5, 20):
        alike = counted == count
        if alike.sum() > 30:
            error = log[alike].std() / np.sqrt(alike.sum())
            assert log[alike].mean() == pytest.approx(expected[alike][0], abs=0.06 + 3 * error)
    assert (found.count[counted == 0] > 0).all()
    inside = (found.low <= true) & (true <= found.high)
    assert 0.85 <= inside.mean() <= 0.95
    plenty = counted > 500
    assert found.count[plenty] == pytest.approx(counted[plenty] / share, rel=1e-3)


def test_each_dataset_has_a_density_of_its_own():
    rng = np.random.default_rng(2)
    dataset = np.repeat([0, 1], 400)
    true = np.floor(10 ** (rng.normal(2, 0.7, 800) + 2 * dataset))
    counted = rng.binomial(true.astype(np.int64), 0.01).astype(float)
    found = expected_counts(counted, dataset, 0.01).count
    ones = counted == 1
    assert found[ones & (dataset == 0)][0] < found[ones & (dataset == 1)][0]


@pytest.mark.parametrize(("world", "share"), [("default", 0.01), ("40 % absent", 0.1)])
def test_the_slope_is_that_of_the_whole(simulation, world, share):
    ways = ["whole", "raw", "sampled"]
    runs = [simulation.slopes(simulation.WORLDS[world], share, seed, ways) for seed in range(12)]
    means = {way: np.mean([run[way][0] for run in runs]) for way in ways}
    assert means["raw"] > 1.12 * means["whole"]
    assert means["sampled"] == pytest.approx(means["whole"], rel=0.08)


def test_a_fit_knows_its_share(make_frequencies, make_accuracies, quick):
    rng = np.random.default_rng(3)
    true = np.floor(10 ** rng.normal(3, 1, 300))
    counted = rng.binomial(true.astype(np.int64), 0.01)
    y = np.clip(0.1 + 0.1 * np.log10(1 + true), 0, 1)
    raw, scores = make_frequencies(counted), make_accuracies(y)
    sample = with_share(raw, sampled_from=None, share=0.01)
    curve = fit_curve(sample, scores)
    assert curve.share == 0.01
    assert curve.zero_policy == "hurdle"
    assert curve.fits[0].line.slope == pytest.approx(0.1, abs=0.006)
    assert fit_curve(raw, scores).fits[0].line.slope > 0.11
    assert curve.fits[0].usage.n_zero == (counted == 0).sum()
    assert any("sample of 0.01" in note for note in curve.notes)
    points = curve.points.sort_values("counted", kind="stable")
    assert (points.loc[points["counted"] == 0, "count"] > 0).all()
    table = predict(curve, sample)
    error = table["accuracy"].to_numpy() - y
    assert abs(error.mean()) < 0.01
    assert abs(error[counted == 0].mean()) < 0.03
    assert (table["count"] > 0).all()
    whole = predict(curve, make_frequencies(true))
    assert np.abs(whole["accuracy"] - y).max() < 0.05


def test_the_share_travels_with_an_audit(tmp_path, capsys):
    captions = ["a dog", "a cat and a dog", "a yak"] * 100
    pd.DataFrame({"TEXT": captions}).to_parquet(tmp_path / "c.parquet")
    run = tmp_path / "run"
    call = ["audit", str(tmp_path / "c.parquet"), "-c", str(tmp_path / "names.txt"), "-o", str(run)]
    (tmp_path / "names.txt").write_text("dog\ncat\nyak\nzebra\n")
    assert main([*call, "--sampled-from", "30000"]) == 0
    assert "300 samples read are 0.01 of 30,000" in capsys.readouterr().out
    manifest = json.loads((run / "manifest.json").read_text())
    assert manifest["sampled"] == {"n_read": 300, "sampled_from": 30_000, "drawn": False}
    found = read_frequencies(run)
    assert (found.share, found.n_samples) == (0.01, 300)
    assert main([*call, "--sampled-from", "600", "--resume"]) == 0
    assert read_frequencies(run).share == 0.5
    assert main([*call, "--resume"]) == 0
    assert read_frequencies(run).share == 1.0
    assert main([*call, "--sampled-from", "299", "--resume"]) == 2
    assert "at least the 300 samples read" in capsys.readouterr().err
    assert main([*call, "--resume"]) == 0
    options = AuditOptions(share=0.1)
    made = audit(tmp_path / "c.parquet", ["dog"], tmp_path / "other", options=options)
    assert (made.frequencies.share, made.frequencies.n_samples) == (0.1, 300)
    damaged = {**manifest, "sampled": {"n_read": 300, "sampled_from": 30}}
    (run / "manifest.json").write_text(json.dumps(damaged))
    with pytest.raises(DataError, match="'sampled' must hold"):
        read_frequencies(run)


def test_what_no_sample_can_be():
    table = pd.DataFrame({"concept": ["dog"], "n_text": [3]})
    counts = ConceptFrequencies(table, "pets")
    with pytest.raises(ConfigError, match=r"the counts of pets do not say.*--share"):
        with_share(counts, sampled_from=1_000, share=None)
    with pytest.raises(ConfigError, match="give one of them"):
        with_share(counts, sampled_from=1_000, share=0.1)
    with pytest.raises(ConfigError, match="at least the 30 samples read"):
        with_share(ConceptFrequencies(table, n_samples=30), sampled_from=3, share=None)
    for share in (0.0, 1.5, float("nan")):
        with pytest.raises(ConfigError, match="--share must lie in"):
            with_share(counts, sampled_from=None, share=share)
    with pytest.raises(DataError, match="must lie in"):
        ConceptFrequencies(table, share=0.0)
    for wrong in ({"share": 2.0}, {"share": 0.1, "sampled_from": 5}, {"sampled_from": 0}):
        with pytest.raises(ConfigError):
            AuditOptions(**wrong)


def test_the_verbs_take_a_share(tmp_path, capsys, quick):
    rng = np.random.default_rng(4)
    true = np.floor(10 ** rng.normal(3, 1, 120))
    names = [f"class {i}" for i in range(120)]
    counts = rng.binomial(true.astype(np.int64), 0.05)
    pd.DataFrame({"concept": names, "n_text": counts}).to_csv(tmp_path / "n.csv", index=False)
    pd.DataFrame(
        {
            "model": "m",
            "dataset": "zoo",
            "concept": names,
            "accuracy": np.clip(0.1 + 0.1 * np.log10(1 + true), 0, 1),
        }
    ).to_csv(tmp_path / "a.csv", index=False)
    fit = ["fit", str(tmp_path / "n.csv"), "-a", str(tmp_path / "a.csv"), "-o"]
    assert main([*fit, str(tmp_path / "curve"), "--share", "0.05"]) == 0
    assert "sample of 0.05" in capsys.readouterr().out
    assert main([*fit, str(tmp_path / "other"), "--sampled-from", "1000"]) == 2
    assert "--share 0.01" in capsys.readouterr().err
    ask = [str(tmp_path / "curve"), "-f", str(tmp_path / "n.csv"), "--share", "0.05"]
    assert main(["predict", *ask, "-o", str(tmp_path / "p.csv")]) == 0
    predicted = pd.read_csv(tmp_path / "p.csv")
    assert predicted["count"].sum() == pytest.approx(true.sum(), rel=0.1)
    assert main(["plan", *ask, "--target", "0.5"]) == 0
