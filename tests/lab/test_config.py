"""Knobs are checked before anything is drawn."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conceptaudit.errors import ConfigError
from conceptaudit.lab import CORRUPTIONS, LabConfig

IMPOSSIBLE = {
    "seed": [-1, 2**64, 1.5],
    "n_samples": [0, -3, True],
    "shard_size": [0],
    "image_size": [16, 5_000],
    "n_concepts": [0, 10_000],
    "zipf_exponent": [-1.0, float("nan"), float("inf"), "steep"],
    "order_seed": [-1],
    "zero_concepts": [-1, 10_000, ("no such thing",), ["dog"]],
    "min_objects": [0],
    "max_objects": [17, 0, 2.0],
    "omission_rate": [-0.1, 1.1, float("nan"), None],
    "exact_duplicate_rate": [1.01],
    **{f"{kind}_rate": [-0.5, 2] for kind in CORRUPTIONS},
}


@pytest.mark.parametrize(
    ("knob", "value"), [(knob, value) for knob, values in IMPOSSIBLE.items() for value in values]
)
def test_an_impossible_knob_is_refused_by_name(knob: str, value: object) -> None:
    with pytest.raises(ConfigError, match=rf"The '{knob}' parameter of LabConfig must be .* Got "):
        LabConfig(**{knob: value})


def test_more_objects_than_fit() -> None:
    with pytest.raises(ConfigError, match=r"'max_objects'.*fit into 48 x 48 pixels"):
        LabConfig(image_size=48, max_objects=5)


def test_rates_that_exclude_each_other_may_not_exceed_one() -> None:
    with pytest.raises(ConfigError, match="'exact_duplicate_rate'"):
        LabConfig(exact_duplicate_rate=0.6, near_duplicate_rate=0.6)
    with pytest.raises(ConfigError, match="'truncated_rate'"):
        LabConfig(truncated_rate=0.6, bomb_rate=0.6)


def test_all_concepts_cannot_be_absent() -> None:
    with pytest.raises(ConfigError, match="'zero_concepts'"):
        LabConfig(n_concepts=2, zero_concepts=("dog", "cat"))


@given(
    seed=st.integers(0, 2**64 - 1),
    exponent=st.floats(0, 5),
    zero=st.one_of(st.integers(0, 20), st.just(("dog", "bat"))),
)
def test_knobs_survive_json(seed: int, exponent: float, zero: int | tuple[str, ...]) -> None:
    config = LabConfig(seed=seed, zipf_exponent=exponent, zero_concepts=zero)
    assert LabConfig.from_json(config.to_json()) == config


def test_an_unknown_knob_in_json_is_refused() -> None:
    with pytest.raises(ConfigError, match="typo"):
        LabConfig.from_json('{"typo": 1}')


def test_config_is_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        LabConfig().seed = 1  # type: ignore[misc]
