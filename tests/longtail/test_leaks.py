"""Images that stand in the pretraining set are no test."""

import hashlib
import json
from dataclasses import asdict, replace

import numpy as np
import pandas as pd
import pytest
import typer

from conceptaudit.artifacts import MANIFEST, write_json, write_npy
from conceptaudit.cli import longtail as cli
from conceptaudit.errors import ArtifactMismatchError, ConfigError, DataError
from conceptaudit.image.index import build_index
from conceptaudit.longtail import LongTailOptions, build_long_tail
from conceptaudit.longtail.fingerprints import fingerprint_of, perceptual_hash
from conceptaudit.longtail.leaks import find_leaks
from conceptaudit.longtail.pretraining import open_pretraining
from conceptaudit.progress import SilentProgress

OPTIONS = LongTailOptions(k=3, per_class=5, oversample=4, phash_distance=4, suspects="off")


@pytest.fixture
def built(tmp_path, run, encoder, make_pool, plain_files):
    def build(*against, out="out", files=None, **settings):
        options = replace(OPTIONS, against=tuple(str(one) for one in against), **settings)
        pool = tmp_path / f"{out}-pool"
        if not pool.exists():
            make_pool(files or plain_files, name=pool.name)
        return build_long_tail(run, pool, tmp_path / out, options=options, clip=encoder)

    return build


def leaks(made):
    found = made.removed[made.removed["reason"].str.startswith("leak")]
    return found.set_index("key")


def reasons(made):
    return leaks(made)["reason"].to_dict()


def test_copies_are_found_by_pixels_and_by_hash_and_others_take_their_places(
    built, make_pool, tools, plain_files
):
    def picture(key):
        colour = key.rstrip("0123456789")
        number = ("green", "blue", "violet").index(colour) * 100 + int(key.removeprefix(colour))
        return tools.picture(colour, number)

    trained = {
        "a.png": plain_files["violet0.png"],
        "b.png": tools.encoded(picture("violet1"), optimize=True),
        "c.jpg": tools.encoded(picture("blue3").resize((70, 70)), "JPEG", quality=80),
        "d.png": tools.encoded(tools.picture("violet", 999)),
        "e.png": b"no picture",
    }
    assert trained["b.png"] != plain_files["violet1.png"]
    made = built(make_pool(trained, name="trained"))
    assert reasons(made) == {
        "violet0": "leak_pixels",
        "violet1": "leak_pixels",
        "blue3": "leak_phash",
    }
    details = leaks(made)["detail"]
    assert details["violet0"].startswith("a of ")
    assert details["violet0"].endswith("the same file")
    assert details["violet1"].endswith("the same pixels")
    assert details["blue3"].startswith("c of ")
    assert "distance" in details["blue3"]
    assert made.images.groupby("concept").size().to_dict() == dict.fromkeys(made.concepts, 5)
    [told] = made.manifest["leaks"]
    assert told["compared_by"] == ["image"]
    assert (told["n_compared"], told["n_unusable"], told["n_leaks"]) == (4, 1, 3)
    assert any("Checked for leaks" in note and "4 images by image" in note for note in made.notes)
    card = (made.folder / "README.md").read_text()
    assert "Checked for leaks against" in card
    assert "a --against image has the same pixels" in card


def test_a_model_that_cannot_tell_pictures_apart_is_named(built):
    warned = built(embedding_similarity=0.999, out="a").notes
    assert not any("comes as near to another" in note for note in warned)
    loose = built(embedding_similarity=0.93, out="b").notes
    assert any("one in a hundred different images comes as near" in note for note in loose)


def test_only_what_could_be_used_is_compared(built, make_pool, tools, plain_files):
    copy = tools.encoded(tools.picture("violet", 200), "JPEG", quality=90)
    files = {**plain_files, "zcopy.jpg": copy}  # a near duplicate of violet0 in the pool itself
    made = built(make_pool({"a.png": plain_files["violet0.png"]}, name="t"), files=files)
    found = made.removed[made.removed["reason"].isin(["near_phash", "leak_pixels", "leak_phash"])]
    assert sorted(found["key"]) == ["violet0", "zcopy"]
    assert sorted(found["reason"])[1] == "near_phash"


def test_without_pretraining_data_the_set_says_that_it_was_not_checked(built, run):
    made = built()
    assert made.manifest["leaks"] == []
    assert sum("not checked for leaks" in note for note in made.notes) == 1
    (run / "embeddings").mkdir()
    assert any("the run folder of this audit will do" in note for note in built(out="b").notes)


def embedding_folder(folder, keys, vectors, model=None):
    write_npy(folder / "img_emb" / "img_emb_0.npy", vectors.astype(np.float16))
    (folder / "metadata").mkdir()
    pd.DataFrame({"image_path": keys}).to_parquet(folder / "metadata" / "metadata_0.parquet")
    if model:
        write_json(folder / MANIFEST, {"kind": "embeddings", "model": model, "clip": "other"})
    return folder


@pytest.fixture
def trained_vectors(tmp_path, tools):
    images = [tools.picture("violet", 200), tools.picture("violet", 777), tools.picture("red", 4)]
    return tools.encoder.encode_images(images)


