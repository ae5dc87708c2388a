"""Corrected counts and misalignment against simulated witnesses."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conceptaudit.errors import ConfigError
from conceptaudit.frequency.intervals import poisson_interval
from conceptaudit.frequency.misclassification import (
    Counted,
    NamedPairs,
    correct_counts,
    corrected_misalignment,
    named_pairs,
)

RECALL, ALARM, NAMED, MISTAKEN = 0.5, 0.01, 0.8, 0.004


def rates(n: int, *, captions: bool = True, draws: int = 9) -> dict[str, np.ndarray]:
    values = {"recall": RECALL, "false_alarm": ALARM}
    if captions:
        values |= {"caption_recall": NAMED, "caption_mistake": MISTAKEN}
    return {name: np.full((n, 1 + draws), value) for name, value in values.items()}


def witnesses(shown: np.ndarray, rng: np.random.Generator) -> Counted:
    tagged = rng.random(shown.shape) < np.where(shown, RECALL, ALARM)
    named = rng.random(shown.shape) < np.where(shown, NAMED, MISTAKEN)
    return Counted(
        n_samples=len(shown),
        image=tagged.sum(axis=0).astype(float),
        text=named.sum(axis=0).astype(float),
        joint=(tagged & named).sum(axis=0).astype(float),
    )


@pytest.mark.parametrize("captions", [True, False])
def test_known_error_rates_give_the_truth_back(captions: bool) -> None:
    rng = np.random.default_rng(0)
    shown = rng.random((20_000, 6)) < np.array([0.2, 0.1, 0.05, 0.02, 0.01, 0.005])
    counted = witnesses(shown, rng)
    found = correct_counts(counted, rates(6, captions=captions))
    true = shown.sum(axis=0)
    assert np.abs(np.log(found["n_image_corrected"] / true)).max() < (0.12 if captions else 0.5)
    assert (
        (found["n_image_corrected_low"] <= true) & (true <= found["n_image_corrected_high"])
    ).mean() >= 5 / 6
    assert (found["n_joint_corrected"] <= found["n_image_corrected"] + 1e-9).all()


def test_without_captions_tags_alone_are_adjusted() -> None:
    found = correct_counts(Counted(n_samples=1_000, image=np.array([59.0])), rates(1))
    assert found["n_image_corrected"][0] == pytest.approx((59 - 10) / 0.49)
    assert np.isnan(found["n_joint_corrected"]).all()


def test_intervals_widen_with_what_is_not_known() -> None:
    counted = Counted(n_samples=10_000, image=np.array([600.0]))
    sure, unsure = rates(1, captions=False, draws=30), rates(1, captions=False, draws=30)
    unsure["recall"][0, 1:] = np.linspace(0.3, 0.7, 30)
    narrow, wide = (correct_counts(counted, table) for table in (sure, unsure))
    assert wide["n_image_corrected_low"][0] < narrow["n_image_corrected_low"][0]
    assert wide["n_image_corrected_high"][0] > narrow["n_image_corrected_high"][0]
    assert wide["n_image_corrected"][0] == narrow["n_image_corrected"][0]


@settings(max_examples=40, deadline=None)
@given(
    text=st.integers(0, 400),
    image=st.integers(0, 400),
    share=st.floats(0, 1),
    recall=st.floats(0, 1),
    alarm=st.floats(0, 1),
    captions=st.booleans(),
)
def test_never_negative_and_never_narrower_than_the_evidence(
    text: int, image: int, share: float, recall: float, alarm: float, captions: bool
) -> None:
    table = rates(1, captions=captions, draws=3)
    table["recall"][:], table["false_alarm"][:] = recall, alarm
    joint = float(int(min(text, image) * share))
    counted = Counted(
        n_samples=1_000, image=np.array([float(image)]), text=np.array([float(text)]),
        joint=np.array([joint]),
    )  # fmt: skip
    found = correct_counts(counted, table)
    value, low, high = (found[f"n_image_corrected{end}"][0] for end in ("", "_low", "_high"))
    assert 0 <= low <= value <= high
    assert value <= 1_000 + 1e-6
    poisson = poisson_interval(np.round([value]))
    assert low <= poisson[0][0] + 1e-9
    assert high >= poisson[1][0] - 1e-9
    assert 0 <= found["n_joint_corrected"][0] <= text + 1e-6


def test_zero_stays_zero_with_an_upper_bound() -> None:
    zero = np.zeros(1)
    found = correct_counts(Counted(n_samples=5_000, image=zero, text=zero, joint=zero), rates(1))
    assert found["n_image_corrected"][0] < 0.5
    assert found["n_image_corrected_low"][0] == 0.0
    assert found["n_image_corrected_high"][0] >= 2.9


def test_rates_of_other_concepts_are_refused() -> None:
    with pytest.raises(ConfigError, match="error rates for 2 concepts"):
        correct_counts(Counted(n_samples=10, image=np.zeros(2)), rates(3))


def simulated_pairs(unrelated: float, seed: int) -> tuple[NamedPairs, np.ndarray, float]:
    """Captions of one to three concepts out of thirty; tags see half of what is shown."""
    rng = np.random.default_rng(seed)
    n, n_concepts = 3_000, 30
    prevalence = np.full(n_concepts, 0.05)
    sizes = rng.integers(1, 4, n)
    ids = np.concatenate([rng.choice(n_concepts, size, replace=False) for size in sizes])
    of = np.repeat(np.arange(n), sizes)
    lost = (rng.random(n) < unrelated)[of]
    shown = np.where(lost, rng.random(len(of)) < 0.05, rng.random(len(of)) < 0.97)
    tagged = rng.random(len(of)) < np.where(shown, RECALL, ALARM)
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    true = 1 - np.maximum.reduceat(shown, starts).mean()
    return NamedPairs(starts=starts, concept_ids=ids, tagged=tagged), prevalence, float(true)


@pytest.mark.parametrize("unrelated", [0.03, 0.2, 0.6])
def test_misalignment_is_corrected_for_what_the_tagger_misses(unrelated: float) -> None:
    pairs, prevalence, true = simulated_pairs(unrelated, seed=1)
    raw = 1 - np.maximum.reduceat(pairs.tagged, pairs.starts).mean()
    found = corrected_misalignment(pairs, rates(30), prevalence)
    assert raw - true > 0.1
    assert found["nothing_named_is_shown"] == pytest.approx(true, abs=0.04)
    assert found["nothing_named_is_shown_low"] <= true <= found["nothing_named_is_shown_high"]
    assert found["unrelated_captions"] == pytest.approx(unrelated, abs=0.06)


def test_pairs_are_gathered_from_tag_tables() -> None:
    text = pd.DataFrame({"sample_id": [5, 5, 7], "concept_id": [1, 0, 2]})
    image = pd.DataFrame({"sample_id": [5, 6], "concept_id": [1, 2]})
    pairs = named_pairs([(text, image), (text.assign(sample_id=[15, 15, 17]), image)])
    assert pairs.starts.tolist() == [0, 2, 3, 5]
    assert pairs.tagged.tolist() == [False, True, False, False, False, False]


def test_no_caption_names_anything() -> None:
    empty = pd.DataFrame({"sample_id": [], "concept_id": []})
    found = corrected_misalignment(named_pairs([(empty, empty)]), rates(3), np.zeros(3))
    assert found["n_captions"] == 0
    assert found["nothing_named_is_shown"] is None
