"""Embeddings made beforehand give what the pictures give, and what does not fit is counted."""

import shutil

import numpy as np
import pandas as pd
import pytest

from conceptaudit.datasets import open_dataset
from conceptaudit.errors import ArtifactMismatchError, ConfigError, DataError
from conceptaudit.image.clip import find_clip
from conceptaudit.image.embed import embed
from conceptaudit.options.zeroshot import EvaluationOptions
from conceptaudit.validation import validate
from conceptaudit.zeroshot.evaluate import evaluate
from conceptaudit.zeroshot.retrieve import evaluate_retrieval
from conceptaudit.zeroshot.sets import open_evaluation_set

from .conftest import TEMPLATES, write_lines
from .test_sets import parquet

RESULTS = ("accuracies.csv", "confusions.csv", "overall.csv")


@pytest.fixture(scope="module")
def lab():
    return find_clip("lab", device="cpu")


@pytest.fixture(scope="module")
def with_a_bad_picture(image_folder, class_names, tmp_path_factory):
    root = tmp_path_factory.mktemp("bad") / "lab-folders"
    shutil.copytree(image_folder, root)
    (root / class_names[0].replace(" ", "_") / "bad.jpg").write_bytes(b"no picture")
    return root


@pytest.fixture(scope="module")
def from_pictures(with_a_bad_picture, tmp_path_factory, lab):
    out = tmp_path_factory.mktemp("pictures") / "run"
    return evaluate(open_evaluation_set(with_a_bad_picture), [lab], out, workers=1)


@pytest.fixture(scope="module")
def embedded(with_a_bad_picture, tmp_path_factory, lab):
    out = tmp_path_factory.mktemp("embedded") / "emb"
    return embed(open_dataset(with_a_bad_picture), lab, out).folder


def same_results(one, other):
    for name in RESULTS:
        assert (one / name).read_bytes() == (other / name).read_bytes(), name


def test_embeddings_give_what_the_pictures_give(
    with_a_bad_picture, from_pictures, embedded, lab, tmp_path
):
    blind = tmp_path / "lab-folders"
    shutil.copytree(with_a_bad_picture, blind)
    for picture in blind.rglob("*.jpg"):
        picture.write_bytes(b"nobody opens this")
    opened = open_evaluation_set(blind)
    found = evaluate(
        opened, [lab], tmp_path / "run", options=EvaluationOptions(embeddings=[embedded]), workers=2
    )
    same_results(found.folder, from_pictures.folder)
    assert found.results[0].account["dropped"] == {"image:not_an_image": 1}
    told = {k: found.results[0].account[k] for k in ("n_samples", "n_used", "dropped")}
    assert told == from_pictures.results[0].account
    assert validate(found.folder).faults == ()
    listed = pd.read_parquet(found.folder / "guesses-lab.dropped.parquet")
    assert listed["reason"].tolist() == ["not_an_image"]


def test_the_folder_of_embeddings_is_a_set_by_itself(
    with_a_bad_picture, embedded, from_pictures, lab, tmp_path
):
    opened = open_evaluation_set(embedded, name="lab-folders", templates=TEMPLATES)
    assert "not in this folder, could not be embedded: 1" in opened.notes[0]
    found = evaluate(opened, [lab], tmp_path / "run", workers=1)
    same_results(found.folder, from_pictures.folder)


def test_labels_from_a_column_of_the_metadata(
    embedded, class_names, pictures, from_pictures, lab, tmp_path
):
    """As a folder that clip-retrieval wrote, which names no model."""
    for part in ("img_emb", "metadata"):
        shutil.copytree(embedded / part, tmp_path / "lab-folders" / part)
    for file in (tmp_path / "lab-folders" / "metadata").iterdir():
        table = pd.read_parquet(file)
        folders = [key.partition("/")[0].replace("_", " ") for key in table["image_path"]]
        numbers = [class_names.index(name) for name in folders]
        keys = [f"row {i}" for i in range(len(table))]
        table.assign(image_path=keys, label=numbers).to_parquet(file)
    with pytest.raises(DataError, match="--class-names"):
        open_evaluation_set(tmp_path / "lab-folders")
    opened = open_evaluation_set(
        tmp_path / "lab-folders", class_names=class_names, templates=TEMPLATES
    )
    found = evaluate(opened, [lab], tmp_path / "run", workers=1)
    assert found.table["n_images"].sum() == len(pictures)
    assert found.table["n_correct"].tolist() == from_pictures.table["n_correct"].tolist()


