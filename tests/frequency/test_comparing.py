"""Comparing audits: ratios against theory and simulation, and whole runs against each other."""

import importlib
import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from conceptaudit.auditing import AuditOptions, audit
from conceptaudit.cli.main import main
from conceptaudit.errors import ConfigError, DataError
from conceptaudit.frequency.comparing import compare_audits
from conceptaudit.frequency.intervals import poisson_interval
from conceptaudit.frequency.rate_ratios import (
    Counted,
    difference_p,
    false_discovery_rate,
    rate_ratio,
)

OPTIONS = AuditOptions(shard_rows=100, workers=1)


def counted(counts, n_samples):
    low, high = poisson_interval(counts)
    count = np.asarray(counts, dtype=float)
    return Counted(count=count, low=low, high=high, n_samples=n_samples, level=0.9)


@pytest.mark.parametrize("means", [(2.0, 5.0), (4.0, 4.0), (12.0, 3.0), (150.0, 60.0), (0.7, 30.0)])
def test_intervals_of_ratios_hold_the_truth(means):
    rng = np.random.default_rng(1)
    over, under = (counted(rng.poisson(mean, 4_000), 1_000) for mean in means)
    _, low, high = rate_ratio(over, under)
    truth = means[0] / means[1]
    held = (low <= truth) & (truth <= high)
    assert 0.88 <= held.mean() <= 0.995  # exact intervals of small counts are wide
    if min(means) > 50:
        assert held.mean() <= 0.93


@pytest.mark.parametrize("sizes", [(30_000, 30_000), (30_000, 3_000_000), (1_000, 10_000_000)])
@pytest.mark.parametrize("clustered", [False, True])
def test_two_samples_of_one_source_do_not_differ(sizes, clustered):
    simulate = importlib.import_module("simulate_compare")
    runs = [simulate.compare(sizes, clustered=clustered, seed=seed) for seed in range(3)]
    assert max(run["share_q"] for run in runs) <= 0.06
    assert max(run["share_p"] for run in runs) <= 0.12
    assert all(run["disagree"] == run["both_zero_different"] == 0 for run in runs)


@given(
    counts=st.lists(st.integers(0, 500), min_size=2, max_size=2),
    sizes=st.lists(st.integers(1_000, 10**8), min_size=2, max_size=2),
    dispersion=st.floats(1.0, 6.0),
)
def test_p_is_below_the_level_exactly_where_the_interval_leaves_out_one(counts, sizes, dispersion):
    one, other = (
        replace(counted([c], n), dispersion=np.array([dispersion]))
        for c, n in zip(counts, sizes, strict=True)
    )
    p, (_, low, high) = difference_p(one, other), rate_ratio(one, other)
    if abs(p[0] - 0.1) > 1e-9:
        assert (p[0] < 0.1) == (low[0] > 1 or high[0] < 1)
    if sum(counts) == 0:
        assert p[0] == 1.0


def test_whole_counts_agree_with_the_binomial_distribution():
    one, other = counted([3, 0, 12], 1_000), counted([40, 9, 2], 5_000)
    for a, b, p in zip([3, 0, 12], [40, 9, 2], difference_p(one, other), strict=True):
        law = stats.binom(a + b, 1_000 / 6_000)
        above = law.sf(a) + law.pmf(a) / 2
        assert p == pytest.approx(2 * min(above, 1 - above), rel=1e-9)


@pytest.mark.parametrize("by", ["caption_no", "image"])
def test_disjoint_samples_of_a_real_caption_file_do_not_differ(realdata, tmp_path, by):
    """Captions drawn at random, and images drawn with all five of their captions."""
    table = pd.read_parquet(realdata / "captions" / "flickr8k.parquet")
    names = pd.read_csv(realdata / "clip" / "detic_text_embeddings" / "lvis_categories.csv")
    concepts = list(dict.fromkeys(name.split("(")[0].strip("_") for name in names["name"]))
    rng = np.random.default_rng(0)
    images = rng.permutation(table["image"].unique())
    order = rng.permutation(len(table))
    parts = (
        [table.iloc[order[:300]], table.iloc[order[300:12_300]]]
        if by == "caption_no"
        else [table[table["image"].isin(some)] for some in (images[:60], images[60:2_460])]
    )
    runs = []
    for name, part in zip(("small", "large"), parts, strict=True):
        part.to_parquet(tmp_path / f"{name}.parquet")
        runs.append(tmp_path / "runs" / name)
        audit(tmp_path / f"{name}.parquet", concepts, runs[-1], options=AuditOptions(workers=1))
    found = compare_audits(runs)
    table = found.concepts
    assert (table["q"] <= 0.05).mean() <= 0.002
    assert ((table["n"] == 0) & (table["n_baseline"] == 0)).sum() > 100
    outside = (table["ratio_low"] > 1) | (table["ratio_high"] < 1)
    assert ((table["p"] < 0.1) == outside).all()
    if by == "image":
        assert any("as several samples share an image" in note for note in found.notes)


