"""The audit, end to end: a corpus counted by hand, known images, kills and resumes."""

import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from conceptaudit.artifacts import STARTED
from conceptaudit.auditing import AuditOptions, audit
from conceptaudit.errors import ArtifactMismatchError, ConfigError, DataError

CAPTIONS = {
    "a": "two dogs and a cat",
    "b": "a man watches his dog",
    "c": "HOT DOGS for sale",
    "d": "a watch on a table",
    "e": None,
    "f": "   ",
    "g": "Katzen und Hunde",
}
CONCEPTS = ["dog", "cat", "hot_dog", "watch", "zebra"]
COUNTED = {"dog": 2, "cat": 1, "hot_dog": 1, "watch": 1, "zebra": 0}


@pytest.fixture
def captions(tmp_path: Path) -> Path:
    path = tmp_path / "captions.parquet"
    pd.DataFrame({"key": list(CAPTIONS), "TEXT": list(CAPTIONS.values())}).to_parquet(path)
    return path


def tree(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_a_corpus_counted_by_hand(captions: Path, tmp_path: Path) -> None:
    run = audit(captions, CONCEPTS, tmp_path / "run")
    assert dict(zip(run.table["concept"], run.table["n_text"], strict=True)) == COUNTED
    assert run.table["n_image"].isna().all()
    assert run.account["text"]["n_samples"] == 7
    assert run.account["text"]["dropped"] == {
        "caption:empty_caption": 1,
        "caption:null_caption": 1,
    }
    written = pd.read_csv(tmp_path / "run/frequencies.csv")
    assert written["n_text"].tolist() == list(COUNTED.values())
    tags = pd.concat([pd.read_parquet(p) for p in (tmp_path / "run/text").glob("*0.parquet")])
    assert sorted(tags["key"]) == ["a", "a", "b", "c", "d"]
    drops = pd.concat([pd.read_parquet(p) for p in (tmp_path / "run/text").glob("*drops.parquet")])
    assert sorted(zip(drops["key"], drops["reason"], strict=True)) == [
        ("e", "null_caption"),
        ("f", "empty_caption"),
    ]


def test_any_sharding_and_any_workers_count_the_same(captions: Path, tmp_path: Path) -> None:
    whole = audit(captions, CONCEPTS, tmp_path / "whole")
    for name, options in {
        "cut": AuditOptions(shard_rows=2),
        "shared": AuditOptions(shard_rows=3, workers=2),
    }.items():
        run = audit(captions, CONCEPTS, tmp_path / name, options=options)
        pd.testing.assert_frame_equal(run.table, whole.table)
        assert run.account == whole.account
        for file in ("frequencies.parquet", "frequencies.csv", "alignment.json"):
            assert (tmp_path / name / file).read_bytes() == (tmp_path / "whole" / file).read_bytes()


class TestImages:
    """Embeddings with orthonormal concepts: what is tagged is known."""

    @pytest.fixture
    def embeddings(self, tmp_path: Path) -> Path:
        folder = tmp_path / "emb"
        for part in ("img_emb", "metadata"):
            (folder / part).mkdir(parents=True)
        eye = np.eye(5, dtype=np.float16)
        rows = [eye[0], eye[0] + eye[1], eye[2], np.full(5, np.nan), np.zeros(5), 3 * eye[3]]
        np.save(folder / "img_emb/img_emb_0.npy", np.array(rows, dtype=np.float16))
        pd.DataFrame(
            {
                "image_path": ["k0", "k1", "k2", "k3", "k4", "k5"],
                "caption": ["a dog", "a dog", "a cat", "a dog", "a dog", "nothing"],
            }
        ).to_parquet(folder / "metadata/metadata_0.parquet")
        return folder

    @pytest.fixture
    def vectors(self, tmp_path: Path) -> str:
        np.save(tmp_path / "vectors.npy", 7 * np.eye(5, dtype=np.float32))
        return str(tmp_path / "vectors.npy")

    def test_text_image_and_joint(self, embeddings: Path, vectors: str, tmp_path: Path) -> None:
        options = AuditOptions(concept_vectors=vectors, threshold=0.7)
        run = audit(embeddings, CONCEPTS, tmp_path / "run", options=options)
        table = run.table.set_index("concept")
        assert table["n_text"].tolist() == [4, 1, 0, 0, 0]
        assert table["n_image"].tolist() == [2, 1, 1, 1, 0]
        assert table["n_joint"].tolist() == [2, 0, 0, 0, 0]
        assert run.account["image"]["dropped"] == {
            "image:nan_embedding": 1,
            "image:zero_embedding": 1,
        }
        # k2 names a cat and shows a hot dog; k3 and k4 cannot be seen; k5 names nothing
        assert run.alignment.n_both_tagged == 3
        assert run.alignment.n_misaligned == 1
        assert run.alignment.as_json()["misalignment_degree"] == pytest.approx(1 / 6)

    def test_backends_write_the_same_bytes(
        self, embeddings: Path, vectors: str, tmp_path: Path
    ) -> None:
        for backend in ("blas", "faiss"):
            options = AuditOptions(concept_vectors=vectors, threshold=0.7, backend=backend)
            audit(embeddings, CONCEPTS, tmp_path / backend, options=options)
        assert tree(tmp_path / "blas") == tree(tmp_path / "faiss")

    def test_another_models_vectors(self, embeddings: Path, tmp_path: Path) -> None:
        np.save(tmp_path / "v.npy", np.eye(5, 7, dtype=np.float32))
        options = AuditOptions(concept_vectors=str(tmp_path / "v.npy"))
        with pytest.raises(ConfigError, match="different models"):
            audit(embeddings, CONCEPTS, tmp_path / "run", options=options)

    def test_without_concept_vectors_the_images_are_named_as_missing(
        self, embeddings: Path, tmp_path: Path
    ) -> None:
        run = audit(embeddings, CONCEPTS, tmp_path / "run")
        assert any("embeddings were not audited" in note for note in run.notes)
        assert run.table["n_image"].isna().all()


def picture(seed: int, mode: str = "RGB", kind: str = "JPEG") -> bytes:
    from PIL import Image

    rng = np.random.default_rng(seed)
    image = Image.fromarray(rng.integers(0, 255, (40, 50, 3), dtype=np.uint8)).convert(mode)
    stream = io.BytesIO()
    image.save(stream, kind)
    return stream.getvalue()


def bomb() -> bytes:
    """A PNG header that announces 60,000 x 60,000 pixels."""
    import struct
    import zlib

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    chunk = b"IHDR" + header
    return (
        b"\x89PNG\r\n\x1a\n"
        + struct.pack(">I", 13)
        + chunk
        + struct.pack(">I", zlib.crc32(chunk))
        + b"\x00\x00\x00\x00IEND\xaeB`\x82"
    )


def write_tar(path: Path, samples: dict[str, tuple[bytes, str]]) -> None:
    with tarfile.open(path, "w") as tar:
        for key, (image, caption) in samples.items():
            for suffix, data in (("jpg", image), ("txt", caption.encode())):
                member = tarfile.TarInfo(f"{key}.{suffix}")
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))


