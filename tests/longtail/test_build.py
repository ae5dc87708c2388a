"""The whole way from an audit and a pool to a set."""

import hashlib
import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from conceptaudit.errors import ArtifactMismatchError, ConfigError, DataError
from conceptaudit.longtail import LongTailOptions, build_long_tail, read_long_tail

OPTIONS = LongTailOptions(k=3, per_class=5, oversample=4)


def test_set_is_balanced_and_its_tables_tell_of_every_file(
    tmp_path, run, encoder, make_pool, plain_files
):
    pool = make_pool(plain_files)
    made = build_long_tail(run, pool, tmp_path / "out", options=OPTIONS, clip=encoder)
    assert made.concepts == ("blue", "green", "violet")
    assert made.images.groupby("concept").size().to_dict() == dict.fromkeys(made.concepts, 5)
    on_disk = {p.relative_to(made.folder).as_posix() for p in made.folder.glob("images/*/*")}
    assert set(made.images["file"]) == on_disk
    for _, row in made.images.iterrows():
        data = (made.folder / row["file"]).read_bytes()
        assert data == plain_files[f"{row['key']}.png"]  # original bytes
        assert hashlib.sha256(data).hexdigest() == row["sha256"]
        assert row["key"].startswith(row["concept"])
        assert row["file"].split("/")[2] == f"{row['rank']:04d}_{row['key']}.png"
        assert (row["width"], row["height"]) == (96, 96)
        assert row["margin"] > 0
        assert row["runner_up"] in {"red", "green", "blue", "yellow", "violet"} - {row["concept"]}
    assert (
        made.images.groupby("concept")["rank"].apply(list).map(lambda r: r == [1, 2, 3, 4, 5]).all()
    )
    lines = (made.folder / "classnames.txt").read_text().splitlines()
    assert lines == list(made.concepts)
    assert sorted(p.name for p in (made.folder / "images").iterdir()) == list(
        made.classes["folder"]
    )
    templates = made.folder / "zeroshot_classification_templates.txt"
    assert templates.read_text() == "a photo of a {c}.\n"


def test_every_pool_image_is_in_the_set_or_removed_with_a_reason(
    tmp_path, run, encoder, make_pool, plain_files
):
    pool = make_pool(plain_files)
    made = build_long_tail(run, pool, tmp_path / "out", options=OPTIONS, clip=encoder)
    told = set(made.images["key"]) | set(made.removed["key"])
    assert told == {name.removesuffix(".png") for name in plain_files}
    assert made.manifest["removed"] == made.removed["reason"].value_counts().to_dict()
    assert (made.removed["reason"] != "").all()


def test_same_inputs_same_bytes(tmp_path, run, make_pool, plain_files, tools):
    pool = make_pool(plain_files)
    first = build_long_tail(run, pool, tmp_path / "a", options=OPTIONS, clip=tools.encoder)
    second = build_long_tail(run, pool, tmp_path / "b", options=OPTIONS, clip=tools.encoder)
    assert tools.tree(first.folder) == tools.tree(second.folder)
    files = {
        name: hashlib.sha256(data).hexdigest() for name, data in tools.tree(first.folder).items()
    }
    assert {**first.manifest["files"], "manifest.json": files["manifest.json"]} == files


def test_finished_set_is_not_built_again(tmp_path, run, encoder, make_pool, plain_files):
    pool = make_pool(plain_files)
    build_long_tail(run, pool, tmp_path / "out", options=OPTIONS, clip=encoder)
    n_calls = len(encoder.calls)
    again = build_long_tail(run, pool, tmp_path / "out", options=OPTIONS, clip=encoder)
    assert len(encoder.calls) == n_calls
    assert len(again.images) == 15


def test_other_set_in_the_folder_is_replaced_only_when_told(
    tmp_path, run, encoder, make_pool, plain_files
):
    pool, out = make_pool(plain_files), tmp_path / "out"
    build_long_tail(run, pool, out, options=OPTIONS, clip=encoder)
    smaller = replace(OPTIONS, per_class=2)
    with pytest.raises(ArtifactMismatchError, match="--overwrite"):
        build_long_tail(run, pool, out, options=smaller, clip=encoder)
    assert len(read_long_tail(out).images) == 15
    made = build_long_tail(run, pool, out, options=smaller, clip=encoder, overwrite=True)
    assert len(made.images) == 6
    assert len(list(out.glob("images/*/*"))) == 6


