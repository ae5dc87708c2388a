"""Shard by shard gives what one pass gives, whoever does the work and however often it stops."""

import hashlib
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conceptaudit.datasets import open_dataset
from conceptaudit.errors import DataError
from conceptaudit.longtail import LongTailOptions, build_long_tail
from conceptaudit.longtail.candidates import (
    IMAGES,
    PAIRS,
    TEXTS,
    VECTORS,
    ShardCandidates,
    TopKSearch,
)
from conceptaudit.longtail.fingerprints import fingerprint_of
from conceptaudit.longtail.set_storage import WORK

OPTIONS = LongTailOptions(k=3, per_class=5, oversample=4)


def block_of(vectors, shard, first):
    """A block of images with keys out of order, as the search takes it."""
    n = len(vectors)
    images = pd.DataFrame(
        {
            "sample_id": np.arange(first, first + n),
            "shard": shard,
            "key": [f"k{(7 * i) % 101:03d}" for i in range(first, first + n)],
            "content": [hashlib.sha256(vector.tobytes()).hexdigest() for vector in vectors],
        }
    )
    for name in TEXTS:
        images[name] = pd.Series([None] * n, dtype="str")
    return images, vectors


def told(search):
    """Everything that later steps read: the best images by class, and the copies of each."""
    table, _ = search.table(lambda shard, sample: "")
    columns = ["class_id", "rank", "score", "key", "sample_id", "content"]
    best = table[~table["copy"].astype(bool)][columns].to_numpy().tolist()
    copies = table[table["copy"].astype(bool)][["class_id", "key", "sample_id", "content"]]
    return best, copies.to_numpy().tolist()


def by_class(best, n):
    return [[(row[3], row[4]) for row in best if row[0] == i] for i in range(n)]


def one_after_another(vectors, concepts, size, min_score):
    """The definition: sort everything, keep the first of each content."""
    images, _ = block_of(vectors, 0, 0)
    result = []
    for concept in concepts:
        scores = vectors.astype(np.float64) @ concept.astype(np.float64)
        best: dict[str, tuple] = {}
        rows = [
            (-s, k, int(i), c)
            for s, k, i, c in zip(
                scores.round(9), images["key"], images["sample_id"], images["content"], strict=True
            )
        ]
        for row in sorted(rows):
            if min_score is None or -row[0] >= min_score:
                best.setdefault(row[3], row)
        result.append([(row[1], row[2]) for row in list(best.values())[:size]])
    return result


def _pool(seed, n, n_different):
    """Unit vectors with many copies and exact ties."""
    rng = np.random.default_rng(seed)
    different = rng.integers(-2, 3, (n_different, 4)).astype(np.float32)
    different[~different.any(axis=1), 0] = 1
    different /= np.linalg.norm(different, axis=1, keepdims=True)
    return different[rng.integers(0, n_different, n)]


pools = st.builds(
    _pool,
    st.integers(0, 10_000),
    st.integers(0, 60),
    st.integers(1, 30),
)


@settings(max_examples=80)
@given(
    vectors=pools,
    cuts=st.lists(st.integers(0, 60), max_size=5),
    size=st.integers(1, 6),
    min_score=st.sampled_from([None, 0.1]),
    order=st.randoms(use_true_random=False),
)
def test_any_cut_and_order_gives_what_one_pass_gives(vectors, cuts, size, min_score, order):
    concepts = np.array([[1, 0, 0, 0], [0.6, 0.8, 0, 0], [0, 0, 0, 1]], dtype=np.float32)
    whole = TopKSearch(concepts, size, min_score)
    whole.add(*block_of(vectors, 0, 0))
    expected = told(whole)
    bounds = [0, *sorted(min(cut, len(vectors)) for cut in cuts), len(vectors)]
    parts = []
    for shard, (start, stop) in enumerate(pairwise(bounds)):
        part = TopKSearch(concepts, size, min_score)
        part._room = 5  # lets surplus go often
        for at in range(start, stop, 7):
            part.add(*block_of(vectors[at : min(at + 7, stop)], shard, at))
        parts += [part.kept()] if part.kept() is not None else []
    order.shuffle(parts)
    merged = TopKSearch(concepts, size, min_score)
    for part in parts:
        merged.merge(part)
    found = told(merged)
    assert found == expected
    keys = by_class(found[0], len(concepts))
    assert [len(one) for one in keys] == [
        len(one) for one in one_after_another(vectors, concepts, size, min_score)
    ]


