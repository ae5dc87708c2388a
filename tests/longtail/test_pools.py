"""Where candidates come from: embeddings with pictures elsewhere, an index, examples."""

import csv
import json
import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from conceptaudit.errors import ArtifactMismatchError, ConfigError, DataError
from conceptaudit.image.encode import image_digest
from conceptaudit.image.index import build_index
from conceptaudit.image.vectors import unit_rows
from conceptaudit.longtail import LongTailOptions, build_long_tail

OPTIONS = LongTailOptions(k=3, per_class=5, oversample=4)


@pytest.fixture
def embed(tmp_path, encoder):
    """Write an embedding folder of pictures, in two files."""

    def write(files, name="emb", *, digests=True, keys=None):
        from conceptaudit.image.decode import decode_image

        folder = tmp_path / name
        for place in ("img_emb", "metadata"):
            (folder / place).mkdir(parents=True)
        rows = list(files.items())
        for part, start in enumerate(range(0, len(rows), 13)):
            some = rows[start : start + 13]
            vectors = encoder.encode_images([decode_image(data) for _, data in some])
            np.save(folder / "img_emb" / f"img_emb_{part}.npy", unit_rows(vectors))
            table = pd.DataFrame(
                {
                    "image_path": [
                        (keys or {}).get(key, key.rpartition(".")[0]) for key, _ in some
                    ],
                    "caption": "a thing",
                    "LICENSE": "CC0",
                    "image_digest": [image_digest(data) for _, data in some],
                }
            )
            table = table if digests else table.drop(columns="image_digest")
            table.to_parquet(folder / "metadata" / f"metadata_{part}.parquet")
        encoder.calls.clear()
        return folder

    return write


def test_embeddings_with_pictures_give_the_set_that_the_pictures_give(
    tmp_path, run, encoder, plain_files, plain_pool, embed
):
    direct = build_long_tail(run, plain_pool, tmp_path / "a", options=OPTIONS, clip=encoder)
    options = replace(OPTIONS, pictures=plain_pool)
    emb = embed(plain_files)
    joined = build_long_tail(run, emb, tmp_path / "b", options=options)
    assert not encoder.calls  # no model looked at a picture
    columns = ["file", "concept", "key", "rank", "runner_up", "phash", "sha256", "width"]
    assert joined.images[columns].equals(direct.images[columns])
    assert np.allclose(joined.images["score"], direct.images["score"], atol=1e-5)
    assert set(joined.images["license"]) == {"CC0"}
    assert joined.images["source"].str.startswith("img_emb/").all()
    assert (joined.folder / "contact_sheet.png").is_file()
    assert joined.manifest["pictures_location"] == str(plain_pool)
    assert not any("list of keys" in note for note in joined.notes)


def test_pictures_of_another_dataset_are_told(tmp_path, run, plain_files, make_pool, embed):
    others = {f"other-{name}": data for name, data in plain_files.items()}
    options = replace(OPTIONS, pictures=make_pool(others, "others"))
    with pytest.raises(DataError, match=r"None of the \d+ candidates is an image of .*others"):
        build_long_tail(run, embed(plain_files), tmp_path / "a", options=options)


def test_candidates_without_a_usable_picture_make_room(
    tmp_path, run, plain_files, make_pool, embed, tools
):
    emb = embed(plain_files)
    first = build_long_tail(
        run, emb, tmp_path / "a", options=replace(OPTIONS, pictures=make_pool(plain_files))
    )
    best = first.images.groupby("concept")["key"].first().to_dict()
    files = dict(plain_files)
    del files[f"{best['green']}.png"]
    files[f"{best['blue']}.png"] = b"no picture"
    files[f"{best['violet']}.png"] = tools.encoded(tools.picture("violet", 999))
    there = make_pool(files, "changed")
    made = build_long_tail(run, emb, tmp_path / "b", options=replace(OPTIONS, pictures=there))
    lost = made.removed[made.removed["reason"] == "no_picture"].set_index("key")
    assert set(lost.index) == set(best.values())  # a changed file is another picture
    assert len(made.images) == 15
    assert not set(best.values()) & set(made.images["key"])
    bare = embed(plain_files, "bare", digests=False)
    made = build_long_tail(run, bare, tmp_path / "c", options=replace(OPTIONS, pictures=there))
    reasons = made.removed.set_index("key")["reason"]
    assert reasons[best["green"]] == "no_picture"
    assert reasons[best["blue"]] == "not_an_image"
    assert best["violet"] in set(made.images["key"])


