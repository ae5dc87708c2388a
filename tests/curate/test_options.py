"""Every option against its definition, written plainly."""

import numpy as np
import pandas as pd
import pytest

from conceptaudit.curate import CurateOptions, curate
from conceptaudit.curate.balance import threshold_of_share, uniform
from conceptaudit.curate.vectors import FourierFeatures, median_distance
from conceptaudit.errors import ConfigError
from conceptaudit.image.vectors import unit_rows


def test_the_audit_counts_what_is_known(known):
    table = pd.read_parquet(known.run / "frequencies.parquet").set_index("concept")["n_text"]
    assert table.to_dict() == known.counts().reindex(table.index).to_dict()


def test_cap_keeps_with_the_probability_that_any_concept_keeps(known, tmp_path):
    counts, cap = known.counts(), 60.0
    p = {name: min(1.0, cap / n) for name, n in counts.items()}
    expected = [
        1.0 - np.prod([1.0 - p[name] for name in names]) if names else 0.0 for names in known.named
    ]
    kept = known.kept(tmp_path / "out", cap=cap)
    assert kept["probability"].to_numpy() == pytest.approx(np.array(expected)[kept["row"]])
    assert (kept["weight"] == 1.0).all()
    sure = {i for i, chance in enumerate(expected) if chance == 1.0}
    never = {i for i, chance in enumerate(expected) if chance == 0.0}
    assert sure <= set(kept["row"])
    assert not never & set(kept["row"])
    total = np.sum(expected)
    spread = np.sqrt(np.sum([e * (1 - e) for e in expected]))
    assert abs(len(kept) - total) < 4 * spread


def test_tail_share_chooses_the_threshold(known):
    made = curate([known.run], None, options=CurateOptions(tail_share=0.2), workers=1)
    [about] = made.about["runs"].values()
    counts = known.counts()
    total, reached, threshold = counts.sum(), 0, None
    for n in sorted(counts):
        reached += n
        if reached > 0.2 * total:
            threshold = n
            break
    assert about["cap"] == threshold
    assert about["tail_share"] == counts[counts < threshold].sum() / total <= 0.2


def test_temper_weighs_by_the_rarest_concept(known, tmp_path):
    counts = known.counts()
    raw = np.array(
        [
            min((counts[name] for name in names), default=counts.max()) ** -0.5
            for names in known.named
        ]
    )
    kept = known.kept(tmp_path / "out", temper=0.5)
    assert len(kept) == len(known.table)
    assert kept["weight"].to_numpy() == pytest.approx((raw / raw.mean())[kept["row"]])


def test_keep_counts_what_it_drops_and_why(known, tmp_path):
    text = "similarity >= 0.2 and punsafe < 0.5"
    table = known.table
    holds = (table["clip_l14_similarity_score"] >= 0.2) & (table["punsafe"] < 0.5)
    missing = table["punsafe"].isna() & (table["clip_l14_similarity_score"] >= 0.2)
    kept = known.kept(tmp_path / "out", keep=(text,))
    assert set(kept["row"]) == set(np.flatnonzero(holds))
    account = pd.read_csv(tmp_path / "out" / "account.csv").set_index("reason")["n"]
    assert account["samples in"] == len(table)
    unknown = (~holds & table["punsafe"].isna()).sum()
    assert missing.sum() <= unknown
    assert account[f"keep: {text} (no value)"] == -unknown
    assert account[f"keep: {text}"] == -((~holds).sum() - unknown)
    assert account["samples out"] == holds.sum()
    assert account.drop("samples out").sum() == account["samples out"]


def test_keep_reads_scores_by_key(known, tmp_path):
    rng = np.random.default_rng(0)
    some = known.table["uid"].iloc[::2]
    scores = pd.DataFrame({"uid": some, "ask_llm": rng.random(len(some)), "tag": "ok"})
    scores.sample(frac=1.0, random_state=1).to_csv(tmp_path / "s.csv", index=False)
    options = CurateOptions(keep=("ask_llm > 0.5 and tag == 'ok'",))
    out = tmp_path / "out"
    curate([known.run], out, options=options, scores=tmp_path / "s.csv", workers=1)
    assert set(pd.read_parquet(out / "kept.parquet")["key"]) == set(some[scores["ask_llm"] > 0.5])


def test_counts_are_taken_after_what_filters_drop(known, tmp_path):
    kept = known.kept(tmp_path / "out", keep=("similarity >= 0.3",), cap=30.0)
    rows = np.flatnonzero(known.table["clip_l14_similarity_score"] >= 0.3)
    counts = known.counts(rows)
    p = {name: min(1.0, 30.0 / n) for name, n in counts.items()}
    expected = [1.0 - np.prod([1.0 - p[n] for n in known.named[r]]) for r in kept["row"]]
    assert kept["probability"].to_numpy() == pytest.approx(expected)