def test_pictures_are_encoded_and_bad_ones_counted_by_reason(
    tiny_clip: Path, tmp_path: Path
) -> None:
    good = picture(0)
    data = tmp_path / "data"
    data.mkdir()
    write_tar(
        data / "00000.tar",
        {
            "000": (good, "a dog"),
            "001": (good[:500], "a truncated dog"),
            "002": (b"GIF-like nonsense", "a dog that is no image"),
            "003": (bomb(), "a bomb"),
            "004": (picture(1, "CMYK"), "a dog in ink"),
            "005": (picture(2, "P", "PNG"), "a dog in few colours"),
            "006": (picture(3, "I;16", "PNG"), "a dog in 16 bits"),
            "007": (picture(4, "RGBA", "PNG"), "a dog seen through"),
        },
    )
    options = AuditOptions(clip=str(tiny_clip), device="cpu", threshold=-1.0)
    run = audit(data, CONCEPTS, tmp_path / "run", options=options)
    assert run.account["image"]["n_used"] == 5
    assert run.account["image"]["dropped"] == {
        "image:broken_image": 1,
        "image:decompression_bomb": 1,
        "image:not_an_image": 1,
    }
    assert run.account["text"]["n_used"] == 8
    # at a threshold of -1 every usable picture shows every concept
    assert run.table["n_image"].tolist() == [5] * 5
    assert run.table["n_joint"].iloc[0] == 5
    (stored,) = (tmp_path / "run/embeddings").glob("*.npy")
    lengths = np.linalg.norm(np.load(stored, allow_pickle=False).astype(float), axis=1)
    np.testing.assert_allclose(sorted(lengths), [0, 0, 0, 1, 1, 1, 1, 1], atol=2e-3)


