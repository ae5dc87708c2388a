"""Verdicts go out as a file and come back as a cleaner set."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from conceptaudit.errors import DataError
from conceptaudit.frequency.intervals import wilson_interval
from conceptaudit.longtail import LongTailOptions, build_long_tail
from conceptaudit.longtail.review import Review, read_review, write_review

OPTIONS = LongTailOptions(k=3, per_class=3, oversample=4)


@pytest.fixture
def built(tmp_path, run, encoder, make_pool, plain_files):
    pool = make_pool(plain_files)

    def build(out="out", **settings):
        options = replace(OPTIONS, **settings)
        return build_long_tail(run, pool, tmp_path / out, options=options, clip=encoder)

    return build


def judged(made, path, wrong=(), right=()):
    write_review(made, path)
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    table.loc[table["key"].isin(wrong), "verdict"] = "wrong"
    table.loc[table["key"].isin(right), "verdict"] = "Yes"
    table.to_csv(path, index=False)
    return path


def test_what_is_judged_wrong_makes_room_for_the_next(built, tmp_path):
    made = built()
    of_violet = made.images.loc[made.images["concept"] == "violet", "key"].tolist()
    path = judged(made, tmp_path / "judge.csv", wrong=of_violet[:1], right=of_violet[1:])
    again = built("again", review=path)
    after = again.images.loc[again.images["concept"] == "violet", "key"].tolist()
    assert len(after) == 3
    assert of_violet[0] not in after
    assert after[:2] == of_violet[1:]
    removed = again.removed.set_index("key")
    assert removed.loc[of_violet[0], "reason"] == "judged_wrong"
    row = again.classes.set_index("concept").loc["violet"]
    assert (row["n_judged"], row["n_right"]) == (3, 2)
    assert row["purity"] == pytest.approx(2 / 3, abs=1e-6)
    assert 0 < row["purity_low"] < row["purity"] < row["purity_high"] <= 1
    others = again.classes.set_index("concept").loc[["blue", "green"]]
    assert others["n_judged"].tolist() == [0, 0]
    assert others["purity"].isna().all()


def test_an_empty_review_changes_no_image(built, tmp_path):
    made = built()
    path = judged(made, tmp_path / "judge.csv")
    assert built("again", review=path).images.equals(made.images)


def test_json_goes_the_same_way(built, tmp_path):
    made = built()
    write_review(made, tmp_path / "judge.json")
    rows = json.loads((tmp_path / "judge.json").read_text())
    rows[0]["verdict"] = "no"
    (tmp_path / "judge.json").write_text(json.dumps(rows))
    again = built("again", review=tmp_path / "judge.json")
    assert rows[0]["key"] not in again.images["key"].tolist()


def test_the_order_within_a_class_is_random_and_seeded(built, tmp_path):
    made = built()
    orders = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        write_review(made, tmp_path / f"{name}.csv", seed=seed)
        orders.append(pd.read_csv(tmp_path / f"{name}.csv")["key"].tolist())
    assert orders[0] == orders[1] != orders[2]
    assert sorted(orders[0]) == sorted(orders[2]) == sorted(made.images["key"])


def test_verdicts_on_other_images_are_refused(built, tmp_path):
    path = judged(built(), tmp_path / "judge.csv")
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    table.loc[0, ["id", "verdict"]] = ["0123456789abcdef", "wrong"]
    table.to_csv(path, index=False)
    with pytest.raises(DataError, match="no candidates here, such as '0123456789abcdef'"):
        built("again", review=path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("id,concept,verdict\na,red,wrong\na,red,right\n", "both right and wrong"),
        ("id,concept,verdict\na,red,maybe\n", "Got 'maybe' in row 2"),
        ("id,concept,verdict\na,zebra,right\n", "names 'zebra', which is no class"),
        ("id,verdict\na,right\n", r"lacks \['concept'\]"),
        ('id,concept,verdict\n"a,red,wrong\n', "Cannot read the review"),
    ],
)
def test_bad_review_files(text, message, tmp_path):
    (tmp_path / "r.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        read_review(tmp_path / "r.csv", ["red"])


@pytest.mark.parametrize("text", ["{}", "[1]", "[", "[" * 100_000])
def test_bad_json(text, tmp_path):
    (tmp_path / "r.json").write_text(text)
    with pytest.raises(DataError):
        read_review(tmp_path / "r.json", ["red"])


def test_spreadsheets_write_semicolons_and_marks(tmp_path):
    (tmp_path / "r.csv").write_bytes("\ufeffID;Concept;Verdict\na;red;NO\nb;red;\n".encode())
    review = read_review(tmp_path / "r.csv", ["red"])
    assert review.verdicts == {("red", "a"): False, ("red", "b"): None}


def test_purity_without_verdicts_is_unknown():
    assert Review(verdicts={}).purity("red") == {
        "n_judged": 0,
        "n_right": 0,
        "purity": None,
        "purity_low": None,
        "purity_high": None,
    }


def test_a_row_may_stand_twice_if_both_agree(tmp_path):
    text = "id,concept,verdict\na,red,\na,red,wrong\na,red,\na,red,no\nb,red,right\nb,red,\n"
    (tmp_path / "r.csv").write_text(text)
    review = read_review(tmp_path / "r.csv", ["red"])
    assert review.verdicts == {("red", "a"): False, ("red", "b"): True}


def test_one_image_may_be_wrong_for_one_class_and_right_for_another(tmp_path):
    (tmp_path / "r.csv").write_text("id,concept,verdict\na,red,no\na,blue,yes\n")
    review = read_review(tmp_path / "r.csv", ["red", "blue"])
    assert review.verdicts == {("red", "a"): False, ("blue", "a"): True}


def test_a_verdict_on_an_image_that_cleaning_now_removes_does_no_harm(
    built, tmp_path, make_pool, plain_files
):
    made = built()
    key = made.images["key"][0]
    path = judged(made, tmp_path / "judge.csv", right=made.images["key"].tolist())
    trained = make_pool({"t.png": plain_files[f"{key}.png"]}, name="trained")
    again = built("again", review=path, against=(trained,))
    assert key not in again.images["key"].tolist()


def verdicts_of(n_right, n_wrong, n_open, prefix):
    told = [True] * n_right + [False] * n_wrong + [None] * n_open
    return {("red", f"{prefix}{i}"): verdict for i, verdict in enumerate(told)}


def test_purity_weighs_suspects_by_their_number():
    suspects = verdicts_of(1, 3, 0, "s")
    others = verdicts_of(8, 0, 8, "o")
    review = Review(verdicts=suspects | others, suspects=frozenset(suspects))
    told = review.purity("red")
    assert (told["n_judged"], told["n_right"]) == (12, 9)
    assert told["purity"] == pytest.approx((4 * 1 / 4 + 16 * 1.0) / 20)
    low_s, high_s = wilson_interval(1, 4)
    low_o, high_o = wilson_interval(8, 8)
    assert told["purity_low"] == pytest.approx((4 * low_s + 16 * low_o) / 20, abs=1e-6)
    assert told["purity_high"] == pytest.approx((4 * high_s + 16 * high_o) / 20, abs=1e-6)


def test_purity_is_unknown_while_only_suspects_are_judged():
    suspects = verdicts_of(1, 3, 0, "s")
    review = Review(verdicts=suspects | verdicts_of(0, 0, 5, "o"), suspects=frozenset(suspects))
    assert review.purity("red")["purity"] is None
    assert review.purity("red")["n_judged"] == 4


def test_purity_interval_covers_the_truth_as_often_as_it_says():
    """Classes of 12 suspects (30 % right) and 60 others (97 %), 10 of these judged."""
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(400):
        suspects = {("red", f"s{i}"): bool(rng.random() < 0.3) for i in range(12)}
        truth = rng.random(60) < 0.97
        others = {("red", f"o{i}"): bool(truth[i]) if i < 10 else None for i in range(60)}
        review = Review(verdicts=suspects | others, suspects=frozenset(suspects))
        told = review.purity("red")
        true = (12 * 0.3 + 60 * 0.97) / 72
        covered += told["purity_low"] <= true <= told["purity_high"]
    assert covered / 400 >= 0.9


def test_suspects_stand_first_in_the_file(built, tmp_path):
    made = built()
    images = made.images.assign(suspect="")
    images.loc[[4, 8], "suspect"] = "outlier: 5.0 deviations from its class"
    write_review(replace(made, images=images), tmp_path / "r.csv")
    table = pd.read_csv(tmp_path / "r.csv", keep_default_na=False)
    assert table["key"][:2].tolist() == images["key"][[4, 8]].tolist()
    assert (table["suspect"][2:] == "").all()
    assert table["concept"][2:].is_monotonic_increasing
