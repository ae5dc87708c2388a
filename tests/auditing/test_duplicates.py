"""Unique pictures in an audit: counted by hand, for pictures and for embeddings alone."""

import io
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from conceptaudit.auditing import AuditOptions, audit
from conceptaudit.auditing.duplicates import DUPLICATES
from conceptaudit.cli.main import main
from conceptaudit.datasets import open_dataset
from conceptaudit.errors import ConfigError, DataError
from conceptaudit.image.clip import find_clip
from conceptaudit.image.duplicates import null_threshold
from conceptaudit.image.embed import embed
from conceptaudit.image.vectors import unit_rows

CONCEPTS = ["dog", "cat", "watch"]


def scene(seed: int) -> Image.Image:
    """Twelve broad patches of colour."""
    rng = np.random.default_rng(seed)
    return Image.fromarray(rng.integers(0, 255, (3, 4, 3), dtype=np.uint8)).resize((120, 90))


def saved(image: Image.Image, quality: int = 95) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=quality)
    return stream.getvalue()


SAMPLES = [
    ("00", saved(scene(0)), "a dog"),
    ("01", saved(scene(1)), "a cat"),
    ("02", saved(scene(0)), "my dog again"),  # the same file
    ("03", saved(scene(0).crop((1, 1, 119, 89)), 60), "a cat"),  # cropped, encoded anew
    ("04", saved(scene(2)), "a dog"),
]


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    data = tmp_path / "data"
    data.mkdir()
    for shard, part in enumerate((SAMPLES[:3], SAMPLES[3:])):
        with tarfile.open(data / f"0000{shard}.tar", "w") as tar:
            for key, image, caption in part:
                for suffix, content in (("jpg", image), ("txt", caption.encode())):
                    member = tarfile.TarInfo(f"{key}.{suffix}")
                    member.size = len(content)
                    tar.addfile(member, io.BytesIO(content))
    return data


def test_pictures_counted_once_each(pictures: Path, tiny_clip: Path, tmp_path: Path) -> None:
    """All five show every concept at a threshold of -1; three of them are distinct."""
    options = AuditOptions(
        clip=str(tiny_clip), device="cpu", threshold=-1.0, near_duplicates="auto"
    )
    run = audit(pictures, CONCEPTS, tmp_path / "run", options=options)
    assert run.table["n_image"].tolist() == [5, 5, 5]
    assert run.table["n_image_unique"].tolist() == [3, 3, 3]
    # dog: 00 and 02 are one picture, 04; cat: 01, 03
    assert run.table["n_joint"].tolist() == [3, 2, 0]
    assert run.table["n_joint_unique"].tolist() == [2, 2, 0]
    assert run.table["n_joint_unique_high"].iloc[2] == pytest.approx(3.0, abs=0.01)
    table = pd.read_parquet(tmp_path / "run" / DUPLICATES)
    assert table[["key", "kind"]].to_numpy().tolist() == [
        ["00", "kept"],
        ["02", "exact"],
        ["03", "near"],
    ]
    assert len(set(table["group"])) == 1
    assert any("5 samples show 3 distinct images" in note for note in run.notes)
    clip = find_clip(str(tiny_clip), device="cpu")
    embed(open_dataset(pictures), clip, tmp_path / "emb")
    stored = audit(tmp_path / "emb", CONCEPTS, tmp_path / "stored", options=options)
    columns = [c for c in run.table if c.startswith("n_") and "unique" in c]
    pd.testing.assert_frame_equal(stored.table[columns], run.table[columns])
    exact = AuditOptions(clip=str(tiny_clip), device="cpu", threshold=-1.0, near_duplicates="exact")
    again = audit(pictures, CONCEPTS, tmp_path / "run", options=exact, resume=True)
    assert again.table["n_image_unique"].tolist() == [4, 4, 4]
    plain = AuditOptions(clip=str(tiny_clip), device="cpu", threshold=-1.0)
    last = audit(pictures, CONCEPTS, tmp_path / "run", options=plain, resume=True)
    assert "n_image_unique" not in last.table
    assert not (tmp_path / "run" / DUPLICATES).exists()


