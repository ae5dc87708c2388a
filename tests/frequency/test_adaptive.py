"""Sampling open pairs: the lowest ranks, as many as the counts need, whatever the reading order."""

import numpy as np
import pandas as pd
import pytest

from conceptaudit.frequency.adaptive_sampling import AdaptiveSample, RankBounds, places
from conceptaudit.frequency.strata import ALL_BELOW, PILOT, add_cells

BY = ["concept_id", "form", "context"]


def population(seed: int, sizes: dict[int, int], share: float) -> pd.DataFrame:
    """Pairs of one concept: so many of each form, of which `share` are nouns."""
    rng = np.random.default_rng(seed)
    n = sum(sizes.values())
    return pd.DataFrame(
        {
            "sample_id": np.arange(n),
            "concept_id": 0,
            "form": np.repeat(list(sizes), list(sizes.values())),
            "context": rng.integers(0, 4, n),
            "rank": rng.integers(0, np.iinfo(np.int64).max, n),
            "named": rng.random(n) < share,
            "joint": False,
        }
    )


class Tagger:
    """Gives pairs out, and remembers which were tagged."""

    def __init__(self, pairs: pd.DataFrame) -> None:
        self.pairs = pairs
        self.tagged: list[pd.DataFrame] = []

    def read(self, bounds: RankBounds) -> pd.DataFrame:
        return self.pairs[bounds.hold(self.pairs)].reset_index(drop=True)

    def tag(self, rows: pd.DataFrame) -> pd.DataFrame:
        self.tagged.append(rows)
        return rows

    def sample(self, error: float, most: int = 8_000) -> pd.DataFrame:
        strata = self.pairs.groupby(BY, as_index=False).agg(
            n=("joint", "size"), n_joint=("joint", "sum")
        )
        sample = AdaptiveSample(read=self.read, tag=self.tag, error=error, most=most)
        return sample(strata, np.zeros(1, dtype=np.int64))[0]


@pytest.mark.parametrize("share", [0.5, 0.97, 1.0])
def test_the_lowest_ranks_of_each_form_are_tagged_once(share: float) -> None:
    tagger = Tagger(population(1, {11: 30_000, 12: 150, 13: 2_000}, share))
    tagger.sample(error=0.01)
    tagged = pd.concat(tagger.tagged)
    assert not tagged["sample_id"].duplicated().any()
    for form, pairs in tagger.pairs.groupby("form"):
        mine = tagged.loc[tagged["form"] == form, "rank"]
        assert sorted(mine) == sorted(pairs["rank"])[: len(mine)]
        assert len(mine) >= min(len(pairs), PILOT if len(pairs) >= ALL_BELOW else len(pairs))


def test_the_wanted_error_is_reached_and_no_more_than_allowed_is_tagged() -> None:
    for most in (8_000, 500):
        tagger = Tagger(population(2, {11: 30_000}, 0.8))
        cells = tagger.sample(error=0.01, most=most)
        found = add_cells(cells, 1)
        assert cells["m"].sum() <= most
        if most == 8_000:
            assert np.sqrt(found.variance[0]) <= 0.0105 * found.total[0]


def test_the_order_of_reading_changes_nothing() -> None:
    pairs = population(3, {11: 5_000, 12: 900}, 0.9)
    whole = Tagger(pairs).sample(error=0.02)
    mixed = Tagger(pairs.sample(frac=1.0, random_state=0)).sample(error=0.02)
    pd.testing.assert_frame_equal(whole, mixed)


def test_a_hundred_pairs_that_agree_are_not_enough_for_half_a_per_cent() -> None:
    tagger = Tagger(population(4, {11: 50_000}, 1.0))
    assert tagger.sample(error=0.005)["m"].sum() >= 200


def test_bounds_hold_a_little_more_than_is_wanted() -> None:
    pairs = population(5, {11: 10_000, 12: 50}, 1.0)
    available = pairs.groupby("form").size()
    held = pairs[RankBounds(available.clip(upper=100), available).hold(pairs)]
    assert 100 <= (held["form"] == 11).sum() <= 250
    assert (held["form"] == 12).sum() == 50


def test_places_count_from_the_lowest_rank() -> None:
    rows = pd.DataFrame({"form": [2, 1, 2, 2], "rank": [9, 5, 1, 4], "sample_id": [1, 2, 3, 4]})
    assert places(rows, "form").tolist() == [2, 0, 0, 1]
    assert places(rows[:0], "form").tolist() == []