def test_ratios_scale_with_the_samples_and_turn_around():
    one, other = counted([40, 3, 0, 0], 1_000), counted([10, 8, 5, 0], 2_000)
    ratio, low, high = rate_ratio(one, other)
    assert ratio[:3].tolist() == [8.0, 0.75, 0.0]
    assert np.isnan(ratio[3])
    assert (low[3], high[3]) == (0.0, np.inf)
    back, back_low, back_high = rate_ratio(other, one)
    assert back[2] == np.inf
    assert np.isinf(back_high[2])
    np.testing.assert_allclose(back[:2], 1 / ratio[:2])
    np.testing.assert_allclose(back_low[:2], 1 / high[:2])
    np.testing.assert_allclose(back_high[:2], 1 / low[:2])


def test_large_counts_agree_with_the_normal_interval_of_the_log():
    one, other = counted([40_000], 10**6), counted([10_000], 10**6)
    _, low, high = rate_ratio(one, other)
    reach = stats.norm.ppf(0.95) * np.sqrt(1 / 40_000 + 1 / 10_000)
    np.testing.assert_allclose([low[0], high[0]], 4 * np.exp([-reach, reach]), rtol=2e-3)


@pytest.mark.parametrize("mean", [3.0, 30.0, 400.0])
def test_p_values_without_a_difference(mean):
    rng = np.random.default_rng(2)
    p = difference_p(*(counted(rng.poisson(mean, 5_000), 1_000) for _ in range(2)))
    for alpha in (0.01, 0.1):
        assert (p <= alpha).mean() <= alpha * 1.15 + 0.002
    assert (p <= 0.1).mean() >= (0.005 if mean < 10 else 0.06)


def test_false_discovery_rate_is_that_of_scipy():
    p = np.random.default_rng(3).random(50) ** 3
    np.testing.assert_allclose(false_discovery_rate(p), stats.false_discovery_control(p))
    assert len(false_discovery_rate(np.empty(0))) == 0


@pytest.fixture
def runs(tmp_path):
    """Two audits: 30 and 6 in 100 captions name a dog, all the others a cat."""
    folders = []
    for name, n_dogs in (("a", 30), ("b", 6)):
        captions = ["a dog"] * n_dogs + ["a cat"] * (100 - n_dogs)
        table = pd.DataFrame({"key": [str(i) for i in range(200)], "TEXT": captions * 2})
        table.to_parquet(tmp_path / f"{name}.parquet")
        run = tmp_path / "runs" / name
        audit(tmp_path / f"{name}.parquet", ["dog", "cat", "zebra"], run, options=OPTIONS)
        folders.append(run)
    return folders


def test_two_audits(runs):
    found = compare_audits(runs)
    table = found.concepts.set_index("concept")
    assert list(table.index) == ["dog", "cat", "zebra"]
    dog = table.loc["dog"]
    assert (dog["n"], dog["n_baseline"], dog["per_million"]) == (12, 60, 60_000)
    assert dog["ratio"] == pytest.approx(0.2)
    assert dog["ratio_low"] < 0.2 < dog["ratio_high"] < 0.5
    assert dog["q"] < 0.001 < table.loc["cat", "q"]
    assert np.isnan(table.loc["zebra", "ratio"])
    whole = found.datasets.iloc[0]
    assert (whole["n_concepts"], whole["n_never_both"], whole["n_samples"]) == (3, 1, 200)
    assert (whole["dataset"], whole["baseline"]) == ("b", "a")
    assert whole["spearman"] == pytest.approx(1.0)
    expected = np.corrcoef(np.log1p([60, 140, 0]), np.log1p([12, 188, 0]))[0, 1]
    assert whole["pearson"] == pytest.approx(expected)


