"""Indexes find what the exact search finds, say how much of it, and refuse what cannot be right."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import faiss
import numpy as np
import pandas as pd
import pytest

import conceptaudit as ca
from conceptaudit.errors import ArtifactMismatchError, ConfigError, DataError
from conceptaudit.image.clip import find_clip
from conceptaudit.image.index import (
    RecallError,
    VectorIndex,
    build_index,
    merge_indexes,
    open_index,
)
from conceptaudit.image.index.recall import measure_recall
from conceptaudit.image.index.search import nearest_images
from conceptaudit.image.index.source import BLOCK_ROWS, draw, hashed, open_source
from conceptaudit.image.vectors import unit_rows
from conceptaudit.records import ROW_BITS

N, DIMENSION = 2_500, 24

MakeFolder = Callable[..., Path]


def clustered(n: int, dimension: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((max(n // 50, 2), dimension))
    points = centres[rng.integers(0, len(centres), n)]
    return unit_rows((points + rng.standard_normal((n, dimension))).astype(np.float32))


@pytest.fixture(scope="session")
def make_folder(tmp_path_factory: pytest.TempPathFactory) -> MakeFolder:
    def make(vectors: np.ndarray, files: int = 1, dtype: str = "float16") -> Path:
        folder = tmp_path_factory.mktemp("emb")
        (folder / "img_emb").mkdir()
        (folder / "metadata").mkdir()
        for i, part in enumerate(np.array_split(np.arange(len(vectors)), files)):
            np.save(folder / f"img_emb/img_emb_{i}.npy", vectors[part].astype(dtype))
            keys = pd.DataFrame({"image_path": [f"{row:06d}" for row in part]})
            keys.to_parquet(folder / f"metadata/metadata_{i}.parquet")
        return folder

    return make


@pytest.fixture(scope="module")
def vectors() -> np.ndarray:
    return clustered(N, DIMENSION)


@pytest.fixture(scope="module")
def folder(make_folder: MakeFolder, vectors: np.ndarray) -> Path:
    return make_folder(vectors, files=3)


@pytest.fixture(scope="module")
def flat(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> VectorIndex:
    out = tmp_path_factory.mktemp("flat") / "index"
    build_index(folder, out)
    return open_index(out)


def sample_ids(files: int = 3) -> np.ndarray:
    parts = np.array_split(np.arange(N), files)
    return np.concatenate([np.arange(len(part)) + (i << ROW_BITS) for i, part in enumerate(parts)])


def test_flat_equals_argsort(flat: VectorIndex, vectors: np.ndarray) -> None:
    rng = np.random.default_rng(2)
    queries = rng.standard_normal((20, DIMENSION)).astype(np.float32)
    stored = vectors.astype(np.float16).astype(np.float64)
    stored /= np.linalg.norm(stored, axis=1)[:, None]
    units = queries / np.linalg.norm(queries.astype(float), axis=1)[:, None]
    order = np.argsort(-(units @ stored.T), axis=1)[:, :7]
    found = flat.search(queries, 7)
    assert found.sample_ids.tolist() == sample_ids()[order].tolist()
    np.testing.assert_allclose(
        found.scores, np.take_along_axis(units @ stored.T, order, axis=1), atol=1e-5
    )
    assert flat.manifest["recall"]["value"] == 1.0
    assert flat.manifest["preset"] == "flat"


def test_ids_have_the_keys_of_their_files(flat: VectorIndex) -> None:
    ids = sample_ids()
    assert flat.keys([int(ids[0]), int(ids[-1]), -1, 77 << 50]) == {
        int(ids[0]): "000000",
        int(ids[-1]): f"{N - 1:06d}",
    }


@pytest.mark.parametrize("preset", ["hnsw", "ivf-flat", "ivf-sq8", "ivf-pq"])
def test_every_preset_builds_searches_and_keeps_its_word(
    folder: Path, tmp_path: Path, vectors: np.ndarray, preset: str
) -> None:
    required = 0.2 if preset == "ivf-pq" else None  # 24 numbers in 3 codes
    built = build_index(folder, tmp_path / "index", preset=preset, recall=required)
    index = open_index(tmp_path / "index")
    assert len(index) == N
    assert built.manifest["recall"]["value"] >= built.manifest["recall"]["promised"]
    own = index.search(vectors[:200], 1).sample_ids[:, 0]
    assert (own == sample_ids()[:200]).mean() > (0.3 if required else 0.97)
    again = measure_recall(index)
    assert [one.k for one in again] == [1, 10, 100]
    assert again[1].value == pytest.approx(built.manifest["recall"]["value"], abs=0.06)
    assert index.damage() == []


def test_recall_is_what_the_definition_says(
    folder: Path, tmp_path: Path, flat: VectorIndex
) -> None:
    """Built with one list visited of many, against neighbours counted here."""
    build_index(folder, tmp_path / "index", preset="ivf-flat", recall=0.01)
    index = open_index(tmp_path / "index")
    assert index.manifest["search"]["value"] == 8
    source = open_source(folder)
    sample = draw(source.blocks(), expected=N, n_queries=1000, n_training=0, seed=0)
    found = index.search(sample.queries, 11).sample_ids
    exact = flat.search(sample.queries, 11).sample_ids
    parts = []
    for own, a, b in zip(sample.query_ids, found.tolist(), exact.tolist(), strict=True):
        left, right = ([i for i in row if i != own][:10] for row in (a, b))
        parts.append(len(set(left) & set(right)) / 10)
    assert index.manifest["recall"]["value"] == pytest.approx(np.mean(parts), abs=2e-3)
    assert index.manifest["recall"]["n_queries"] == 250


def test_a_promise_that_is_not_kept_fails_and_leaves_nothing(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(RecallError, match=r"are required .*--preset ivf-flat.*--recall"):
        build_index(folder, tmp_path / "index", preset="ivf-pq", recall=0.999)
    assert list((tmp_path / "index").iterdir()) == []
    with pytest.raises(DataError, match=r"no manifest\.json"):
        open_index(tmp_path / "index")


@pytest.mark.parametrize("preset", ["flat", "hnsw", "ivf-flat"])
def test_shards_and_repeats_change_no_byte(
    make_folder: MakeFolder, vectors: np.ndarray, tmp_path: Path, preset: str
) -> None:
    folder = make_folder(vectors)
    for name in ("a", "b"):
        build_index(folder, tmp_path / name, preset=preset)
    a, b = (
        {p.name: p.read_bytes() for p in (tmp_path / name).iterdir() if p.name != ".lock"}
        for name in ("a", "b")
    )
    assert a == b


def test_the_sample_depends_on_ids_alone(folder: Path) -> None:
    blocks = list(open_source(folder).blocks())
    halves = [
        replace(block, sample_ids=block.sample_ids[p], keys=[], vectors=block.vectors[p])
        for block in blocks
        for p in (slice(0, 1000), slice(1000, None))
    ]
    one, two = (
        draw(parts, expected=N, n_queries=50, n_training=100, seed=3) for parts in (blocks, halves)
    )
    assert one.query_ids.tolist() == two.query_ids.tolist()
    assert np.array_equal(one.training, two.training)
    assert one.training.shape == (100, DIMENSION)
    other = draw(blocks, expected=N, n_queries=50, n_training=100, seed=4)
    assert set(other.query_ids.tolist()) != set(one.query_ids.tolist())
    spread = hashed(np.arange(100_000), 0).astype(float) / 2.0**64
    assert abs(spread.mean() - 0.5) < 0.01
    assert abs(np.corrcoef(spread[:-1], spread[1:])[0, 1]) < 0.02


def test_blocks_do_not_depend_on_files(make_folder: MakeFolder) -> None:
    vectors = clustered(BLOCK_ROWS + 500, 4)
    sizes = []
    for files in (1, 7):
        blocks = list(open_source(make_folder(vectors, files=files)).blocks())
        sizes.append([len(block) for block in blocks])
        assert np.concatenate([b.vectors for b in blocks]).shape == vectors.shape
        assert [key for b in blocks for key in b.keys] == [f"{i:06d}" for i in range(len(vectors))]
    assert sizes[0] == sizes[1] == [BLOCK_ROWS, 500]


def test_the_same_build_is_not_done_twice_and_another_needs_leave(
    folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "index"
    assert not build_index(folder, out).reused
    assert build_index(folder, out).reused
    with pytest.raises(ArtifactMismatchError, match="--overwrite"):
        build_index(folder, out, preset="ivf-flat")
    assert build_index(folder, out, preset="ivf-flat", overwrite=True).manifest["preset"]
    (out / "index.faiss").write_bytes(b"")
    assert not build_index(folder, out, preset="ivf-flat").reused
    other = tmp_path / "other"
    other.mkdir()
    (other / "thesis.tex").touch()
    with pytest.raises(ArtifactMismatchError, match=r"thesis\.tex"):
        build_index(folder, other, overwrite=True)


def test_unusable_vectors_are_left_out_and_counted(make_folder: MakeFolder, tmp_path: Path) -> None:
    vectors = clustered(300, 8)
    vectors[5], vectors[70], vectors[299] = np.nan, 0.0, np.inf
    built = build_index(make_folder(vectors, dtype="float32"), tmp_path / "index")
    assert built.manifest["n_vectors"] == 297
    assert built.manifest["dropped"] == {
        "infinite_embedding": 1,
        "nan_embedding": 1,
        "zero_embedding": 1,
    }
    found = open_index(tmp_path / "index").search(np.ones((1, 8), np.float32), 300).sample_ids
    assert sorted(found[0].tolist()) == [i for i in range(300) if i not in (5, 70, 299)]


@pytest.mark.parametrize("n", [1, 2, 15])
def test_tiny_sets(make_folder: MakeFolder, tmp_path: Path, n: int) -> None:
    folder = make_folder(clustered(n, 8))
    built = build_index(folder, tmp_path / "index")
    assert built.manifest["recall"]["value"] == 1.0
    assert open_index(tmp_path / "index").search(clustered(3, 8), 50).sample_ids.shape == (3, n)


def test_copies_of_one_picture_are_each_a_right_answer(
    make_folder: MakeFolder, tmp_path: Path
) -> None:
    vectors = np.repeat(clustered(50, 8), 20, axis=0)
    assert build_index(make_folder(vectors), tmp_path / "i").manifest["recall"]["value"] > 0.999


def test_an_index_is_refused_where_it_cannot_be_right(
    flat: VectorIndex, tmp_path: Path, tiny_clip: Path
) -> None:
    with pytest.raises(ConfigError, match="dimension 24"):
        flat.search(np.ones((1, 25), np.float32))
    with pytest.raises(ConfigError, match="'k'"):
        flat.search(np.ones((1, 24), np.float32), 0)
    clip = find_clip(str(tiny_clip), device="cpu")
    with pytest.raises(ConfigError, match="dimension 16"):
        flat.check_model(clip)
    known = replace(flat, manifest={**flat.manifest, "dimension": 16, "model": "0" * 64})
    with pytest.raises(ArtifactMismatchError, match="mean nothing"):
        known.check_model(clip)
    replace(known, manifest={**known.manifest, "model": clip.digest}).check_model(clip)


def test_damaged_indexes(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "index"
    build_index(folder, out)
    manifest = (out / "manifest.json").read_text()
    (out / "manifest.json").unlink()
    with pytest.raises(DataError, match=r"only an index\.faiss.*which model"):
        open_index(out)
    (out / "manifest.json").write_text(json.dumps({**json.loads(manifest), "kind": "audit"}))
    with pytest.raises(DataError, match="'audit'"):
        open_index(out)
    (out / "manifest.json").write_text(json.dumps({**json.loads(manifest), "n_vectors": 3}))
    with pytest.raises(DataError, match="manifest says 3"):
        open_index(out)
    (out / "manifest.json").write_text(manifest)
    whole = (out / "index.faiss").read_bytes()
    (out / "index.faiss").write_bytes(whole[:-1])
    with pytest.raises(DataError, match="truncated"):
        open_index(out)
    (out / "index.faiss").write_bytes(b"\0" * len(whole))
    with pytest.raises(DataError, match="is not as it was written"):
        open_index(out)
    with pytest.raises(DataError, match="FAISS cannot read"):
        open_index(out, verify=False)
    (out / "samples.parquet").unlink()
    with pytest.raises(DataError, match=r"samples\.parquet"):
        open_index(out)


def test_faiss_never_sees_a_damaged_index(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "index"
    build_index(folder, out)

    def parse(path: Path, factory: str) -> None:
        raise AssertionError("FAISS was given a damaged file")

    monkeypatch.setattr("conceptaudit.image.index.store.map_index", parse)
    whole = bytearray((out / "index.faiss").read_bytes())
    for place in range(0, len(whole), len(whole) // 50):
        changed = bytearray(whole)
        changed[place] ^= 0x10
        (out / "index.faiss").write_bytes(changed)
        with pytest.raises(DataError, match="is not as it was written"):
            open_index(out)
    manifest = json.loads((out / "manifest.json").read_text())
    del manifest["files"]["index.faiss"]
    (out / "manifest.json").write_text(json.dumps(manifest))
    (out / "index.faiss").write_bytes(whole)
    with pytest.raises(DataError, match="is not as it was written"):
        open_index(out)


def test_unusable_inputs(make_folder: MakeFolder, tmp_path: Path, folder: Path) -> None:
    with pytest.raises(DataError, match="no usable vector"):
        build_index(make_folder(np.zeros((4, 8))), tmp_path / "a")
    mixed = make_folder(clustered(40, 8), files=2)
    np.save(mixed / "img_emb/img_emb_1.npy", clustered(20, 9))
    with pytest.raises(DataError, match="different models"):
        build_index(mixed, tmp_path / "b")
    (tmp_path / "t.csv").write_text("url,text\nhttp://x/y.jpg,a dog\n")
    with pytest.raises(ConfigError, match="conceptaudit embed"):
        build_index(tmp_path / "t.csv", tmp_path / "c")
    for bad in ({"recall": 0.0}, {"memory": 0}, {"device": "cuda:0"}, {"part": (3, 2)}):
        with pytest.raises(ConfigError, match=next(iter(bad))):
            build_index(folder, tmp_path / "d", **bad)
    index = ca.build_index(folder, tmp_path / "e")
    opened = ca.open_index(index.folder)
    with pytest.raises(DataError, match="300 usable vectors"):
        measure_recall(opened, embeddings=make_folder(clustered(300, 24)))
    with pytest.raises(ConfigError, match="Queries"):
        measure_recall(opened, queries=np.ones((2, 3), np.float32))


def test_parts_merge_to_the_whole(folder: Path, tmp_path: Path, flat: VectorIndex) -> None:
    build_index(folder, tmp_path / "1", preset="ivf-flat", part=(1, 2))
    with pytest.raises(ConfigError, match=r"one index for each of the parts"):
        merge_indexes([tmp_path / "1", tmp_path / "1"], tmp_path / "m")
    build_index(folder, tmp_path / "2", part=(2, 2), trained=tmp_path / "1")
    built = merge_indexes([tmp_path / "2", tmp_path / "1"], tmp_path / "m")
    assert built.manifest["n_vectors"] == N
    assert built.manifest["recall"]["value"] >= 0.95
    merged = open_index(tmp_path / "m")
    assert merged.keys(sample_ids().tolist()) == flat.keys(sample_ids().tolist())
    assert merged.damage() == []
    build_index(folder, tmp_path / "apart", preset="ivf-flat", part=(2, 2), seed=5)
    with pytest.raises(ArtifactMismatchError, match=r"differ in .*trained"):
        merge_indexes([tmp_path / "1", tmp_path / "apart"], tmp_path / "n")


@pytest.mark.parametrize(("preset", "works"), [("flat", True), ("hnsw", False)])
def test_which_presets_merge(folder: Path, tmp_path: Path, preset: str, works: bool) -> None:
    build_index(folder, tmp_path / "1", preset=preset, part=(1, 2))
    build_index(folder, tmp_path / "2", preset=preset, part=(2, 2), trained=tmp_path / "1")
    if works:
        built = merge_indexes([tmp_path / "1", tmp_path / "2"], tmp_path / "m")
        assert built.manifest["recall"]["value"] == 1.0
        return
    with pytest.raises(ConfigError, match="graph"):
        merge_indexes([tmp_path / "1", tmp_path / "2"], tmp_path / "m")


def test_the_file_is_a_plain_faiss_index(flat: VectorIndex) -> None:
    """Other programs can use it: ids are sample ids, the metric is the inner product."""
    index = faiss.read_index(str(flat.folder / "index.faiss"))
    assert index.metric_type == faiss.METRIC_INNER_PRODUCT
    assert index.ntotal == N


def test_a_picture_with_several_captions_is_found_once(tmp_path: Path) -> None:
    pictures = clustered(40, 8)
    captions = [5] * 20 + [1] * 19 + [30]
    folder = tmp_path / "emb"
    (folder / "img_emb").mkdir(parents=True)
    (folder / "metadata").mkdir()
    rows = np.repeat(np.arange(40), captions)
    # archives may number alike: the first two pictures share a key and are not one picture
    table = pd.DataFrame({"image_path": np.where(rows < 2, "0", rows.astype(str))})
    table["caption"] = [f"caption {i}" for i in range(len(rows))]
    for i, part in enumerate((rows == 0, rows > 0)):
        np.save(folder / f"img_emb/img_emb_{i}.npy", pictures[rows[part]])
        table[part].to_parquet(folder / f"metadata/metadata_{i}.parquet")
    build_index(folder, tmp_path / "index", preset="flat")
    index = open_index(tmp_path / "index")
    for query in (0, 30, 39):
        [hits] = nearest_images(index, pictures[[query]], 12)
        order = np.argsort(-(pictures @ pictures[query]), kind="stable")[:12]
        assert [hit.key for hit in hits] == [str(i) if i > 1 else "0" for i in order]
        assert [hit.n_samples for hit in hits] == [captions[i] for i in order]
    [everything] = nearest_images(index, pictures[:1], 100)
    assert len(everything) == 40