def test_embeddings_are_compared_exactly(built, tmp_path, trained_vectors):
    folder = embedding_folder(tmp_path / "emb", ["t/0", "t/1", "t/2"], trained_vectors)
    made = built(folder, leak_similarity=0.9999)
    assert reasons(made) == {"violet0": "leak_embedding"}
    assert leaks(made).loc["violet0", "detail"].startswith("t/0 of ")
    assert any("told by embedding alone" in note for note in made.notes)
    unchecked = built(folder, out="b", leak_similarity=2.0)
    assert reasons(unchecked) == {}
    assert any("was not compared" in note for note in unchecked.notes)


def test_an_index_is_searched_and_its_recall_told(built, tmp_path, trained_vectors):
    rng = np.random.default_rng(0)
    more = rng.standard_normal((60, trained_vectors.shape[1]))
    vectors = np.concatenate([trained_vectors, more / np.linalg.norm(more, axis=1)[:, None]])
    folder = embedding_folder(tmp_path / "emb", [f"t/{i}" for i in range(63)], vectors)
    build_index(folder, tmp_path / "idx", preset="flat")
    made = built(tmp_path / "idx", leak_similarity=0.9999)
    assert reasons(made) == {"violet0": "leak_embedding"}
    assert any("is approximate" in note for note in made.notes)


def test_embeddings_of_another_model_are_refused(built, tmp_path, trained_vectors):
    named = embedding_folder(tmp_path / "a", ["0", "1", "2"], trained_vectors, model="x")
    with pytest.raises(ArtifactMismatchError, match="another model"):
        built(named)
    short = embedding_folder(tmp_path / "b", ["0", "1", "2"], trained_vectors[:, :7])
    with pytest.raises(DataError, match="dimension 7"):
        built(short)


def test_tables_tell_by_address_and_digest(built, tmp_path, tools, plain_files):
    phash = perceptual_hash(tools.picture("green", 2))
    table = {
        "uid": ["p0", "p1", "p2", "p3"],
        "text": ["a", "b", "c", "d"],
        "sha256": [hashlib.sha256(plain_files["violet3.png"]).hexdigest().upper(), None, "", "00"],
        "md5": [None, hashlib.md5(plain_files["violet4.png"]).hexdigest(), "", "00"],
        "phash": [None, None, f"{phash ^ 7:016x}", "not a hash"],
    }
    pd.DataFrame(table).to_parquet(tmp_path / "meta.parquet")
    made = built(tmp_path / "meta.parquet")
    assert reasons(made) == {
        "violet3": "leak_hash",
        "violet4": "leak_hash",
        "green2": "leak_phash",
    }
    details = leaks(made)["detail"]
    assert details["violet4"].startswith("p1 of ")
    assert details["violet4"].endswith("equal md5")
    assert details["green2"].endswith("distance 3")


def test_addresses_of_the_pool_are_looked_up(run, tmp_path, tools, plain_files):
    keys = list(plain_files)
    pool = pd.DataFrame(
        {
            "url": [f"https://Pics.org/{key}#a" for key in keys],
            "image": [plain_files[key] for key in keys],
        }
    )
    pool.to_parquet(tmp_path / "pool.parquet")
    table = {"URL": ["http://pics.org/violet0.png", "http://else.org/violet1.png"], "TEXT": "x"}
    pd.DataFrame(table).to_parquet(tmp_path / "meta.parquet")
    made = build_long_tail(
        run,
        tmp_path / "pool.parquet",
        tmp_path / "out",
        options=replace(OPTIONS, against=(tmp_path / "meta.parquet",)),
        clip=tools.encoder,
    )
    assert list(reasons(made).values()) == ["leak_url"]
    assert "violet0.png" in next(iter(reasons(made)))


def test_every_image_of_an_address_leaks(run, tmp_path, tools, plain_files):
    keys = list(plain_files)
    pool = {"key": keys, "url": "http://a/1.jpg", "image": [plain_files[key] for key in keys]}
    pd.DataFrame(pool).assign(key=keys).to_parquet(tmp_path / "pool.parquet")
    table = {"URL": ["https://A/1.jpg"], "TEXT": "x"}
    pd.DataFrame(table).to_parquet(tmp_path / "meta.parquet")
    options = replace(OPTIONS, against=(tmp_path / "meta.parquet",))
    with pytest.raises(DataError, match="No concept has the 1 images"):
        build_long_tail(
            run, tmp_path / "pool.parquet", tmp_path / "out", options=options, clip=tools.encoder
        )


def test_unknown_addresses_are_told(built, tmp_path):
    pd.DataFrame({"URL": ["http://a/1"], "TEXT": ["x"]}).to_parquet(tmp_path / "meta.parquet")
    made = built(tmp_path / "meta.parquet")
    assert any("addresses of 24 of 24 candidates are not known" in note for note in made.notes)


def test_captions_alone_cannot_be_compared(built, tmp_path):
    pd.DataFrame({"text": ["a dog"]}).to_csv(tmp_path / "captions.csv", index=False)
    with pytest.raises(ConfigError, match="neither images, embeddings, URLs nor digests"):
        built(tmp_path / "captions.csv")


