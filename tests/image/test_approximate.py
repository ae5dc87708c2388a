"""Tagging through an index: no wrong tag, and the missing ones are measured."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from conceptaudit.auditing import AuditOptions, AuditRun, audit
from conceptaudit.auditing.approximate import CHECKED_TAGS, RECALL
from conceptaudit.cli.main import main
from conceptaudit.errors import ArtifactMismatchError, ConfigError, DataError
from conceptaudit.image import approximate
from conceptaudit.image.index import build_index
from conceptaudit.image.vectors import unit_rows

N, DIMENSION, CONCEPTS = 3_000, 16, 12


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Embeddings in two files, concepts near their clusters, an exact and a coarse index."""
    root = tmp_path_factory.mktemp("approximate")
    rng = np.random.default_rng(0)
    concepts = unit_rows(rng.standard_normal((CONCEPTS, DIMENSION)).astype(np.float32))
    noise = rng.standard_normal((N, DIMENSION)).astype(np.float32)
    images = unit_rows(concepts[rng.integers(0, CONCEPTS, N)] + 0.3 * noise)
    images[5] = 0.0
    for part in ("img_emb", "metadata"):
        (root / "emb" / part).mkdir(parents=True)
    for i, rows in enumerate((range(2_000), range(2_000, N))):
        np.save(root / f"emb/img_emb/img_emb_{i}.npy", images[rows].astype(np.float16))
        keys = pd.DataFrame({"image_path": [f"{row:05d}" for row in rows]})
        keys.to_parquet(root / f"emb/metadata/metadata_{i}.parquet")
    np.save(root / "concepts.npy", concepts)
    (root / "concepts.txt").write_text("".join(f"thing{i}\n" for i in range(CONCEPTS)))
    build_index(root / "emb", root / "exact", preset="flat")
    build_index(root / "emb", root / "coarse", preset="ivf-flat", recall=0.01)
    return root


def run(world: Path, name: str, index: str | None, **options: object) -> AuditRun:
    chosen = AuditOptions(
        concept_vectors=str(world / "concepts.npy"),
        threshold=0.7,
        calibration="none",
        approximate_index=None if index is None else str(world / index),
        **options,
    )
    return audit(world / "emb", world / "concepts.txt", world / "runs" / name, options=chosen)


def tags(world: Path, name: str) -> pd.DataFrame:
    files = sorted((world / "runs" / name / "image").glob("*.parquet"))
    parts = [pd.read_parquet(p) for p in files if p.name.count(".") == 1]
    return pd.concat(parts, ignore_index=True)


def test_an_exact_index_loses_nothing(world: Path) -> None:
    exact = run(world, "plain", None).table
    through = run(world, "flat", "exact", shard_rows=700).table
    assert through["n_image"].tolist() == exact["n_image"].tolist()
    assert through[RECALL].dropna().tolist() == [1.0] * CONCEPTS
    assert through[CHECKED_TAGS].tolist() == exact["n_image"].tolist()
    assert RECALL not in exact
    pd.testing.assert_frame_equal(tags(world, "plain"), tags(world, "flat"))


def test_a_coarse_index_says_what_it_loses(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    exact = run(world, "plain", None).table
    got = run(world, "coarse", "coarse", workers=2)
    pairs = [set(zip(t["sample_id"], t["concept_id"], strict=True)) for t in (
        tags(world, "plain"), tags(world, "coarse"))]  # fmt: skip
    assert pairs[1] < pairs[0]
    # every image is checked in so small a set, so the measured recall is the true one
    np.testing.assert_allclose(got.table[RECALL], got.table["n_image"] / exact["n_image"])
    assert any("found" in note and RECALL in note for note in got.notes)
    monkeypatch.setattr(approximate, "CHECKED_IMAGES", 1_500)
    part = run(world, "part", "coarse").table
    assert part["n_image"].tolist() == got.table["n_image"].tolist()
    assert 0.3 < part[CHECKED_TAGS].sum() / exact["n_image"].sum() < 0.7
    np.testing.assert_allclose(part[RECALL], got.table[RECALL], atol=0.15)


def test_refusals(world: Path, tmp_path: Path) -> None:
    small = tmp_path / "small"
    for part in ("img_emb", "metadata"):
        (small / part).mkdir(parents=True)
    np.save(small / "img_emb/img_emb_0.npy", np.load(world / "emb/img_emb/img_emb_1.npy"))
    pd.DataFrame({"image_path": ["a"] * 1_000}).to_parquet(small / "metadata/metadata_0.parquet")
    build_index(small, tmp_path / "other")
    with pytest.raises(ArtifactMismatchError, match="Build it again"):
        run(world, "wrong", str(tmp_path / "other"))
    np.save(world / "narrow.npy", np.load(world / "concepts.npy")[:, :8])
    options = AuditOptions(
        concept_vectors=str(world / "narrow.npy"), approximate_index=str(world / "exact")
    )
    with pytest.raises(ConfigError, match="different models"):
        audit(world / "emb", world / "concepts.txt", tmp_path / "r", options=options)


def test_a_rotten_index_counts_nothing(world: Path, tmp_path: Path) -> None:
    rotten = shutil.copytree(world / "exact", tmp_path / "rotten")
    data = bytearray((rotten / "index.faiss").read_bytes())
    data[len(data) // 2] ^= 1
    (rotten / "index.faiss").write_bytes(data)
    with pytest.raises(DataError, match=r"index\.faiss is not as it was written"):
        run(world, "rotten", str(rotten))


def test_from_the_command_line(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["audit", str(world / "emb"), "-c", str(world / "concepts.txt"), "-o",
               str(tmp_path / "run"), "--concept-vectors", str(world / "concepts.npy"),
               "--threshold", "0.7", "--workers", "1", "--json"]  # fmt: skip
    assert main([*command, "--approximate-index", str(world / "coarse")]) == 0
    notes = json.loads(capsys.readouterr().out)["notes"]
    assert any("does not see every image" in note for note in notes)
    pd.DataFrame({"text": ["a dog"]}).to_parquet(tmp_path / "t.parquet")
    command[1] = str(tmp_path / "t.parquet")
    assert main([*command, "--approximate-index", str(world / "coarse"), "--overwrite"]) == 2
    assert "conceptaudit embed" in capsys.readouterr().err