def test_set_changed_by_hand_is_not_taken_for_finished(
    tmp_path, run, encoder, make_pool, plain_files
):
    pool, out = make_pool(plain_files), tmp_path / "out"
    made = build_long_tail(run, pool, out, options=OPTIONS, clip=encoder)
    (out / made.images["file"][0]).unlink()
    with pytest.raises(ArtifactMismatchError, match="changed by hand"):
        build_long_tail(run, pool, out, options=OPTIONS, clip=encoder)


def test_foreign_folder_is_refused_even_with_overwrite(
    tmp_path, run, encoder, make_pool, plain_files
):
    out = tmp_path / "out"
    out.mkdir()
    (out / "thesis.tex").write_text("precious")
    with pytest.raises(ArtifactMismatchError, match=r"thesis\.tex"):
        build_long_tail(
            run, make_pool(plain_files), out, options=OPTIONS, clip=encoder, overwrite=True
        )
    assert [path.name for path in out.iterdir()] == ["thesis.tex"]


def test_failure_leaves_nothing_behind(tmp_path, run, make_pool, plain_files, encoder):
    class Failing(type(encoder)):
        def encode_images(self, images):
            raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError, match="out of memory"):
        build_long_tail(run, make_pool(plain_files), tmp_path / "out", clip=Failing())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["pool", "run"]


def test_planted_duplicates_are_found_within_and_across_classes(
    tmp_path, run, make_pool, plain_files, tools
):
    files = dict(plain_files)
    original = tools.picture("green", 3)
    files["green3.png"] = tools.encoded(original)
    files["x-copy.png"] = files["green3.png"]
    files["x-format.bmp"] = tools.encoded(original, "BMP")
    files["x-recompressed.jpg"] = tools.encoded(original, "JPEG", quality=50)
    files["x-resized.png"] = tools.encoded(original.resize((70, 70)))
    # the same picture in blue: another class, the same perceptual hash
    channels = original.split()
    files["x-blue.png"] = tools.encoded(Image.merge("RGB", (channels[0], channels[2], channels[1])))
    options = replace(OPTIONS, per_class=12)
    made = build_long_tail(
        run, make_pool(files), tmp_path / "out", options=options, clip=tools.encoder
    )
    group = {"green3", *(n.rpartition(".")[0] for n in files if n.startswith("x-"))}
    assert len(group & set(made.images["key"])) == 1
    lost = made.removed[made.removed["duplicate_of"] != ""]
    assert set(lost["key"]) | (group & set(made.images["key"])) == group
    assert set(lost["duplicate_of"]) <= group
    reasons = lost.groupby("reason")["key"].size()
    assert reasons["exact_bytes"] == 1
    assert reasons["exact_pixels"] == 1
    assert reasons["near_phash"] == 3
    across = lost[lost["detail"].str.contains(", in ")]
    assert len(across) == 1
    assert len(made.images) == 24  # nothing else was taken for a duplicate


def test_unusable_pictures_are_counted_and_listed(tmp_path, run, make_pool, plain_files, tools):
    files = dict(plain_files)
    files["broken.png"] = files["green0.png"][:200]
    files["text.jpg"] = b"this is no picture"
    files["tiny.png"] = tools.encoded(tools.picture("green", 900, size=20))
    files["long.png"] = tools.encoded(tools.picture("green", 901).resize((400, 40)))
    made = build_long_tail(
        run, make_pool(files), tmp_path / "out", options=OPTIONS, clip=tools.encoder
    )
    reasons = made.removed.set_index("key")["reason"]
    assert reasons["broken"] == "broken_image"
    assert reasons["text"] == "not_an_image"
    assert reasons["tiny"] == "too_small"
    assert reasons["long"] == "extreme_aspect"
    account = made.manifest["account"]
    assert account["n_samples"] == 28
    assert account["n_compared"] + sum(account["unusable"].values()) == 28


def test_short_classes_are_told_and_left_out_ones_listed(
    tmp_path, run, encoder, make_pool, plain_files
):
    files = {n: d for n, d in plain_files.items() if not n.startswith("violet") or n < "violet2"}
    options = replace(OPTIONS, min_score=0.5)
    made = build_long_tail(run, make_pool(files), tmp_path / "a", options=options, clip=encoder)
    rows = made.classes.set_index("concept")
    assert rows.loc["violet", "n_images"] == 2
    assert rows.loc["violet", "n_missing"] == 3
    assert any("violet (2)" in note for note in made.notes)
    options = replace(options, min_per_class=3)
    made = build_long_tail(run, tmp_path / "pool", tmp_path / "b", options=options, clip=encoder)
    assert made.concepts == ("blue", "green")
    assert not made.classes.set_index("concept").loc["violet", "included"]
    left = made.removed[made.removed["reason"] == "class_left_out"]
    assert sorted(left["key"]) == ["violet0", "violet1"]
    assert any("left out" in note and "violet (2)" in note for note in made.notes)
    assert not (made.folder / "images" / "violet").exists()