def test_audits_that_dropped_captions_are_compared(runs, tmp_path):
    """Their folders hold tables of drops beside the tags."""
    captions = ["a dog", "", None, "a cat"] * 20
    table = pd.DataFrame({"key": [str(i) for i in range(80)], "TEXT": captions})
    table.to_parquet(tmp_path / "c.parquet")
    audit(tmp_path / "c.parquet", ["dog", "cat", "zebra"], tmp_path / "c", options=OPTIONS)
    assert list((tmp_path / "c" / "text").glob("*.drops.parquet"))
    found = compare_audits([tmp_path / "c", *runs[:1]]).concepts.set_index("concept")
    assert (found.loc["dog", "n"], found.loc["dog", "n_baseline"]) == (60, 20)


def test_lists_and_settings_that_differ_are_told(runs, tmp_path):
    other = tmp_path / "runs" / "c"
    options = AuditOptions(shard_rows=100, workers=1, nested=True)
    audit(tmp_path / "b.parquet", ["dog", "bird"], other, options=options)
    found = compare_audits([runs[0], other])
    assert list(found.concepts["concept"]) == ["dog"]
    assert any("2 of 3 concepts of a" in note for note in found.notes)
    assert any("c was not counted as a was: text differ" in note for note in found.notes)
    assert np.isnan(found.datasets["spearman"].iloc[0])
    three = compare_audits([*runs, other])
    assert three.datasets[["dataset", "baseline"]].to_numpy().tolist() == [
        ["b", "a"],
        ["c", "a"],
        ["c", "b"],
    ]


def test_what_cannot_be_compared(runs, tmp_path):
    with pytest.raises(ConfigError, match="at least two"):
        compare_audits(runs[:1])
    with pytest.raises(ConfigError, match="named once"):
        compare_audits([runs[0], runs[0]])
    with pytest.raises(DataError, match="not a finished audit"):
        compare_audits([runs[0], tmp_path])
    with pytest.raises(ConfigError, match=r"Got \['n_image'\]"):
        compare_audits(runs, counts=["n_image"])
    strict = tmp_path / "runs" / "strict"
    audit(tmp_path / "b.parquet", ["dog"], strict, options=AuditOptions(level=0.95, workers=1))
    with pytest.raises(ConfigError, match=r"0.9, of strict 0.95"):
        compare_audits([runs[0], strict])
    birds = tmp_path / "runs" / "birds"
    audit(tmp_path / "b.parquet", ["bird"], birds, options=OPTIONS)
    with pytest.raises(ConfigError, match="no concept in common"):
        compare_audits([runs[0], birds])
    manifest = runs[1] / "manifest.json"
    told = json.loads(manifest.read_text(encoding="utf-8"))
    manifest.write_text(json.dumps({**told, "account": {"text": {}}}), encoding="utf-8")
    with pytest.raises(DataError, match="how many samples"):
        compare_audits(runs)


def test_the_verb(runs, tmp_path, capsys):
    call = ["compare", *map(str, runs)]
    files = {name: tmp_path / name for name in ("c.csv", "p.csv", "c.png", "c.svg")}
    given = ["-o", str(files["c.csv"]), "--pairs", str(files["p.csv"])]
    assert main([*call, *given, "--figure", str(files["c.png"])]) == 0
    shown = capsys.readouterr().out
    assert "1 of 3 concepts are more frequent in b than in a, 1 less" in shown
    assert len(pd.read_csv(files["c.csv"])) == 3
    assert len(pd.read_csv(files["p.csv"])) == 1
    assert files["c.png"].read_bytes().startswith(b"\x89PNG")
    assert main([*call, "--figure", str(files["c.svg"])]) == 0
    first = files["c.svg"].read_bytes()
    assert main([*call, "--figure", str(files["c.svg"])]) == 0
    assert files["c.svg"].read_bytes() == first
    capsys.readouterr()
    assert main([*call, "--json", "--count", "n_text"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["concepts"][2]["ratio"] is None
    assert main(["compare", str(runs[0])]) == 2