def test_drop_copies_keeps_one_of_each_group(known, tmp_path):
    unit = unit_rows(known.vectors)
    same = unit @ unit.T >= 0.9999
    kept = known.kept(tmp_path / "out", drop_copies=True)
    rows = kept["row"].to_numpy()
    left = same[np.ix_(rows, rows)]
    assert (left.sum(axis=1) == 1).all()
    assert same[:, rows].any(axis=1).all()


def test_drop_copies_takes_another_where_the_first_is_filtered(known, tmp_path):
    text = "similarity >= 0.25"
    passing = (known.table["clip_l14_similarity_score"] >= 0.25).to_numpy()
    unit = unit_rows(known.vectors)
    same = unit @ unit.T >= 0.9999
    kept = known.kept(tmp_path / "out", keep=(text,), drop_copies=True)
    chosen = np.zeros(len(passing), dtype=bool)
    chosen[kept["row"]] = True
    # every image that passes is there once, by itself or by its copy
    assert ((same & chosen).sum(axis=1)[passing] == 1).all()


def test_density_weighs_by_one_over_the_kernel_density(known, tmp_path):
    kept = known.kept(tmp_path / "out", density=True)
    unit = unit_rows(known.vectors).astype(np.float64)
    [about] = (
        curate([known.run], None, options=CurateOptions(density=True), workers=1)
        .about["runs"]
        .values()
    )
    h = about["bandwidth"]
    squares = 2.0 - 2.0 * unit @ unit.T
    density = np.exp(-squares / (2.0 * h * h)).mean(axis=1)
    weights = density.mean() / np.maximum(density, 0.01 * density.mean())
    weights /= weights.mean()
    found = kept.sort_values("row")["weight"].to_numpy()
    assert np.corrcoef(np.log(found), np.log(weights))[0, 1] > 0.97
    dense = density > np.median(density)
    assert found[dense] == pytest.approx(weights[dense], rel=0.15)


def test_fourier_features_are_the_kernel_on_average():
    rng = np.random.default_rng(3)
    vectors = unit_rows(rng.standard_normal((50, 8)).astype(np.float32))
    features = FourierFeatures.draw(8, 0.7, 0).of(vectors)
    squares = 2.0 - 2.0 * vectors @ vectors.T
    assert features @ features.T == pytest.approx(np.exp(-squares / (2 * 0.49)), abs=0.08)
    assert 0.5 < median_distance(vectors) < 2.0


@pytest.mark.parametrize("stays", ["hard", "easy"])
def test_prototype_prune_drops_a_share_by_distance(known, tmp_path, stays):
    kept = known.kept(
        tmp_path / "out", prototype_prune=0.25, prune_keep=stays, clusters=len(set("abcdefghij"))
    )
    assert len(kept) == len(known.table) - int(0.25 * len(known.table))
    path = next((tmp_path / "out" / "distance-0").glob("*-0*0.npy")).parent
    far = np.concatenate([np.load(one) for one in sorted(path.glob("*.npy"))])
    inside = np.zeros(len(far), dtype=bool)
    inside[kept["row"]] = True
    if stays == "hard":
        assert far[inside].min() >= far[~inside].max()
    else:
        assert far[inside].max() <= far[~inside].min()


def test_exclude_finds_evaluation_images_by_vector_and_by_address(known, tmp_path):
    leaks = known.vectors[[5, 17]]
    (tmp_path / "set" / "img_emb").mkdir(parents=True)
    np.save(tmp_path / "set" / "img_emb" / "img_emb_0.npy", leaks * 3.0)
    tests = pd.DataFrame({"url": [known.table["url"][40].replace("https", "http")], "text": ["x"]})
    tests.to_parquet(tmp_path / "tests.parquet")
    sets = (str(tmp_path / "set"), str(tmp_path / "tests.parquet"))
    kept = known.kept(tmp_path / "out", exclude=sets, exclude_similarity=0.9999)
    unit, others = unit_rows(known.vectors), unit_rows(leaks)
    expected = set(np.flatnonzero((unit @ others.T).max(axis=1) >= 0.9999)) | {40}
    assert set(range(len(unit))) - set(kept["row"]) == expected
    account = pd.read_csv(tmp_path / "out" / "account.csv").set_index("reason")["n"]
    assert account["exclude: same URL"] == -1
    assert account["exclude: same image"] == 1 - len(expected)


