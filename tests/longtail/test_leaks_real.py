"""Photographs of CIFAR-100's training split, planted among its test photographs, are found."""

from dataclasses import replace

import numpy as np
import pandas as pd

from conceptaudit.longtail import LongTailOptions, build_long_tail

N_TEST, N_TRAIN, N_PLANTED = 600, 1_500, 200


def photographs(path, rows):
    values = pd.read_parquet(path, columns=["image"])["image"].iloc[rows]
    return [value["bytes"] if isinstance(value, dict) else value for value in values]


def test_planted_training_photographs_are_all_found(realdata, run, encoder, tmp_path):
    rng = np.random.default_rng(0)
    train_rows = np.sort(rng.choice(50_000, N_TRAIN, replace=False))
    test_rows = np.sort(rng.choice(10_000, N_TEST, replace=False))
    trained = photographs(realdata / "cifar100" / "train.parquet", train_rows)
    test = photographs(realdata / "cifar100" / "test.parquet", test_rows)
    planted = rng.choice(N_TRAIN, N_PLANTED, replace=False).tolist()
    pool = {
        "key": [f"test-{i}" for i in range(N_TEST)] + [f"planted-{i}" for i in planted],
        "image": test + [trained[i] for i in planted],
    }
    pd.DataFrame(pool).to_parquet(tmp_path / "pool.parquet")
    table = {"key": [f"train-{i}" for i in range(N_TRAIN)], "image": trained}
    pd.DataFrame(table).to_parquet(tmp_path / "train.parquet")
    options = LongTailOptions(
        below=1_000,
        include_zero=True,
        per_class=N_TEST + N_PLANTED,
        oversample=1,
        phash_distance=4,
        embedding_similarity=2.0,
        suspects="off",
        against=(tmp_path / "train.parquet",),
    )
    made = build_long_tail(
        run, tmp_path / "pool.parquet", tmp_path / "out", options=options, clip=encoder
    )
    assert not made.images["key"].str.startswith("planted").any()
    leaks = made.removed[made.removed["reason"].str.startswith("leak")].set_index("key")
    ours = leaks[leaks.index.str.startswith("planted")]
    assert len(ours) == N_PLANTED
    assert (ours["reason"] == "leak_pixels").all()
    for key, detail in ours["detail"].items():
        assert detail.startswith(f"train-{key.removeprefix('planted-')} of ")
    unchecked = replace(options, against=())
    before = build_long_tail(
        run, tmp_path / "pool.parquet", tmp_path / "b", options=unchecked, clip=encoder
    )
    assert before.images["key"].str.startswith("planted").sum() == N_PLANTED