def test_an_audit_stands_for_what_it_read(built, tmp_path, tools, make_pool, plain_files):
    trained = make_pool({"a.png": plain_files["violet0.png"]}, name="trained")
    audit = tools.write_audit(tmp_path / "other", {"red": 1})
    manifest = json.loads((audit / MANIFEST).read_text())
    write_json(audit / MANIFEST, {**manifest, "dataset": str(trained)})
    assert reasons(built(audit)) == {"violet0": "leak_pixels"}
    write_json(audit / MANIFEST, {**manifest, "dataset": str(tmp_path / "gone")})
    with pytest.raises(DataError, match="are not there"):
        built(audit, out="b")


def test_changed_pretraining_data_make_another_set(built, make_pool, plain_files, encoder):
    trained = make_pool({"a.png": plain_files["violet0.png"]}, name="trained")
    first = built(trained)
    assert built(trained).manifest["digest"] == first.manifest["digest"]
    make_pool({"b.png": plain_files["violet1.png"]}, name="trained")
    with pytest.raises(ArtifactMismatchError, match="--overwrite"):
        built(trained)


def test_several_sources_and_the_surest_reason(built, make_pool, tmp_path, plain_files):
    table = {"text": ["x"], "sha256": [hashlib.sha256(plain_files["violet0.png"]).hexdigest()]}
    pd.DataFrame(table).to_parquet(tmp_path / "meta.parquet")
    trained = make_pool({"a.png": plain_files["violet0.png"]}, name="trained")
    made = built(tmp_path / "meta.parquet", trained)
    assert reasons(made) == {"violet0": "leak_pixels"}
    assert [told["n_leaks"] for told in made.manifest["leaks"]] == [1, 1]


def test_damaged_files_stop_unless_they_may_be_skipped(built, tmp_path, plain_files):
    folder = tmp_path / "tables"
    folder.mkdir()
    columns = {"image": [plain_files["violet0.png"]], "text": ["x"]}
    pd.DataFrame(columns).to_parquet(folder / "0.parquet")
    (folder / "1.parquet").write_bytes(b"PAR1 broken")
    with pytest.raises(DataError, match=r"1\.parquet"):
        built(folder)
    made = built(folder, out="b", skip_unreadable=True)
    assert reasons(made) == {"violet0": "leak_pixels"}
    assert any("skipped" in note for note in made.notes)


def test_workers_change_no_answer(make_pool, tools):
    files = {f"{i}.png": tools.encoded(tools.picture("red", i)) for i in range(12)}
    folder = make_pool(files, name="trained")
    from conceptaudit.datasets import open_dataset
    from conceptaudit.image.decode import decode_image
    from conceptaudit.longtail.pretraining import Pretraining

    given_ = [files["3.png"], files["7.png"], tools.encoded(tools.picture("green", 50))]
    table = pd.DataFrame([asdict(fingerprint_of(data, decode_image(data))) for data in given_])
    table = table.assign(key=["0", "1", "2"], url="", vector=range(3), reason="", detail="")
    table["duplicate_of"] = ""
    dataset = open_dataset(folder, shard_rows=3)
    assert len(dataset.shards()) == 4
    source = Pretraining(location="trained", pictures=dataset)
    vectors = np.eye(3, dtype=np.float32)
    lost = []
    for workers in (1, 2):
        checked = table.copy()
        find_leaks(checked, vectors, [source], OPTIONS, progress=SilentProgress(), workers=workers)
        lost.append(checked[checked["reason"] != ""])
    pd.testing.assert_frame_equal(*lost)
    assert lost[0]["key"].tolist() == ["0", "1"]
    assert [detail.split(" ")[0] for detail in lost[0]["detail"]] == ["3", "7"]


def test_what_is_no_dataset_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="names nothing that exists"):
        open_pretraining(tmp_path / "gone", "m")


def test_the_command_line_tells_of_leaks_and_filters(
    run, plain_pool, plain_files, make_pool, tools, monkeypatch, tmp_path, capsys
):
    monkeypatch.setattr(
        "conceptaudit.longtail.embedding.find_clip", lambda name, device: tools.encoder
    )
    trained = make_pool({"a.png": plain_files["violet0.png"]}, name="trained")
    app = typer.Typer(pretty_exceptions_enable=False)
    app.command()(cli.longtail)
    words = [str(run), "--images", str(plain_pool), "-o", str(tmp_path / "out"), "--per-class", "4"]
    words += ["--against", str(trained), "--max-count-error", "0.7", "--suspects", "remove"]
    words += ["--phash-distance", "4", "--below", "100", "--workers", "1", "--json"]
    app(words, standalone_mode=False)
    told = json.loads(capsys.readouterr().out)
    assert told["leaks"][0]["against"] == str(trained)
    assert {one["concept"] for one in told["classes"]} == {"green", "blue"}
    assert any(note.startswith("--max-count-error 0.7 leaves out") for note in told["notes"])
    assert all(one["count_error"] <= 0.7 for one in told["classes"])
