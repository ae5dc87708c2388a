"""Outliers, classes that fall in two, and other senses of a name."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conceptaudit.errors import ConfigError, DataError
from conceptaudit.longtail import LongTailOptions, build_long_tail
from conceptaudit.longtail.flagged_images import (
    DEVIATIONS,
    LEAST,
    SEPARATION,
    deviations,
    find_suspects,
    split,
)
from conceptaudit.longtail.homonyms import embed_senses, read_other_senses

OPTIONS = LongTailOptions(per_class=20)


def around(*centres, seed=0, noise=0.1, dimension=16):
    """Unit vectors around (axis, number) pairs."""
    rng = np.random.default_rng(seed)
    rows = np.concatenate([np.tile(np.eye(dimension)[axis], (n, 1)) for axis, n in centres])
    rows = rows + noise * rng.standard_normal(rows.shape)
    return (rows / np.linalg.norm(rows, axis=1)[:, None]).astype(np.float32)


def candidates(n, class_id=0):
    table = pd.DataFrame({"key": [f"{class_id}-{i}" for i in range(n)], "class_id": class_id})
    texts = dict.fromkeys(("suspect", "reason", "detail", "duplicate_of"), "")
    return table.assign(vector=range(n), **texts)


@pytest.mark.parametrize("place", [0, 3, 19])
def test_a_stranger_lies_far_out_wherever_it_ranks(place):
    vectors = around((0, 20))
    vectors[place] = around((5, 1))[0]
    far = deviations(vectors, 20)
    assert far.argmax() == place
    assert far[place] > DEVIATIONS
    assert np.median(far) == pytest.approx(0, abs=1e-9)


def test_candidates_beyond_the_core_are_compared_with_it():
    vectors = around((0, 20), (5, 30))
    far = deviations(vectors, 20)
    assert (far[20:] > DEVIATIONS).all()
    assert (far[:20] > DEVIATIONS).sum() <= 1


def test_few_or_equal_images_say_nothing():
    assert not deviations(around((0, LEAST - 2), (4, 1)), 20).any()
    assert not split(around((0, LEAST - 2), (4, 1)), 20)[0].any()
    same = np.tile(np.eye(3, dtype=np.float32)[:1], (12, 1))
    assert not deviations(same, 12).any()
    assert split(same, 12)[1] == 0.0
    empty = np.empty((0, 3), dtype=np.float32)
    assert len(deviations(empty, 5)) == len(split(empty, 5)[0]) == 0


@settings(max_examples=40)
@given(
    seed=st.integers(0, 10_000),
    n=st.integers(LEAST, 40),
    n_core=st.integers(1, 45),
    turn=st.integers(0, 5),
)
def test_neither_depends_on_the_order_of_the_core_or_on_rotation(seed, n, n_core, turn):
    rng = np.random.default_rng(seed)
    vectors = around((0, n), seed=seed, noise=0.4, dimension=6)
    core = min(n_core, n)
    order = np.concatenate([rng.permutation(core), np.arange(core, n)])
    turned = np.roll(vectors, turn, axis=1)[order]
    np.testing.assert_allclose(
        deviations(vectors, core)[order], deviations(turned, core), atol=1e-4
    )
    assert split(vectors, core)[1] == pytest.approx(split(turned, core)[1], abs=1e-4)


def test_one_cloud_is_not_split_and_two_are():
    shares = [split(around((0, 30), seed=seed), 30)[1] for seed in range(40)]
    assert np.mean(np.array(shares) >= SEPARATION) <= 0.05
    smaller, share = split(around((0, 14), (5, 8)), 22)
    assert share > SEPARATION
    assert np.flatnonzero(smaller).tolist() == list(range(14, 22))
    halves, _ = split(around((0, 10), (5, 10)), 20)
    assert np.flatnonzero(halves).tolist() == list(range(10, 20))  # the best image's half stays


def test_a_single_stranger_is_an_outlier_and_no_part():
    vectors = around((0, 20), (5, 1), noise=0.05)
    table = candidates(21)
    find_suspects(table, vectors, ["a"], replace(OPTIONS, per_class=21))
    assert table["suspect"][20].startswith("outlier")


def test_suspects_are_flagged_or_removed():
    vectors = np.concatenate([around((0, 14), (5, 6)), around((2, 12), seed=3)])
    given_ = pd.concat([candidates(20), candidates(12, class_id=1)], ignore_index=True)
    given_["vector"] = range(32)
    flagged, removed = given_.copy(), given_.copy()
    notes = find_suspects(flagged, vectors, ["crane", "dog"], OPTIONS)
    marked = flagged.loc[flagged["suspect"].str.startswith("other_sense"), "key"].tolist()
    assert marked == [f"0-{i}" for i in range(14, 20)]
    assert not flagged["reason"].any()
    assert "crane" in notes[1]
    assert "judged first" in notes[0]
    notes = find_suspects(removed, vectors, ["crane", "dog"], replace(OPTIONS, suspects="remove"))
    assert set(removed.loc[removed["reason"] == "other_sense", "key"]) == set(marked)
    assert not removed["suspect"].any()
    assert "left out" in notes[0]


class Words:
    """Sees the axis whose number a text ends with."""

    def encode_texts(self, texts):
        return np.stack([np.eye(16)[int(text.split()[-1])] for text in texts]).astype(np.float32)


def test_named_senses_decide_before_the_class_is_looked_at():
    own = np.eye(16, dtype=np.float32)[[0, 1]]
    senses = embed_senses([(0, "machine 5"), (0, "dance 6")], own, Words(), ("a {}", "the {c}"))
    vectors = around((0, 10), (5, 12))  # the other sense has the majority
    table = candidates(22)
    find_suspects(table, vectors, ["crane", "dog"], OPTIONS, senses)
    assert (table["suspect"] != "").tolist() == [False] * 10 + [True] * 12
    assert "'machine 5' fits better by" in table["suspect"][15]
    assert senses.nearer(1, vectors)[0] == ("", -np.inf)


def test_classes_too_small_to_tell_are_counted():
    assert find_suspects(candidates(5), around((0, 5)), ["a", "b"], OPTIONS) == [
        f"1 class has fewer than {LEAST} candidates, too few to tell outliers by."
    ]


def test_a_table_of_senses_is_read_and_checked(tmp_path):
    path = tmp_path / "senses.csv"
    path.write_text("\ufeffConcept;Sense\ncrane;machine 5\ncrane;machine 5\nbank;river\n")
    assert read_other_senses(path, ["dog", "crane"]) == [(1, "machine 5")]
    for text, message in (
        ("concept,meaning\na,b\n", r"columns 'concept' and 'sense'"),
        ("concept,sense\ncrane,\n", "Line 2 of"),
        ("concept,sense\ncrame,x\n", "did you mean 'crane'"),
        ("", "columns 'concept' and 'sense'"),
    ):
        path.write_text(text)
        with pytest.raises(DataError, match=message):
            read_other_senses(path, ["dog", "crane"])
    with pytest.raises(DataError, match="Cannot read the other senses"):
        read_other_senses(tmp_path / "gone.csv", ["dog"])


def test_the_whole_way_from_flags_to_the_review_file(
    tmp_path, run, encoder, make_pool, plain_files, tools
):
    from conceptaudit.longtail.review import read_review, write_review

    files = {
        **{k: v for k, v in plain_files.items() if k.startswith("blue")},
        **{f"blue{i}.png": tools.encoded(tools.picture("blue", 300 + i)) for i in range(8, 16)},
        "odd.png": tools.encoded(tools.picture("yellow", 5)),
    }
    options = LongTailOptions(pins=("blue",), k=1, below=2, per_class=17, phash_distance=-1)
    made = build_long_tail(run, make_pool(files), tmp_path / "out", options=options, clip=encoder)
    suspects = made.images.set_index("key")["suspect"]
    assert suspects["odd"].startswith("outlier")
    assert (suspects.drop("odd") == "").sum() >= 14
    assert made.classes.set_index("concept").loc["blue", "n_suspect"] >= 1
    write_review(made, tmp_path / "r.csv")
    table = pd.read_csv(tmp_path / "r.csv", keep_default_na=False)
    flagged = table["suspect"] != ""
    assert flagged[: flagged.sum()].all()
    review = read_review(tmp_path / "r.csv", made.concepts)
    assert len(review.suspects) == flagged.sum()
    strict = replace(options, suspects="remove")
    clean = build_long_tail(run, tmp_path / "pool", tmp_path / "b", options=strict, clip=encoder)
    assert "odd" not in clean.images["key"].tolist()
    assert clean.removed.set_index("key").loc["odd", "reason"] == "outlier"


def test_other_senses_need_a_model(tmp_path, tools, make_pool):
    counts = {"red": 3, "green": 4}
    vectors = np.eye(2, 21, dtype=np.float32)
    run = tools.write_audit(tmp_path / "a", counts, vectors=vectors, clip=None, source="file:x")
    folder = tmp_path / "emb" / "img_emb"
    folder.mkdir(parents=True)
    np.save(folder / "img_emb_0.npy", vectors)
    (tmp_path / "emb" / "metadata").mkdir()
    keys = pd.DataFrame({"image_path": ["a", "b"]})
    keys.to_parquet(tmp_path / "emb" / "metadata" / "metadata_0.parquet")
    (tmp_path / "s.csv").write_text("concept,sense\nred,communist\n")
    options = LongTailOptions(other_senses=tmp_path / "s.csv")
    with pytest.raises(ConfigError, match="--other-senses needs a model"):
        build_long_tail(run, tmp_path / "emb", tmp_path / "out", options=options)