def test_search_finds_what_sorting_finds():
    rng = np.random.default_rng(3)
    vectors = rng.normal(size=(400, 16)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    concepts = np.eye(16, dtype=np.float32)[:5]
    finder = TopKSearch(concepts, 9, 0.05)
    for start in range(0, 400, 64):
        finder.add(*block_of(vectors[start : start + 64], 0, start))
    assert by_class(told(finder)[0], 5) == one_after_another(vectors, concepts, 9, 0.05)


def test_candidates_survive_being_written(tmp_path, tools):
    from conceptaudit.artifacts import write_npy, write_parquet

    image = tools.picture("green", 3)
    fingerprint = replace(fingerprint_of(tools.encoded(image), image), phash=2**64 - 1)
    vectors = np.eye(4, dtype=np.float32)
    search = TopKSearch(vectors[:2], 3)
    search.add(*block_of(vectors, 0, 0), describe=lambda row: fingerprint)
    kept = search.kept()
    paths = {end: tmp_path / f"x{end}" for end in (IMAGES, PAIRS, VECTORS)}
    write_parquet(paths[IMAGES], kept.images)
    write_parquet(paths[PAIRS], kept.pairs)
    write_npy(paths[VECTORS], kept.vectors)
    back = ShardCandidates.read(paths, 7)
    pd.testing.assert_frame_equal(back.images, kept.images.assign(shard=7))
    pd.testing.assert_frame_equal(back.pairs, kept.pairs)
    assert set(back.images["phash"]) == {2**64 - 1}
    assert np.array_equal(back.vectors, kept.vectors)
    np.save(paths[VECTORS], vectors[:1])
    with pytest.raises(DataError, match="1 vector"):
        ShardCandidates.read(paths, 7)


@pytest.fixture
def vector_pool(tmp_path, encoder):
    """Four shards of embeddings with captions."""
    rng = np.random.default_rng(1)
    for part in range(4):
        vectors = rng.normal(0, 0.2, (30, encoder.dimension)).astype(np.float16)
        vectors[np.arange(30), np.arange(30) % 5] += 1
        vectors[3] = vectors[8]
        vectors[5] = 0 if part == 1 else vectors[5]
        for place in ("img_emb", "metadata"):
            (tmp_path / "emb" / place).mkdir(parents=True, exist_ok=True)
        np.save(tmp_path / "emb" / "img_emb" / f"img_emb_{part}.npy", vectors)
        keys = [f"{part}-{i:03d}" for i in range(30)]
        table = pd.DataFrame({"image_path": keys, "caption": "a green thing"})
        table.to_parquet(tmp_path / "emb" / "metadata" / f"metadata_{part}.parquet")
    return tmp_path / "emb"


def test_same_bytes_for_any_number_of_workers(tmp_path, run, vector_pool, tools):
    one = build_long_tail(run, vector_pool, tmp_path / "one", options=OPTIONS, workers=1)
    two = build_long_tail(run, vector_pool, tmp_path / "two", options=OPTIONS, workers=2)
    assert tools.tree(one.folder) == tools.tree(two.folder)
    account = one.manifest["account"]
    assert account == {
        "n_samples": 120,
        "n_compared": 119,
        "n_unreadable_files": 0,
        "unusable": {"zero_embedding": 1},
    }
    assert sorted(path.name for path in tmp_path.iterdir()) == ["emb", "one", "run", "two"]


def test_a_stopped_build_goes_on_where_it_was(tmp_path, run, plain_files, tools, caplog):
    files = list(plain_files.items())
    table = pd.DataFrame({"key": [name for name, _ in files], "jpg": [data for _, data in files]})
    table.to_parquet(tmp_path / "pool.parquet")
    pool = open_dataset(tmp_path / "pool.parquet", shard_rows=6)
    whole = build_long_tail(run, pool, tmp_path / "whole", options=OPTIONS, clip=tools.encoder)

    class Stopping(type(tools.encoder)):
        def encode_images(self, images):
            if len(self.calls) == 2:
                raise KeyboardInterrupt
            return super().encode_images(images)

    with pytest.raises(KeyboardInterrupt):
        build_long_tail(run, pool, tmp_path / "out", options=OPTIONS, clip=Stopping())
    assert not (tmp_path / "out").exists()
    assert "Finished shards are kept in" in caplog.text
    work = tmp_path / ".out.building" / WORK
    assert len(list(work.glob("pool/*.npy"))) == 2
    tools.encoder.calls.clear()
    again = build_long_tail(run, pool, tmp_path / "out", options=OPTIONS, clip=tools.encoder)
    assert len(tools.encoder.calls) == 2
    assert tools.tree(again.folder) == tools.tree(whole.folder)
    assert not work.exists()


def test_finished_shards_serve_other_settings_of_the_rest_only(tmp_path, run, plain_pool, encoder):
    options = replace(OPTIONS, per_class=12, oversample=2, min_per_class=12)
    with pytest.raises(DataError, match="No concept has the 12 images"):
        build_long_tail(run, plain_pool, tmp_path / "out", options=options, clip=encoder)
    n_calls = len(encoder.calls)
    relaxed = replace(options, min_per_class=1)
    build_long_tail(run, plain_pool, tmp_path / "out", options=relaxed, clip=encoder)
    assert len(encoder.calls) == n_calls
    other = replace(relaxed, min_side=40)
    build_long_tail(run, plain_pool, tmp_path / "b", options=other, clip=encoder)
    assert len(encoder.calls) == 2 * n_calls


def test_columns_of_the_pool_are_respected(tmp_path, run, encoder, plain_files):
    names = list(plain_files)
    table = pd.DataFrame(
        {
            "key": names,
            "jpg": list(plain_files.values()),
            "NSFW": ["NSFW" if name == "green0.png" else "UNSURE" for name in names],
            "punsafe": [0.9 if name == "blue1.png" else None for name in names],
            "pwatermark": [0.85 if name == "violet2.png" else 0.8 for name in names],
            "LICENSE": ["?" if name.startswith("blue") else "CC-BY | 2.0" for name in names],
            "URL": [f"https://a/{name}" for name in names],
        }
    )
    table.to_parquet(tmp_path / "pool.parquet")
    pool = tmp_path / "pool.parquet"
    made = build_long_tail(run, pool, tmp_path / "a", options=OPTIONS, clip=encoder)
    lost = made.removed.set_index("key")
    assert lost.loc["green0.png", ["reason", "detail"]].tolist() == ["unsafe", "nsfw is 'NSFW'"]
    assert lost.loc["blue1.png", ["reason", "detail"]].tolist() == ["unsafe", "unsafe is 0.9"]
    assert lost.loc["violet2.png", "reason"] == "watermark"
    assert (lost["reason"] == "unsafe").sum() == 2
    assert made.images["url"].eq("https://a/" + made.images["key"]).all()
    blue = made.images["concept"] == "blue"
    assert set(made.images["license"][blue]) == {"?"}
    assert set(made.images["license"][~blue]) == {"CC-BY | 2.0"}
    card = (made.folder / "README.md").read_text()
    assert "| CC-BY &#124; 2.0 | 10 |" in card
    assert any("24 images how unsafe" in note and "--max-unsafe" in note for note in made.notes)
    account = made.manifest["account"]
    assert account["n_samples"] == account["n_compared"] + sum(account["unusable"].values())
    off = replace(OPTIONS, max_unsafe=2, max_watermark=2)
    made = build_long_tail(run, pool, tmp_path / "b", options=off, clip=encoder)
    assert not set(made.removed["reason"]) & {"unsafe", "watermark"}
    assert any("--max-watermark is off" in note for note in made.notes)


def test_a_picture_with_several_captions_is_embedded_once(tmp_path, run, plain_files, tools):
    rows = [(name, data, i) for name, data in plain_files.items() for i in range(3)]
    table = pd.DataFrame(rows, columns=["key", "jpg", "number"])
    table["caption"] = [f"caption {i}" for i in table.pop("number")]
    table.to_parquet(tmp_path / "pool.parquet")
    made = build_long_tail(
        run, tmp_path / "pool.parquet", tmp_path / "a", options=OPTIONS, clip=tools.encoder
    )
    assert tools.encoder.calls == [len(plain_files)]
    assert made.manifest["account"]["n_compared"] == 3 * len(plain_files)
    assert len(made.images) == 15
    assert made.images["sha256"].is_unique