def test_a_key_of_several_pictures_is_told_apart_by_digest_or_refused(
    tmp_path, run, plain_files, embed
):
    names = list(plain_files)
    keys = {names[0]: "same", names[13]: "same"}  # in different files of embeddings
    table = pd.DataFrame(
        {
            "key": [keys.get(name, name.rpartition(".")[0]) for name in names],
            "jpg": list(plain_files.values()),
        }
    )
    table.to_parquet(tmp_path / "pictures.parquet")
    options = replace(OPTIONS, per_class=8, pictures=tmp_path / "pictures.parquet")
    made = build_long_tail(run, embed(plain_files, keys=keys), tmp_path / "a", options=options)
    assert (made.images["key"] == "same").sum() == 2
    bare = embed(plain_files, "bare", keys=keys, digests=False)
    made = build_long_tail(run, bare, tmp_path / "b", options=options)
    lost = made.removed[made.removed["key"] == "same"]
    assert lost["detail"].tolist() == ["2 different images have this key"] * 2


def test_pictures_are_for_embeddings(tmp_path, run, encoder, plain_files, plain_pool, embed):
    options = replace(OPTIONS, pictures=plain_pool)
    with pytest.raises(ConfigError, match="--pictures is for a pool of embeddings"):
        build_long_tail(run, plain_pool, tmp_path / "a", options=options, clip=encoder)
    emb = embed(plain_files)
    with pytest.raises(ConfigError, match="holds no images"):
        build_long_tail(run, emb, tmp_path / "a", options=replace(OPTIONS, pictures=emb))


def test_an_index_gives_what_looking_at_all_gives(tmp_path, run, plain_files, embed):
    emb = embed(plain_files)
    build_index(emb, tmp_path / "index", preset="flat")
    small = replace(OPTIONS, k=2, per_class=1, oversample=2)
    scan = build_long_tail(run, emb, tmp_path / "a", options=small)
    options = replace(small, index=tmp_path / "index")
    made = build_long_tail(run, emb, tmp_path / "b", options=options)
    assert made.images.equals(scan.images)
    assert made.manifest["account"]["n_samples"] == len(plain_files)
    assert made.manifest["account"]["n_compared"] == len(plain_files)
    assert made.manifest["index"]["recall"]["value"] == 1.0
    [note] = [note for note in made.notes if "measured recall@10 is 1.000" in note]
    assert "proposed 16 of 24 images" in note  # two concepts, four neighbours per candidate


def test_an_index_of_other_embeddings_is_refused(
    tmp_path, run, encoder, plain_files, plain_pool, embed
):
    emb = embed(plain_files)
    build_index(emb, tmp_path / "index", preset="flat")
    options = replace(OPTIONS, index=tmp_path / "index")
    with pytest.raises(ConfigError, match="--index is for a pool of embeddings"):
        build_long_tail(run, plain_pool, tmp_path / "a", options=options, clip=encoder)
    fewer = embed(dict(list(plain_files.items())[:9]), "fewer")
    with pytest.raises(ArtifactMismatchError, match="was not built from"):
        build_long_tail(run, fewer, tmp_path / "a", options=options)


@pytest.fixture
def examples(tmp_path, tools):
    """Two example images of each of three concepts, one of them a swapped colour."""
    folder = tmp_path / "examples"
    for concept, shown in (("green", "blue"), ("blue", "green"), ("violet", "violet")):
        (folder / concept).mkdir(parents=True)
        for i in range(2):
            image = tools.picture(shown, 500 + i)
            (folder / concept / f"{i}.png").write_bytes(tools.encoded(image))
    return folder