def test_no_class_with_enough_images_is_an_error(tmp_path, run, encoder, make_pool, plain_files):
    options = replace(OPTIONS, min_score=0.9999)
    with pytest.raises(DataError, match="No concept has the 1 images"):
        build_long_tail(
            run, make_pool(plain_files), tmp_path / "out", options=options, clip=encoder
        )
    assert not (tmp_path / "out").exists()


def test_min_margin_drops_what_another_concept_fits_better(
    tmp_path, run, make_pool, plain_files, tools
):
    files = {**plain_files, "reddish.png": tools.encoded(tools.picture("red", 77))}
    options = replace(OPTIONS, per_class=9, min_margin=0.0)
    made = build_long_tail(
        run, make_pool(files), tmp_path / "out", options=options, clip=tools.encoder
    )
    lost = made.removed.set_index("key").loc["reddish"]
    rows = lost if isinstance(lost, pd.DataFrame) else lost.to_frame().T
    assert "nearer_to_other_concept" in set(rows["reason"])
    assert "reddish" not in set(made.images["key"])
    assert (made.images["margin"] >= 0).all()


def test_pool_without_usable_images_is_an_error(tmp_path, run, encoder, make_pool):
    pool = make_pool({"a.png": b"nothing"})
    with pytest.raises(DataError, match=r"no image that can be used.*1 not_an_image"):
        build_long_tail(run, pool, tmp_path / "out", clip=encoder)


def test_pool_of_captions_only_is_refused(tmp_path, run, encoder):
    pd.DataFrame({"url": ["u"], "caption": ["a green thing"]}).to_parquet(tmp_path / "t.parquet")
    with pytest.raises(ConfigError, match="holds no images"):
        build_long_tail(run, tmp_path / "t.parquet", tmp_path / "out", clip=encoder)


def test_pool_of_vectors_gives_a_list_of_keys(tmp_path, run, encoder, plain_files):
    pool = tmp_path / "pool"
    (pool / "img_emb").mkdir(parents=True)
    (pool / "metadata").mkdir()
    rng = np.random.default_rng(1)
    vectors = rng.normal(0, 0.05, (40, encoder.dimension)).astype(np.float32)
    vectors[np.arange(40), np.arange(40) % 5] += 1
    vectors[7] = vectors[2]
    vectors[12] = vectors[2] * 2 + 0.001
    np.save(pool / "img_emb" / "img_emb_0.npy", vectors)
    table = pd.DataFrame({"image_path": [f"{i:09d}" for i in range(40)], "caption": ["x"] * 40})
    table.to_parquet(pool / "metadata" / "metadata_0.parquet")
    made = build_long_tail(run, pool, tmp_path / "out", options=OPTIONS)
    assert not encoder.calls
    assert not (made.folder / "images").exists()
    assert not (made.folder / "contact_sheet.png").exists()
    assert any("list of keys" in note for note in made.notes)
    assert (made.images["file"] == "").all()
    green, blue = made.images[made.images["concept"] == "green"], 2
    assert {int(key) % 5 for key in green["key"]} == {1}
    lost = made.removed[made.removed["duplicate_of"] != ""].set_index("key")
    assert lost.loc[f"{7:09d}", "reason"] == "exact_bytes"
    assert set(lost["reason"]) == {"exact_bytes", "near_embedding"}
    assert set(lost["duplicate_of"]) <= {f"{i:09d}" for i in (blue, 7, 12)}


def test_pool_of_vectors_of_another_model_is_refused(tmp_path, run):
    (tmp_path / "pool" / "img_emb").mkdir(parents=True)
    np.save(tmp_path / "pool" / "img_emb" / "img_emb_0.npy", np.eye(4, dtype=np.float32))
    options = replace(OPTIONS, skip_unreadable=True)
    with pytest.raises(DataError, match="dimension 4, the concept vectors 21"):
        build_long_tail(run, tmp_path / "pool", tmp_path / "out", options=options)


def test_captions_must_name_the_concept_when_asked(tmp_path, run, encoder, make_pool, plain_files):
    files = dict(plain_files)
    for name in plain_files:
        words = "a violet in a vase" if name in ("violet1.png", "violet2.png") else "=1+1 a thing"
        files[name.replace(".png", ".txt")] = words.encode()
    options = replace(OPTIONS, require_text=True)
    made = build_long_tail(run, make_pool(files), tmp_path / "a", options=options, clip=encoder)
    assert set(made.images["key"]) == {"violet1", "violet2"}
    assert set(made.images["caption"]) == {"a violet in a vase"}
    made = build_long_tail(run, tmp_path / "pool", tmp_path / "b", options=OPTIONS, clip=encoder)
    assert "'=1+1 a thing" in set(made.images["caption"])
    with pytest.raises(ConfigError, match="--require-text needs captions"):
        build_long_tail(
            run, make_pool(plain_files, "mute"), tmp_path / "c", options=options, clip=encoder
        )


