"""The published recipe: by hand, and against correlations computed from the published files."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from conceptaudit.curves import fit_curve
from conceptaudit.curves.binned import (
    BinRecipe,
    assign_bins,
    correlation_p,
    fit_bins,
    line_through_bins,
    recipe_for,
)
from conceptaudit.frequency.readers import read_frequencies
from conceptaudit.records import ConceptAccuracies
from conceptaudit.zeroshot.readers import read_accuracies

# Which files the golden numbers were computed from: 14 evaluation sets, 13 for text. Class names
# are those of the published counts ("airplane" for the results' "plane" in CIFAR-10).
SEARCH_COUNTS = {"integrated_rampp0.7": "n_joint", "rampp0.7": "n_image", "lemmatized": "n_text"}
TOLERANCE = 0.005


@pytest.fixture(scope="module")
def reference(realdata: Path) -> Path:
    return realdata / "reference"


@pytest.fixture(scope="module")
def golden(reference: Path) -> pd.DataFrame:
    return pd.read_csv(reference / "golden_r.csv")


@pytest.fixture(scope="module")
def published(reference: Path) -> ConceptAccuracies:
    read = read_accuracies(reference / "zero_shot_evaluations")
    return ConceptAccuracies(read.table[read.table["dataset"] != "imagenet-r"])


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    "pretraining",
    [
        "cc3m",
        "cc12m",
        "yfcc15m",
        "synthci30m",
        "laion200m_train_test_sim_normalized",
        "laion400m",
    ],
)
def test_every_golden_correlation_is_reproduced(pretraining, golden, published, reference):
    rows = golden[golden["pretraining"] == pretraining]
    frequencies = read_frequencies(reference / "search_counts", pretraining=pretraining)
    for search, group in rows.groupby("search"):
        used = published.table[published.table["pretraining"] == pretraining]
        if search == "lemmatized":
            used = used[used["dataset"] != "imagenet-sketch"]
        accuracies, count = ConceptAccuracies(used), SEARCH_COUNTS[search]
        kept = fit_curve(frequencies, accuracies, count=count).table
        positive = fit_curve(frequencies, accuracies, count=count, zero_policy="exclude").table
        kept, positive = (t.set_index(["model", "metric"]) for t in (kept, positive))
        assert len(kept) == len(group)
        for row in group.itertuples():
            key = (row.model, f"accuracy_{row.prompts}")
            ours = kept.loc[key]
            assert ours["n_used"] == row.n_concepts
            assert ours["n_zero"] == row.n_zero
            assert ours["r_binned"] == pytest.approx(row.r_binned_paper_recipe, abs=TOLERANCE)
            assert ours["r_per_concept"] == pytest.approx(
                row.r_per_concept_all_log1p, abs=TOLERANCE
            )
            assert positive.loc[key]["r_per_concept"] == pytest.approx(
                row.r_per_concept_positive, abs=TOLERANCE
            )


def test_golden_file_is_covered(golden):
    assert len(golden) == 84
    assert set(golden["search"]) == set(SEARCH_COUNTS)


RETRIEVAL = {
    "rampp0.7": ("n_image", "rampp0.7"),
    "integrated_rampp0.7": ("n_joint", "integrated_tlemmatized_i0.7"),
    "lemmatized": ("n_text", "lemmatized"),
}


def retrieval_table(reference: Path, pretraining: str, counts: str) -> pd.DataFrame:
    """Fit COCO and Flickr together by the paper's recipe."""
    count, search = RETRIEVAL[counts]
    files = [
        reference / "search_counts" / f"{dataset}_{pretraining}_{search}_search_counts.json"
        for dataset in ("coco", "flickr")
    ]
    results = read_accuracies(reference / "retrieval_evaluations")
    curve = fit_curve(
        read_frequencies(files), results, count=count, family="paper", pretraining=pretraining
    )
    return curve.table


@pytest.mark.usefixtures("quick")
def test_every_printed_correlation_of_retrieval_is_reproduced(reference):
    golden = pd.read_csv(reference / "golden_r_retrieval.csv")
    assert len(golden) == 72
    for (pretraining, counts), rows in golden.groupby(["pretraining", "counts"]):
        ours = retrieval_table(reference, pretraining, counts).set_index(["metric", "model"])
        for row in rows.itertuples():
            r = ours.loc[(row.task.replace("_k=", "_recall@"), row.model), "r_binned"]
            assert r == pytest.approx(row.r_printed, abs=TOLERANCE)
            assert r == pytest.approx(row.r_recipe, abs=1e-6)


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("counts", RETRIEVAL)
def test_synthetic_captions_have_a_retrieval_curve(counts, reference):
    table = retrieval_table(reference, "synthci30m", counts)
    assert len(table) == 6
    assert table["r_binned"].between(0.85, 1.0).all()
    assert (table["bins_kept"] == "[-4:] of 7").all()


