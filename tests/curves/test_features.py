"""Names among their rivals: by hand, whatever the order, and what effects make of them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from conceptaudit.curves import fit_curve, predict
from conceptaudit.curves.class_names import FEATURES, name_features
from conceptaudit.curves.statistics import fit_effects

WORDS = st.sampled_from(["dog", "Hot", "hot", "cat_house", "日本", "", "a-b"])
NAMES = st.lists(
    st.tuples(st.lists(WORDS, max_size=3).map(" ".join), st.integers(-1, 2)),
    min_size=1,
    max_size=20,
)


def test_features_by_hand() -> None:
    names = ["hot dog", "corn dog", "hot pot", "pizza"]
    found = dict(zip(FEATURES, name_features(names, np.zeros(4, dtype=int)).T, strict=True))
    centred = np.log([2, 2, 1, 1]) - np.log([2, 2, 1, 1]).mean()
    assert found["same_head"] == pytest.approx(centred)
    centred = np.log([2, 1, 2, 1]) - np.log([2, 1, 2, 1]).mean()
    assert found["same_start"] == pytest.approx(centred)
    assert found["words"] == pytest.approx([0.25, 0.25, 0.25, -0.75])
    shared = np.array([np.log(2), np.log(2) / 2, np.log(2) / 2, 0.0])
    assert found["shared_words"] == pytest.approx(shared - shared.mean())
    letters = np.log([8, 9, 8, 6])
    assert found["letters"] == pytest.approx(letters - letters.mean())


@given(NAMES, st.randoms())
def test_features_do_not_depend_on_order_and_sum_to_zero(rows, random) -> None:
    names, groups = [name for name, _ in rows], np.array([group for _, group in rows])
    found = name_features(names, groups)
    order = list(range(len(rows)))
    random.shuffle(order)
    again = name_features([names[i] for i in order], groups[order])
    assert again == pytest.approx(found[order])
    assert np.isfinite(found).all()
    assert found[groups < 0] == pytest.approx(0.0)
    for group in set(groups.tolist()) - {-1}:
        assert found[groups == group].sum(axis=0) == pytest.approx(0.0, abs=1e-9)


def test_case_and_separators_do_not_make_another_name() -> None:
    groups = np.array([0, 0, 0])
    spelt = name_features(["Hot_Dog", "corn dog", "pizza"], groups)
    assert spelt == pytest.approx(name_features(["hot dog", "Corn-Dog", "PIZZA"], groups))


def test_effects_are_those_of_the_system_written_out() -> None:
    rng = np.random.default_rng(0)
    dataset = rng.integers(0, 3, 90)
    features, residuals = rng.normal(size=(90, 2)), rng.normal(size=90)
    effects = fit_effects(features, residuals, dataset, 3)
    scaled = features / features.std(axis=0)
    own = [scaled * (dataset == index)[:, None] for index in range(3)]
    design = np.hstack([scaled, *own])
    penalty = np.diag([5.0] * 2 + [40.0] * 6)
    found = np.linalg.solve(design.T @ design + penalty, design.T @ residuals)
    assert effects.common == pytest.approx(found[:2])
    assert effects.own[:3].ravel() == pytest.approx(found[2:])
    assert effects.at(features, np.full(90, -1)) == pytest.approx(scaled @ found[:2])


def test_a_feature_that_is_constant_but_for_rounding_has_no_effect():
    """Class names of one pattern, centred, leave residues of 1e-17, which are no feature."""
    rng = np.random.default_rng(0)
    features = np.column_stack([np.full(90, 3e-17), rng.normal(0, 1e-16, 90), rng.normal(size=90)])
    effects = fit_effects(features, 0.1 * features[:, 2], np.repeat([0, 1, 2], 30), 3)
    added = effects.at(np.array([[1.0, 1.0, 0.0]]), np.array([0]))
    assert abs(added[0]) < 1e-6


def test_class_names_of_one_pattern_are_predicted(make_frequencies, make_accuracies, quick):
    names = [f"k0-{i}" for i in range(400)]
    rng = np.random.default_rng(5)
    counts = np.floor(10 ** rng.uniform(0, 5, 400))
    values = (0.1 + 0.1 * np.log10(1 + counts) + rng.normal(0, 0.1, 400)).clip(0, 1)
    datasets = [f"d{i // 40}" for i in range(400)]
    curve = fit_curve(
        make_frequencies(counts, names), make_accuracies(values, names, dataset=datasets)
    )
    query = make_frequencies(counts, [f"q{i}" for i in range(400)], dataset=datasets)
    found = predict(curve, query)
    assert (found["accuracy"] - values).abs().mean() < 0.15