def test_examples_decide_the_ranking(tmp_path, run, encoder, plain_files, plain_pool, examples):
    # "green" is shown by blue pictures here, so that prompts and examples disagree
    options = replace(OPTIONS, rank="examples", examples=examples)
    made = build_long_tail(run, plain_pool, tmp_path / "a", options=options, clip=encoder)
    shown = made.images.groupby("concept")["key"].apply(
        lambda keys: set(keys.str.rstrip("0123456789"))
    )
    assert shown.to_dict() == {"blue": {"green"}, "green": {"blue"}, "violet": {"violet"}}
    assert any("6 example images: by their mean vector" in note for note in made.notes)
    assert made.manifest["rank"] == "examples"
    both = replace(options, rank="both")
    mixed = build_long_tail(run, plain_pool, tmp_path / "b", options=both, clip=encoder)
    vector = unit_rows(
        encoder.encode_texts(["violet"])
        + unit_rows(_mean(encoder, [examples / "violet" / f"{i}.png" for i in range(2)]))
    )
    best = mixed.images[(mixed.images["concept"] == "violet") & (mixed.images["rank"] == 1)]
    picture = _mean(encoder, [plain_pool / f"{best['key'].item()}.png"])
    assert best["score"].item() == pytest.approx((vector @ picture.T).item(), abs=1e-5)


def _mean(encoder, paths):
    from conceptaudit.image.decode import decode_image

    vectors = encoder.encode_images([decode_image(path.read_bytes()) for path in paths])
    return unit_rows(vectors).mean(axis=0, keepdims=True)


def test_examples_are_not_in_the_set(tmp_path, run, encoder, plain_files, make_pool, examples):
    files = dict(plain_files)
    files["taken.png"] = (examples / "violet" / "0.png").read_bytes()
    options = replace(OPTIONS, per_class=9, rank="both", examples=examples)
    made = build_long_tail(run, make_pool(files), tmp_path / "a", options=options, clip=encoder)
    assert made.removed.set_index("key").loc["taken", "reason"] == "example_image"


def test_examples_may_be_a_table(tmp_path, run, encoder, plain_pool, examples):
    options = replace(OPTIONS, rank="examples", examples=examples)
    folder = build_long_tail(run, plain_pool, tmp_path / "a", options=options, clip=encoder)
    table = tmp_path / "examples.csv"
    with table.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["concept", "path"])
        for path in sorted(examples.glob("*/*.png")):
            writer.writerow([path.parent.name, path.relative_to(tmp_path)])
    options = replace(options, examples=table)
    made = build_long_tail(run, plain_pool, tmp_path / "b", options=options, clip=encoder)
    assert made.images.equals(folder.images)


def test_bad_examples_are_named(tmp_path, run, encoder, plain_pool, examples):
    options = replace(OPTIONS, rank="both", examples=examples)

    def refused(error, match):
        with pytest.raises(error, match=match):
            build_long_tail(run, plain_pool, tmp_path / "a", options=options, clip=encoder)

    (examples / "red").mkdir()
    (examples / "red" / "x.png").write_bytes(b"not selected, never opened")
    assert build_long_tail(run, plain_pool, tmp_path / "ok", options=options, clip=encoder)
    (examples / "grene").mkdir()
    refused(DataError, r"grene is named like no concept of the audit \(did you mean 'green'")
    (examples / "grene").rmdir()
    (examples / "blue" / "2.png").write_bytes(b"no picture")
    refused(DataError, r"blue/2\.png cannot be used: not_an_image")
    shutil.rmtree(examples / "blue")
    refused(DataError, "has no example image of 'blue'")
    with pytest.raises(ConfigError, match="--rank examples"):
        replace(OPTIONS, rank="examples")
    with pytest.raises(ConfigError, match="add --rank"):
        replace(OPTIONS, examples=examples)


def test_embeddings_of_another_model_are_refused(tmp_path, run, encoder, plain_files, embed):
    emb = embed(plain_files)
    manifest = {"kind": "embeddings", "model": "colours-2", "clip": "other"}
    (emb / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ArtifactMismatchError, match="not made with the model of the audit"):
        build_long_tail(run, emb, tmp_path / "a", options=OPTIONS)
    with pytest.raises(ArtifactMismatchError, match="were made with 'other'"):
        build_long_tail(run, emb, tmp_path / "a", options=OPTIONS, clip=encoder)
    (emb / "manifest.json").write_text(json.dumps({**manifest, "model": "colours-1"}))
    made = build_long_tail(run, emb, tmp_path / "a", options=OPTIONS, clip=encoder)
    assert made.manifest["clip_name"] == "colours"