def test_edited_selection_is_followed(tmp_path, run, encoder, make_pool, plain_files):
    pool = make_pool(plain_files)
    first = build_long_tail(run, pool, tmp_path / "a", options=OPTIONS, clip=encoder)
    table = pd.read_csv(first.folder / "selection.csv")
    edited = tmp_path / "mine.csv"
    table[table["concept"] != "blue"].to_csv(edited, index=False)
    options = replace(OPTIONS, selection=edited)
    made = build_long_tail(run, pool, tmp_path / "b", options=options, clip=encoder)
    assert made.concepts == ("green", "violet")


def test_audit_without_images_needs_a_model(tmp_path, make_pool, plain_files, tools):
    run = tools.write_audit(tmp_path / "text", {"green": 2, "blue": 3}, sides=("text",), clip=None)
    with pytest.raises(ConfigError, match="--clip"):
        build_long_tail(run, make_pool(plain_files), tmp_path / "out")


def test_concepts_are_embedded_where_the_audit_did_not(
    tmp_path, encoder, make_pool, plain_files, tools
):
    run = tools.write_audit(tmp_path / "text", {"green": 2, "blue": 3}, sides=("text",), clip=None)
    made = build_long_tail(
        run, make_pool(plain_files), tmp_path / "out", options=OPTIONS, clip=encoder
    )
    assert (
        made.images["key"].str.slice(0, 4) == made.images["concept"].str.slice(0, 4)
    ).mean() > 0.5


def test_model_of_another_dimension_than_given_vectors_is_refused(
    tmp_path, encoder, make_pool, plain_files, tools
):
    run = tools.write_audit(
        tmp_path / "run", {"green": 2, "blue": 3}, vectors=np.eye(2), source="file:abc"
    )
    with pytest.raises(DataError, match="dimension 21, but the audit's concept vectors have 2"):
        build_long_tail(run, make_pool(plain_files), tmp_path / "out", clip=encoder)


def test_audit_folder_must_be_one(tmp_path, run, make_pool, plain_files, tools):
    pool = make_pool(plain_files)
    with pytest.raises(DataError, match="not a finished audit"):
        build_long_tail(pool, pool, tmp_path / "out", clip=tools.encoder)
    shutil.copytree(run, tmp_path / "bare")
    (tmp_path / "bare" / "frequencies.parquet").unlink()
    with pytest.raises(DataError, match=r"no frequencies\.parquet"):
        build_long_tail(tmp_path / "bare", pool, tmp_path / "out", clip=tools.encoder)
    (run / "concepts.json").write_text("[]")
    with pytest.raises(ArtifactMismatchError, match=r"concepts\.json has changed"):
        build_long_tail(run, pool, tmp_path / "out", clip=tools.encoder)


def test_unsafe_and_colliding_concepts_get_folders_of_their_own(
    tmp_path, encoder, make_pool, plain_files, tools
):
    names = ("../../green", "Green", "green", "con", "=cmd()", "g" * 300, "grееn")
    vectors = np.zeros((len(names), encoder.dimension), dtype=np.float32)
    vectors[np.arange(len(names)), np.arange(len(names)) % 5] = 1
    vectors[5:, 6:8] = np.eye(2)
    run = tools.write_audit(
        tmp_path / "run", dict.fromkeys(names, 4), vectors=vectors, source="colours-1"
    )
    options = replace(OPTIONS, k=None, per_class=2)
    made = build_long_tail(
        run, make_pool(plain_files), tmp_path / "deep" / "out", options=options, clip=encoder
    )
    folders = made.classes["folder"]
    assert folders.str.casefold().is_unique
    assert folders.str.fullmatch(r"[A-Za-z0-9_-]{1,80}").all()
    assert set(made.concepts) <= set(names)
    inside = {p.resolve() for p in tmp_path.rglob("*.png")}
    assert all(p.is_relative_to(tmp_path / "pool") or p.is_relative_to(made.folder) for p in inside)
    assert "'=cmd()" in set(made.classes["concept"])
    again = replace(options, selection=made.folder / "selection.csv")
    same = build_long_tail(run, tmp_path / "pool", tmp_path / "b", options=again, clip=encoder)
    assert same.concepts == made.concepts