def test_bins_by_hand():
    # Counts 1 to 10^11 in whole decades, two concepts each: every edge of twelve holds a decade.
    x = np.repeat(np.arange(12.0), 2)
    y = np.repeat(np.linspace(0, 1, 12), 2) + np.tile([-0.01, 0.01], 12)
    fit = fit_bins(x, y, np.zeros(24, dtype=int), BinRecipe(n_edges=12, first=1, last=-1), _rng())
    assert fit.counts == (2,) * 12
    assert fit.accuracies == pytest.approx(np.linspace(0, 1, 12))
    assert fit.frequencies == pytest.approx(10.0 ** np.arange(12))
    assert fit.r == pytest.approx(1.0)
    assert list(fit.kept) == list(range(1, 11))
    assert (fit.n_concepts, fit.n_in_kept_bins) == (24, 20)


def test_a_value_on_an_edge_belongs_to_the_bin_at_its_left():
    _, bins = assign_bins(np.array([0.0, 0.5, 1.0, 1.5, 2.0]), 3)
    assert bins.tolist() == [0, 1, 1, 2, 2]


def test_empty_bins_take_no_part():
    x = np.array([0.0, 0.1, 1.0, 2.0, 9.0, 10.0, 11.0])
    y = np.array([0.0, 0.1, 0.2, 0.3, 0.9, 0.9, 1.0])
    fit = fit_bins(x, y, np.zeros(7, dtype=int), BinRecipe(n_edges=12, first=1, last=-1), _rng())
    assert np.isnan(fit.accuracies[5])
    assert fit.r == pytest.approx(stats.pearsonr([1, 2, 9, 10], [0.15, 0.3, 0.9, 0.9]).statistic)


def test_shuffling_leaves_the_correlation_that_datasets_alone_make():
    # No effect inside either dataset, one between them: bins correlate although concepts do not.
    rng = _rng()
    x = np.concatenate([rng.uniform(0, 4, 400), rng.uniform(2, 6, 400)])
    y = np.concatenate([rng.uniform(0, 0.4, 400), rng.uniform(0.5, 0.9, 400)])
    fit = fit_bins(x, y, np.repeat([0, 1], 400), recipe_for("", "accuracy"), rng)
    assert fit.r_shuffled > 0.85
    assert fit.r_shuffled_low <= fit.r_shuffled <= fit.r_shuffled_high


def test_shuffling_a_single_dataset_leaves_nothing():
    rng = _rng()
    x = rng.uniform(0, 5, 2000)
    fit = fit_bins(x, 0.1 + 0.1 * x, np.zeros(2000, dtype=int), recipe_for("", "accuracy"), rng)
    assert fit.r > 0.99
    assert abs(fit.r_shuffled) < 0.2
    assert fit.r_shuffled_low < -0.3 < 0.3 < fit.r_shuffled_high


@pytest.mark.parametrize(
    ("pretraining", "metric", "expected"),
    [
        ("cc3m", "accuracy", (12, 1, -1)),
        ("LAION-400M", "accuracy_class", (12, 2, -1)),
        ("laion200m_train_test_sim_normalized", "accuracy", (12, 1, -1)),
        ("SynthCI-30M", "accuracy", (12, 0, -4)),
        ("cc12m", "i2t_recall@5", (7, -4, None)),
        ("SynthCI-30M", "t2i_recall@1", (7, -4, None)),
    ],
)
def test_recipe_per_pretraining_set(pretraining, metric, expected):
    recipe = recipe_for(pretraining, metric)
    assert (recipe.n_edges, recipe.first, recipe.last) == expected


def test_p_value_agrees_with_scipy():
    rng = _rng()
    x, y = rng.random(9), rng.random(9)
    expected = stats.pearsonr(x, y)
    assert correlation_p(expected.statistic, 9) == pytest.approx(expected.pvalue)
    assert np.isnan(correlation_p(0.5, 2))
    assert np.isnan(correlation_p(float("nan"), 9))


def test_lines_through_bins_weigh_bins_not_concepts():
    x = np.array([0.0, 1, 2, 2, 2, 3, 4])
    y = np.array([0.0, 1, 2, 2, 2, 3, 0]) / 10
    recipe = BinRecipe(n_edges=5, first=1, last=-1)
    lines = line_through_bins(x, y, recipe)
    assert lines.slope == pytest.approx([0.1])
    assert lines.intercept == pytest.approx([0.0])


def test_too_few_bins_have_no_line():
    x = np.array([0.0, 0.0, 5.0, 5.0])
    lines = line_through_bins(x, x / 10, BinRecipe(n_edges=12, first=1, last=-1))
    assert np.isnan(lines.slope[0])
    assert np.isnan(lines.r[0])


def _rng() -> np.random.Generator:
    return np.random.default_rng(7)