def test_size_draws_without_replacement_by_weight(known, tmp_path):
    kept = known.kept(tmp_path / "out", temper=1.0, size=300)
    assert len(kept) == kept["row"].nunique() == 300
    assert (kept["weight"] == 1.0).all()
    # inclusion: seed by seed the rare are drawn more often, as their weights say
    counts = known.counts()
    weights = np.array(
        [1.0 / min((counts[name] for name in names), default=counts.max()) for names in known.named]
    )
    ids = np.arange(len(weights))
    times = np.zeros(len(weights))
    for seed in range(300):
        order = -np.log(uniform(ids, seed, 1)) / weights
        times[np.argsort(order)[:300]] += 1
    told = kept.set_index("row")["probability"]
    rare = told.index[told > np.quantile(told, 0.9)]
    assert times[rare].mean() / 300 == pytest.approx(told[rare].mean(), abs=0.06)


def test_a_random_subset_is_uniform(known, tmp_path):
    kept = known.kept(tmp_path / "out", size=240)
    assert kept["probability"].to_numpy() == pytest.approx(0.2, abs=0.03)


def test_numbers_are_uniform_and_of_the_sample_alone():
    ids = np.arange(200_000, dtype=np.int64) << 7
    numbers = uniform(ids, 5, 0)
    assert numbers.mean() == pytest.approx(0.5, abs=0.003)
    assert np.var(numbers) == pytest.approx(1 / 12, abs=0.002)
    assert np.histogram(numbers, 50, (0, 1))[0].std() < 4 * np.sqrt(4_000)
    assert (uniform(ids[100:110], 5, 0) == numbers[100:110]).all()
    for seed, stream in ((6, 0), (5, 1)):
        assert abs(np.corrcoef(numbers, uniform(ids, seed, stream))[0, 1]) < 0.01


def test_metaclips_published_numbers():
    """About 16,000 of 500,000 entries at or above 20,000 hold 5.35 of 5.67 billion matches.

    A list of that shape: a power law, its tail scaled to hold 0.32 billion and its head 5.35.
    """
    rank = np.arange(1, 500_001, dtype=np.float64)
    head, tail = rank[:16_000], rank[16_000:]

    # exponents by bisection, both anchored at 20,000 where they meet
    def total(part, exponent):
        return (20_000 * (16_000 / part) ** exponent).sum()

    def solve(part, wanted, low, high):
        for _ in range(80):
            middle = (low + high) / 2
            grows = total(part, high) > total(part, low)
            low, high = (low, middle) if (total(part, middle) > wanted) == grows else (middle, high)
        return low

    counts = np.concatenate(
        [
            20_000 * (16_000 / head) ** solve(head, 5.35e9, 0.5, 2.0),
            20_000 * (16_000 / tail) ** solve(tail, 0.32e9, 0.5, 6.0),
        ]
    )
    counts[16_000:] = np.minimum(counts[16_000:], 19_999.0)
    assert counts[:16_000].sum() == pytest.approx(5.35e9, rel=1e-3)
    assert counts.sum() == pytest.approx(5.67e9, rel=1e-3)
    share = counts[counts < 20_000].sum() / counts.sum()
    assert share == pytest.approx(1 - 5.35 / 5.67, abs=1e-3)
    # the published rule: the tail's share gives back the threshold
    assert threshold_of_share(counts, share) == pytest.approx(20_000, rel=0.01)
    # and balancing leaves min(count, 20,000) of each entry: 0.64 billion of 5.67
    expected = np.minimum(counts, 20_000).sum()
    assert expected == pytest.approx(16_000 * 20_000 + 0.32e9, rel=1e-2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"cap": 0}, "must be above 0"),
        ({"cap": 5, "tail_share": 0.1}, "give one of them"),
        ({"tail_share": 1.0}, "in \\(0, 1\\)"),
        ({"temper": -1.0}, "in \\(0, 2\\]"),
        ({"untagged": "maybe"}, "one of"),
        ({"formats": ("zip",)}, "among"),
        ({"size": 0}, "at least 1"),
    ],
)
def test_options_out_of_range_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        CurateOptions(**options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"keep": ("nothing > 1",)}, "'nothing', which neither"),
        ({"keep": ("import os",)}, "--keep"),
        ({"count": "image"}, "--count"),
        ({"size": 10_000}, "--size"),
        ({"keep": ("similarity > 5",)}, "Nothing is left"),
    ],
)
def test_what_does_not_fit_the_audit_is_refused(known, tmp_path, options, message):
    with pytest.raises(ConfigError, match=message):
        known.kept(tmp_path / "out", **options)
