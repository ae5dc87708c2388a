"""Embedding folders: what is in them, what is not, and that audits of them count the same."""

import hashlib
import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from conceptaudit.auditing import AuditOptions, audit
from conceptaudit.cli.main import main
from conceptaudit.datasets import open_dataset
from conceptaudit.engine.array_tasks import Part
from conceptaudit.errors import ArtifactMismatchError, ConfigError, DataError
from conceptaudit.image.clip import find_clip
from conceptaudit.image.embed import embed

CONCEPTS = ["dog", "cat", "watch"]


def picture(seed: int) -> bytes:
    rng = np.random.default_rng(seed)
    stream = io.BytesIO()
    Image.fromarray(rng.integers(0, 255, (40, 50, 3), dtype=np.uint8)).save(stream, "JPEG")
    return stream.getvalue()


def write_tar(path: Path, samples: list[tuple[str, bytes, str]]) -> None:
    with tarfile.open(path, "w") as tar:
        for key, image, caption in samples:
            for suffix, data in (("jpg", image), ("txt", caption.encode())):
                member = tarfile.TarInfo(f"{key}.{suffix}")
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))


def tree(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Three shards: whole, partly broken, all broken."""
    data = tmp_path / "data"
    data.mkdir()
    good = [(f"0{i}", picture(i), "a dog and a cat" if i % 2 else "my watch") for i in range(5)]
    write_tar(data / "00000.tar", good)
    broken = [("10", picture(0), "a dog"), ("11", picture(7)[:400], "half a dog"), ("12", b"x", "")]
    write_tar(data / "00001.tar", broken)
    write_tar(data / "00002.tar", [("20", b"<html>", "a cat that is gone")])
    return data


def test_the_layout_and_what_is_left_out(pictures: Path, tiny_clip: Path, tmp_path: Path) -> None:
    clip = find_clip(str(tiny_clip), device="cpu")
    made = embed(open_dataset(pictures), clip, tmp_path / "emb", texts=True)
    folder = made.folder
    assert made.account["n_samples"] == 9
    assert made.account["n_used"] == 6
    assert made.account["dropped"] == {"image:broken_image": 1, "image:not_an_image": 2}
    assert made.n_texts == 6
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert {n for n in names if n.endswith(".npy")} == {
        f"{part}/{part}_{i}.npy" for part in ("img_emb", "text_emb") for i in range(2)
    }
    vectors = np.load(folder / "img_emb/img_emb_0.npy", allow_pickle=False)
    texts = np.load(folder / "text_emb/text_emb_0.npy", allow_pickle=False)
    table = pd.read_parquet(folder / "metadata/metadata_0.parquet")
    assert vectors.dtype == texts.dtype == np.float16
    assert len(vectors) == len(texts) == len(table) == 5
    for rows in (vectors, texts):
        np.testing.assert_allclose(np.linalg.norm(rows.astype(float), axis=1), 1, atol=2e-3)
    assert table["image_path"].tolist() == ["00", "01", "02", "03", "04"]
    direct = clip.encode_images([Image.open(io.BytesIO(picture(i))) for i in range(5)])
    np.testing.assert_array_equal(vectors, direct.astype(np.float16))
    dropped = pd.read_parquet(folder / "dropped/dropped_2.parquet")
    assert dropped[["key", "part", "reason"]].to_numpy().tolist() == [
        ["20", "image", "not_an_image"]
    ]
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["model"] == clip.digest
    assert manifest["shards"]["0000002-0000000000000"] == ["dropped_2.parquet"]
    opened = open_dataset(folder)
    assert opened.layout == "embeddings"
    keys = [key for s in opened.shards() for b in opened.read(s, opened.provides) for key in b.keys]
    assert keys == ["00", "01", "02", "03", "04", "10"]


def test_an_audit_of_it_counts_what_an_audit_of_the_pictures_counts(
    pictures: Path, tiny_clip: Path, tmp_path: Path
) -> None:
    clip = find_clip(str(tiny_clip), device="cpu")
    embed(open_dataset(pictures), clip, tmp_path / "emb")
    options = AuditOptions(clip=str(tiny_clip), device="cpu", threshold=0.02)
    columns = ["concept", "n_image", "n_joint", "n_image_low", "n_joint_high"]
    direct = audit(pictures, CONCEPTS, tmp_path / "direct", options=options)
    stored = audit(tmp_path / "emb", CONCEPTS, tmp_path / "stored", options=options)
    pd.testing.assert_frame_equal(stored.table[columns], direct.table[columns])
    assert direct.table["n_image"].sum() > 0
    scores = [
        pd.concat(pd.read_parquet(p) for p in sorted((tmp_path / run / "image").glob("*0.parquet")))
        for run in ("direct", "stored")
    ]
    assert scores[0][["key", "concept_id", "score"]].to_numpy().tolist() == (
        scores[1][["key", "concept_id", "score"]].to_numpy().tolist()
    )


def test_equal_captions_of_one_picture_stay_apart(tiny_clip: Path, tmp_path: Path) -> None:
    """Five captions of a picture, two of them equal, are five samples before and after."""
    data = tmp_path / "coco"
    (data / "images").mkdir(parents=True)
    (data / "images/a.jpg").write_bytes(picture(0))
    captions = ["a dog", "a dog", "a cat", "my watch", "a dog"]
    annotations = [{"image_id": 1, "id": i, "caption": c} for i, c in enumerate(captions)]
    content = {"images": [{"id": 1, "file_name": "a.jpg"}], "annotations": annotations}
    (data / "captions_mini.json").write_text(json.dumps(content))
    clip = find_clip(str(tiny_clip), device="cpu")
    embed(open_dataset(data / "captions_mini.json"), clip, tmp_path / "emb")
    runs = [
        audit(
            source,
            CONCEPTS,
            tmp_path / name,
            options=AuditOptions(clip=str(tiny_clip), device="cpu", threshold=-1.0),
        ).table
        for name, source in (("a", data / "captions_mini.json"), ("b", tmp_path / "emb"))
    ]
    assert runs[0]["n_text"].tolist() == runs[1]["n_text"].tolist() == [3, 1, 1]
    assert runs[0]["n_image"].tolist() == runs[1]["n_image"].tolist() == [5, 5, 5]


def test_workers_threads_and_a_resumed_run_write_the_same_bytes(
    pictures: Path, tiny_clip: Path, tmp_path: Path
) -> None:
    clip = find_clip(str(tiny_clip), device="cpu")
    dataset = open_dataset(pictures)
    embed(dataset, clip, tmp_path / "one", texts=True, threads=1)
    embed(dataset, clip, tmp_path / "two", texts=True, workers=2, threads=3)
    want = tree(tmp_path / "one")
    assert tree(tmp_path / "two") == want
    folder = tmp_path / "two"
    (folder / "manifest.json").unlink()
    (folder / "img_emb/img_emb_1.npy").unlink()
    (folder / "img_emb/.img_emb_1.npy.1.partial").write_bytes(b"")
    again = embed(dataset, clip, folder, texts=True)
    assert (again.kept, again.redone) == (2, {"damaged": 1})
    assert tree(folder) == want


def test_parts_and_a_last_call_write_what_one_call_writes(
    pictures: Path, tiny_clip: Path, tmp_path: Path
) -> None:
    clip = find_clip(str(tiny_clip), device="cpu")
    dataset = open_dataset(pictures)
    embed(dataset, clip, tmp_path / "one", threads=1)
    for index in (1, 0):
        part = Part(index=index, count=2)
        done = embed(dataset, clip, tmp_path / "two", part=part, threads=1)
    assert done.account["n_samples"] == 6
    assert not (tmp_path / "two/manifest.json").exists()
    (tmp_path / "two/.lock-1-of-2").touch()
    last = embed(dataset, clip, tmp_path / "two", threads=1)
    assert (last.kept, last.redone) == (3, {})
    assert tree(tmp_path / "two") == tree(tmp_path / "one")
    with pytest.raises(ConfigError, match="A part cannot overwrite"):
        embed(dataset, clip, tmp_path / "two", part=part, overwrite=True)


def test_a_changed_dataset_leaves_nothing_of_the_old_one(
    pictures: Path, tiny_clip: Path, tmp_path: Path
) -> None:
    clip = find_clip(str(tiny_clip), device="cpu")
    embed(open_dataset(pictures), clip, tmp_path / "emb")
    (pictures / "00000.tar").unlink()
    with pytest.raises(ArtifactMismatchError, match="--resume"):
        embed(open_dataset(pictures), clip, tmp_path / "emb")
    embed(open_dataset(pictures), clip, tmp_path / "emb", resume=True)
    embed(open_dataset(pictures), clip, tmp_path / "fresh")
    assert tree(tmp_path / "emb") == tree(tmp_path / "fresh")


def test_another_models_embeddings_are_refused(
    pictures: Path, tiny_clip: Path, tmp_path: Path
) -> None:
    embed(open_dataset(pictures), find_clip(str(tiny_clip), device="cpu"), tmp_path / "emb")
    with pytest.raises(ArtifactMismatchError, match="'lab'"):
        audit(tmp_path / "emb", CONCEPTS, tmp_path / "r", options=AuditOptions(clip="lab"))


def test_bad_calls(pictures: Path, tiny_clip: Path, tmp_path: Path) -> None:
    clip = find_clip(str(tiny_clip), device="cpu")
    pd.DataFrame({"text": ["a dog"]}).to_parquet(tmp_path / "t.parquet")
    with pytest.raises(ConfigError, match="img2dataset"):
        embed(open_dataset(tmp_path / "t.parquet"), clip, tmp_path / "emb")
    (tmp_path / "bare").mkdir()
    (tmp_path / "bare/a.jpg").write_bytes(picture(0))
    with pytest.raises(ConfigError, match="--text"):
        embed(open_dataset(tmp_path / "bare"), clip, tmp_path / "emb", texts=True)
    with pytest.raises(ConfigError, match="threads"):
        embed(open_dataset(pictures), clip, tmp_path / "emb", threads=0)
    with pytest.raises(DataError, match="not_an_image"):
        embed(open_dataset(pictures / "00002.tar"), clip, tmp_path / "none")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/thesis.txt").write_text("do not lose")
    with pytest.raises(ArtifactMismatchError, match=r"thesis\.txt"):
        embed(open_dataset(pictures), clip, tmp_path / "mine", overwrite=True)


def test_the_verb(
    pictures: Path, tiny_clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = str(tmp_path / "emb")
    command = ["embed", str(pictures), "--clip", str(tiny_clip), "-o", out, "--workers", "1"]
    assert main([*command, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["account"]["n_used"] == 6
    assert main(command) == 0
    assert "3 shards were there already" in capsys.readouterr().out
    assert main(["embed", str(pictures), "--clip", "nonsense", "-o", out]) == 2
    assert "nonsense" in capsys.readouterr().err