class TestEmbeddings:
    """No picture at hand: vectors and keys decide."""

    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        folder = tmp_path / "emb"
        for part in ("img_emb", "metadata"):
            (folder / part).mkdir(parents=True)
        a, b, c = np.eye(3)
        rows = [a, a, a, 2 * a, a + 0.1 * b, b, b, np.zeros(3), c]
        keys = ["k0", "k0", "k1", "k2", "k3", "k5", "k5", "k7", "k8"]
        captions = ["a dog", "a cat", "a dog", "a dog", "a cat", "cats", "my watch", "a", "b"]
        for i, part in enumerate((slice(0, 4), slice(4, 9))):
            np.save(folder / f"img_emb/img_emb_{i}.npy", np.array(rows[part], dtype=np.float16))
            pd.DataFrame({"image_path": keys[part], "caption": captions[part]}).to_parquet(
                folder / f"metadata/metadata_{i}.parquet"
            )
        return folder

    def options(self, folder: Path, near: float | str, **more: int) -> AuditOptions:
        vectors = folder.parent / "vectors.npy"
        np.save(vectors, np.eye(3, dtype=np.float32))
        return AuditOptions(
            concept_vectors=str(vectors), threshold=0.5, near_duplicates=near, **more
        )

    def test_captions_of_one_picture_are_no_duplicates(self, folder: Path, tmp_path: Path) -> None:
        run = audit(folder, CONCEPTS, tmp_path / "run", options=self.options(folder, 0.99))
        assert run.table["n_image"].tolist() == [5, 2, 1]
        assert run.table["n_image_unique"].tolist() == [1, 1, 1]
        table = pd.read_parquet(tmp_path / "run" / DUPLICATES)
        assert table[["key", "kind"]].to_numpy().tolist() == [
            ["k0", "kept"],
            ["k0", "same_key"],
            ["k1", "exact"],
            ["k2", "exact"],  # twice as long: the same direction
            ["k3", "near"],
            ["k5", "kept"],
            ["k5", "same_key"],
        ]
        notes = " ".join(run.notes)
        assert "8 samples show 3 distinct images: 2 are further captions" in notes
        assert "no image was opened" in notes

    def test_sharding_changes_nothing(self, folder: Path, tmp_path: Path) -> None:
        whole = audit(folder, CONCEPTS, tmp_path / "a", options=self.options(folder, 0.99))
        cut = self.options(folder, 0.99, shard_rows=2)
        parts = audit(folder, CONCEPTS, tmp_path / "b", options=cut)
        pd.testing.assert_frame_equal(whole.table, parts.table)
        assert (tmp_path / "a" / DUPLICATES).read_bytes() == (
            tmp_path / "b" / DUPLICATES
        ).read_bytes()

    def test_fast_text_leaves_joint_counts_of_pictures_out(
        self, folder: Path, tmp_path: Path
    ) -> None:
        path = folder / "metadata/metadata_1.parquet"
        rows = pd.read_parquet(path)  # no rule decides "watch" here, so that it is left open
        rows.assign(caption=rows["caption"].replace("my watch", "Watch Online")).to_parquet(path)
        options = replace(self.options(folder, "exact"), text_mode="fast")
        run = audit(folder, CONCEPTS, tmp_path / "run", options=options)
        assert run.table["n_image_unique"].tolist() == [2, 1, 1]
        assert "n_joint_unique" not in run.table
        assert any("--text-mode exact" in note for note in run.notes)

    def test_imported_tags_and_duplicates(self, folder: Path, tmp_path: Path) -> None:
        tags = tmp_path / "tags.csv"
        tags.write_text("key,concept\nk0,dog\nk1,dog\nk1,cat\nk5,cat\nk8,watch\n")
        options = AuditOptions(image_tags=str(tags), near_duplicates="exact")
        run = audit(folder, CONCEPTS, tmp_path / "run", options=options)
        assert run.table["n_image"].tolist() == [3, 3, 1]
        assert run.table["n_image_unique"].tolist() == [1, 2, 1]

    def test_too_few_for_a_null(self, folder: Path, tmp_path: Path) -> None:
        with pytest.raises(DataError, match=r"--near-duplicates 0\.95"):
            audit(folder, CONCEPTS, tmp_path / "run", options=self.options(folder, "auto"))


def test_text_alone_says_why_not(tmp_path: Path) -> None:
    pd.DataFrame({"text": ["a dog"]}).to_parquet(tmp_path / "t.parquet")
    options = AuditOptions(near_duplicates="exact")
    run = audit(tmp_path / "t.parquet", CONCEPTS, tmp_path / "run", options=options)
    assert any("no embeddings in which to look" in note for note in run.notes)
    assert "n_image_unique" not in run.table


def test_the_null_lets_few_unrelated_pictures_pass() -> None:
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((30, 12))
    near = centres[rng.integers(0, 30, 1500)] + 0.3 * rng.standard_normal((1500, 12))
    vectors = unit_rows(near.astype(np.float32))
    threshold = null_threshold(vectors, 0.01)
    scores = vectors @ vectors.T - 2 * np.eye(1500)
    assert 0.9 < threshold < 1
    assert (scores.max(axis=1) >= threshold).mean() < 0.03


@pytest.mark.parametrize("near", ["0", "1.5", "nan", "nearly"])
def test_bad_similarities(near: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pd.DataFrame({"text": ["a dog"]}).to_parquet(tmp_path / "t.parquet")
    (tmp_path / "c.txt").write_text("dog\n")
    command = ["audit", str(tmp_path / "t.parquet"), "-c", str(tmp_path / "c.txt")]
    assert main([*command, "-o", str(tmp_path / "o"), "--near-duplicates", near]) == 2
    assert "--near-duplicates" in capsys.readouterr().err
    with pytest.raises(ConfigError, match="near_duplicates"):
        AuditOptions(near_duplicates="maybe")