def test_encoding_in_two_processes_writes_the_same_bytes(tiny_clip: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    for shard in range(2):
        samples = {f"{shard}{i}": (picture(10 * shard + i), "a dog") for i in range(3)}
        write_tar(data / f"0000{shard}.tar", samples)
    for workers in (1, 2):
        options = AuditOptions(clip=str(tiny_clip), device="cpu", threshold=0.1, workers=workers)
        audit(data, CONCEPTS, tmp_path / str(workers), options=options)
    assert tree(tmp_path / "1") == tree(tmp_path / "2")


class TestFolders:
    def test_the_same_audit_again_computes_nothing(self, captions: Path, tmp_path: Path) -> None:
        first = audit(captions, CONCEPTS, tmp_path / "run")
        before = tree(tmp_path / "run")
        again = audit(captions, CONCEPTS, tmp_path / "run")
        assert first.redone["text"] == {"kept": 0, "redone": {"missing": 1}}
        assert again.redone["text"] == {"kept": 1, "redone": {}}
        assert tree(tmp_path / "run") == before

    def test_another_audit_is_refused_resumed_or_overwrites(
        self, captions: Path, tmp_path: Path
    ) -> None:
        run = tmp_path / "run"
        audit(captions, CONCEPTS, run)
        with pytest.raises(ArtifactMismatchError, match=r"--resume"):
            audit(captions, ["cat"], run)
        resumed = audit(captions, ["cat"], run, resume=True)
        assert resumed.redone["text"]["redone"] == {"made from other inputs or settings": 1}
        audit(captions, ["cat"], tmp_path / "fresh")
        assert tree(run) == tree(tmp_path / "fresh")
        audit(captions, CONCEPTS, run, overwrite=True)
        audit(captions, CONCEPTS, tmp_path / "fresh2", resume=True)
        assert tree(run) == tree(tmp_path / "fresh2")

    def test_a_damaged_shard_is_redone(self, captions: Path, tmp_path: Path) -> None:
        run = tmp_path / "run"
        audit(captions, CONCEPTS, run, options=AuditOptions(shard_rows=2))
        before = tree(run)
        victim = next((run / "text").glob("*0.parquet"))
        victim.write_bytes(victim.read_bytes()[:-1])
        again = audit(captions, CONCEPTS, run, options=AuditOptions(shard_rows=2))
        assert again.redone["text"]["redone"] == {"damaged": 1}
        assert tree(run) == before

    def test_changed_input_is_noticed(self, captions: Path, tmp_path: Path) -> None:
        audit(captions, CONCEPTS, tmp_path / "run")
        pd.DataFrame({"key": ["a"], "TEXT": ["a zebra"]}).to_parquet(captions)
        with pytest.raises(ArtifactMismatchError):
            audit(captions, CONCEPTS, tmp_path / "run")
        run = audit(captions, CONCEPTS, tmp_path / "run", resume=True)
        assert run.table["n_text"].tolist() == [0, 0, 0, 0, 1]


def test_nothing_to_audit_and_bad_options(captions: Path, tmp_path: Path) -> None:
    from PIL import Image

    (tmp_path / "pictures").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "pictures/a.png")
    with pytest.raises(ConfigError, match="--clip"):
        audit(tmp_path / "pictures", CONCEPTS, tmp_path / "run")
    with pytest.raises(ConfigError, match="level"):
        AuditOptions(level=1.0)
    with pytest.raises(ConfigError, match="threshold"):
        AuditOptions(threshold=25.0)
    with pytest.raises(ConfigError, match="workers"):
        audit(captions, CONCEPTS, tmp_path / "run", options=AuditOptions(workers=0))
    options = AuditOptions(clip="Vit/none")
    with pytest.raises(ConfigError, match="clip"):
        audit(tmp_path / "pictures", CONCEPTS, tmp_path / "r", options=options)