def test_what_is_on_one_side_only_is_counted(image_folder, class_names, embedded, lab, tmp_path):
    root = tmp_path / "lab-folders"
    shutil.copytree(image_folder, root)
    first, second = (root / name.replace(" ", "_") for name in class_names[:2])
    shutil.copy(next(first.iterdir()), first / "new.jpg")
    for picture in sorted(second.iterdir())[1:]:
        picture.unlink()
    found = evaluate(
        open_evaluation_set(root),
        [lab],
        tmp_path / "run",
        options=EvaluationOptions(embeddings=[embedded]),
        workers=1,
    )
    assert found.results[0].account["dropped"] == {"image:no_embedding": 1}
    assert "having no embedding: 1 image of the set." in " ".join(found.notes)
    assert "being of no image of the set: 2 embeddings." in " ".join(found.notes)
    table = found.table.set_index("concept")["n_images"]
    assert table[list(class_names[:2])].tolist() == [3, 1]


def test_a_key_of_two_pictures_is_nobodys(embedded, image_folder, lab, tmp_path):
    emb = tmp_path / "emb"
    shutil.copytree(embedded, emb)
    metadata = min((emb / "metadata").iterdir())
    array = min((emb / "img_emb").iterdir())
    table, rows = pd.read_parquet(metadata), np.load(array)
    np.save(array, np.concatenate([rows, rows[1:2], -rows[:1]]))
    pd.concat([table, table.iloc[1:2], table.iloc[:1]]).to_parquet(metadata)
    found = evaluate(
        open_evaluation_set(image_folder),
        [lab],
        tmp_path / "run",
        options=EvaluationOptions(embeddings=[emb]),
        workers=1,
    )
    # row 1 twice with the same vector is no question, row 0 with two vectors is one
    assert found.results[0].account["dropped"] == {"image:ambiguous_key": 1}
    listed = pd.read_parquet(found.folder / "guesses-lab.dropped.parquet")
    assert listed["key"].tolist() == [table["image_path"][0]]


def test_rows_without_a_key_need_the_very_same_files(pictures, class_names, lab, tmp_path):
    labels = [index for index, _ in pictures]
    path = parquet(tmp_path / "set.parquet", pictures, labels, class_names)
    plain = evaluate(open_evaluation_set(path), [lab], tmp_path / "plain", workers=1)
    emb = embed(open_dataset(path, caption_column="label"), lab, tmp_path / "emb").folder
    found = evaluate(
        open_evaluation_set(path),
        [lab],
        tmp_path / "run",
        options=EvaluationOptions(embeddings=[emb]),
        workers=1,
    )
    same_results(found.folder, plain.folder)
    path.rename(tmp_path / "moved.parquet")
    moved = open_evaluation_set(tmp_path / "moved.parquet")
    with pytest.raises(ConfigError, match="no key but their place"):
        evaluate(
            moved, [lab], tmp_path / "other", options=EvaluationOptions(embeddings=[emb]), workers=1
        )


