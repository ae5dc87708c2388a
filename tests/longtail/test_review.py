"""Verdicts go out as a file and come back as a cleaner set."""

import json

import pandas as pd
import pytest

from conceptaudit.errors import DataError
from conceptaudit.longtail import LongTailOptions, build_long_tail
from conceptaudit.longtail.review import Review, read_review, write_review

OPTIONS = LongTailOptions(k=3, per_class=3, oversample=4)


@pytest.fixture
def built(tmp_path, run, encoder, make_pool, plain_files):
    pool = make_pool(plain_files)

    def build(out="out", **settings):
        from dataclasses import replace

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