def test_pickled_weights_are_refused(tmp_path: Path) -> None:
    from PIL import Image

    (tmp_path / "pictures").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "pictures/a.png")
    (tmp_path / "w.pt").write_bytes(b"\x80\x04.")
    options = AuditOptions(clip=f"ViT-B-32/{tmp_path / 'w.pt'}")
    with pytest.raises(ConfigError, match="safetensors"):
        audit(tmp_path / "pictures", CONCEPTS, tmp_path / "run", options=options)


def test_an_unreadable_file_stops_or_is_skipped_and_named(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    pd.DataFrame({"text": ["a dog"]}).to_parquet(data / "0.parquet")
    pd.DataFrame({"text": ["a cat"] * 50}).to_parquet(data / "1.parquet")
    whole = (data / "1.parquet").read_bytes()
    footer = whole[-600:]
    (data / "1.parquet").write_bytes(b"PAR1" + bytes(len(whole) - 604) + footer)
    with pytest.raises(DataError, match=r"1\.parquet"):
        audit(data, CONCEPTS, tmp_path / "run")
    run = audit(data, CONCEPTS, tmp_path / "skipped", options=AuditOptions(skip_unreadable=True))
    assert run.table["n_text"].iloc[0] == 1
    assert any("1.parquet" in note for note in run.notes)


KILLED = """
import sys
from conceptaudit.auditing import AuditOptions, audit
if __name__ == "__main__":
    audit(sys.argv[1], sys.argv[2:-2], sys.argv[-2],
          options=AuditOptions(shard_rows=40, workers=int(sys.argv[-1])))
"""


@pytest.mark.parametrize("workers", [1, 2])
def test_kill_9_and_the_same_command_gives_the_same_bytes(tmp_path: Path, workers: int) -> None:
    rng = np.random.default_rng(0)
    words = ["a dog", "a cat and a dog", "they watch", "hot dogs", "my watch"]
    corpus = tmp_path / "corpus.jsonl"
    corpus.write_text(
        "".join(json.dumps({"caption": words[i]}) + "\n" for i in rng.integers(0, 5, 1600))
    )
    undisturbed = tmp_path / "undisturbed"
    options = AuditOptions(shard_rows=40)
    audit(corpus, CONCEPTS, undisturbed, options=options)
    killed = tmp_path / "killed"
    script = tmp_path / "killed.py"
    script.write_text(KILLED)
    command = [sys.executable, str(script), str(corpus), *CONCEPTS, str(killed), str(workers)]
    for wanted in (1, 12):
        with subprocess.Popen(command, start_new_session=True) as process:
            deadline = time.monotonic() + 120
            while len(list((killed / "text").glob("*.json"))) < wanted:
                assert process.poll() is None, "the audit ended before it could be killed"
                assert time.monotonic() < deadline, "the audit wrote nothing"
                time.sleep(0.005)
            os.killpg(process.pid, signal.SIGKILL)
    assert (killed / STARTED).exists()
    assert not (killed / "frequencies.parquet").exists()
    resumed = audit(corpus, CONCEPTS, killed, options=options)
    assert resumed.redone["text"]["kept"] >= 12
    assert tree(killed) == tree(undisturbed)