def test_another_models_embeddings_are_refused(image_folder, embedded, tiny_clip, lab, tmp_path):
    opened = open_evaluation_set(image_folder)
    with pytest.raises(ArtifactMismatchError, match="were made with 'lab'"):
        evaluate(
            opened,
            [str(tiny_clip)],
            tmp_path / "run",
            options=EvaluationOptions(embeddings=[embedded]),
        )
    with pytest.raises(ConfigError, match="a folder per model"):
        evaluate(
            opened,
            [lab, str(tiny_clip)],
            tmp_path / "run",
            options=EvaluationOptions(embeddings=[embedded]),
        )
    with pytest.raises(ConfigError, match="folder of image embeddings"):
        evaluate(
            opened, [lab], tmp_path / "run", options=EvaluationOptions(embeddings=[image_folder])
        )
    with pytest.raises(ConfigError, match="leave out"):
        evaluate(
            opened,
            [lab],
            tmp_path / "run",
            options=EvaluationOptions(embeddings=[embedded], save_embeddings=tmp_path),
        )


def test_saved_embeddings_are_used_again(webdataset, tiny_clip, lab, tmp_path):
    opened = open_evaluation_set(webdataset)
    kept = tmp_path / "kept"
    models = [lab, str(tiny_clip)]
    first = evaluate(
        opened, models, tmp_path / "a", options=EvaluationOptions(save_embeddings=kept), workers=1
    )
    assert validate(first.folder).faults == ()
    folders = sorted(entry for entry in kept.iterdir())
    assert len(folders) == 2
    stamps = {path: path.stat().st_mtime_ns for path in kept.rglob("*.npy")}
    again = evaluate(
        opened, models, tmp_path / "b", options=EvaluationOptions(save_embeddings=kept), workers=1
    )
    assert {path: path.stat().st_mtime_ns for path in kept.rglob("*.npy")} == stamps
    same_results(again.folder, first.folder)
    plain = evaluate(opened, [lab], tmp_path / "c", workers=1)
    assert first.results[0].scores == plain.results[0].scores


def test_from_embeddings_to_pictures_in_one_folder(image_folder, embedded, lab, tmp_path):
    """Going back leaves nothing behind that the manifest would vouch for."""
    opened = open_evaluation_set(image_folder)
    evaluate(
        opened, [lab], tmp_path / "run", options=EvaluationOptions(embeddings=[embedded]), workers=1
    )
    with pytest.raises(ArtifactMismatchError, match="other inputs or settings"):
        evaluate(opened, [lab], tmp_path / "run", workers=1)
    found = evaluate(opened, [lab], tmp_path / "run", workers=1, resume=True)
    assert not list(found.folder.glob("*labels*"))
    assert validate(found.folder).faults == ()


def test_a_table_of_embeddings_without_labels(embedded, tmp_path):
    shutil.copytree(embedded, tmp_path / "emb")
    for file in (tmp_path / "emb" / "metadata").iterdir():
        table = pd.read_parquet(file)
        table.assign(image_path=[f"{i}" for i in range(len(table))]).to_parquet(file)
    write_lines(tmp_path / "names.txt", ["a", "b"])
    with pytest.raises(DataError, match="no label column"):
        open_evaluation_set(tmp_path / "emb", class_names=tmp_path / "names.txt")


def test_retrieval_from_embeddings(pictures, class_names, lab, tiny_clip, tmp_path):
    captions = [f"a photo of a {class_names[index]}" for index, _ in pictures]
    table = pd.DataFrame(
        {"key": [f"{i:04d}" for i in range(len(pictures))], "caption": captions,
         "jpg": [data for _, data in pictures], "status": "success"}
    )  # fmt: skip
    table.loc[3, "jpg"] = b"no picture"
    table.to_parquet(tmp_path / "00000.parquet")
    opened = open_dataset(tmp_path / "00000.parquet")
    plain = evaluate_retrieval(opened, [lab], tmp_path / "plain", workers=1)
    stored = open_dataset(embed(opened, lab, tmp_path / "emb").folder)
    found = evaluate_retrieval(stored, [lab], tmp_path / "run", workers=1)
    assert found.overall.equals(plain.overall)
    assert found.account["n_used"] == len(pictures) - 1
    with pytest.raises(ArtifactMismatchError, match="were made with 'lab'"):
        evaluate_retrieval(stored, [str(tiny_clip)], tmp_path / "other", workers=1)
