"""Every layout gives the same labelled images; what is wrong with a set is said."""

import base64
import io
import json
import shutil
import tarfile

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from conceptaudit.errors import ConfigError, DataError
from conceptaudit.zeroshot.evaluate import evaluate
from conceptaudit.zeroshot.sets import open_evaluation_set

from .conftest import TEMPLATES, add_member, write_lines


def parquet(path, pictures, labels, class_names=None):
    """As Hugging Face's ``datasets`` writes image classification."""
    image = pa.array([{"bytes": data, "path": None} for _, data in pictures])
    table = pa.table({"image": image, "label": pa.array(labels)})
    if class_names is not None:
        features = {
            "info": {"features": {"label": {"names": list(class_names), "_type": "ClassLabel"}}}
        }
        table = table.replace_schema_metadata({"huggingface": json.dumps(features)})
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path)
    return path


def counts_of(opened, out):
    result = evaluate(opened, ["lab"], out, workers=1)
    table = result.table.set_index("concept")
    return table[["n_correct", "n_images", "n_correct5"]].astype(int)


def test_every_layout_gives_the_same_counts(
    image_folder, webdataset, pictures, class_names, tmp_path
):
    hugging = tmp_path / "hf" / "data" / "test-00000-of-00001.parquet"
    parquet(hugging, pictures, [index for index, _ in pictures], class_names)
    write_lines(tmp_path / "hf" / "zeroshot_classification_templates.txt", TEMPLATES)
    named = parquet(tmp_path / "named.parquet", pictures, [class_names[i] for i, _ in pictures])
    sets = {
        "folders": open_evaluation_set(image_folder),
        "webdataset": open_evaluation_set(webdataset),
        "parquet": open_evaluation_set(tmp_path / "hf"),
        "labels that are names": open_evaluation_set(named, templates=TEMPLATES),
    }
    counts = {name: counts_of(opened, tmp_path / name) for name, opened in sets.items()}
    first = counts.pop("folders")
    assert int(first["n_images"].sum()) == len(pictures)
    for name, other in counts.items():
        assert other.loc[first.index].equals(first), name


def test_classes_that_share_a_name_carry_their_index(image_folder, class_names):
    names = [*class_names[:-1], class_names[0]]
    opened = open_evaluation_set(image_folder, class_names=names)
    last = len(names) - 1
    assert opened.concepts.names[0] == f"{names[0]} (class 0)"
    assert opened.concepts.names[last] == f"{names[0]} (class {last})"
    assert opened.concepts[last].prompts == opened.concepts[0].prompts
    assert "no prompt can tell these apart" in opened.notes[-1]


def test_more_names_than_folders_are_wrong_answers(image_folder, class_names):
    opened = open_evaluation_set(image_folder, class_names=["aardvark", *reversed(class_names)])
    assert opened.folders[0] == ""
    assert opened.folders[1] == class_names[-1].replace(" ", "_")


def test_names_that_do_not_fit_the_folders(image_folder):
    with pytest.raises(ConfigError, match="as many as they are"):
        open_evaluation_set(image_folder, class_names=["a", "b"])


def test_names_in_another_order_of_which_one_is_no_folders(image_folder, class_names):
    with pytest.raises(ConfigError, match=f"in another order.*'{class_names[0]}'"):
        open_evaluation_set(image_folder, class_names=[*class_names[1:], "aardvark"])


def test_imagenet_names_and_templates_are_open_clips(webdataset):
    opened = open_evaluation_set(webdataset, class_names="imagenet", templates="imagenet")
    assert len(opened.class_names) == 1000
    assert len(opened.templates) == 80
    assert all(template.count("{}") == 1 for template in opened.templates)


def test_a_template_without_a_place_for_the_name(image_folder):
    with pytest.raises(ConfigError, match="Got 'a photo' instead"):
        open_evaluation_set(image_folder, templates=["a photo"])


def test_numbers_without_names(pictures, tmp_path):
    path = parquet(tmp_path / "x.parquet", pictures, [index for index, _ in pictures])
    with pytest.raises(DataError, match="--class-names"):
        open_evaluation_set(path)


def test_names_beside_the_labels(pictures, class_names, tmp_path):
    frame = pd.DataFrame(
        {
            "image": [data for _, data in pictures],
            "label": [index for index, _ in pictures],
            "name": [class_names[index] for index, _ in pictures],
        }
    )
    frame.to_parquet(tmp_path / "x.parquet")
    assert open_evaluation_set(tmp_path / "x.parquet").class_names == tuple(class_names)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda root: None, "no folders"),
        (lambda root: (root / "x.parquet").write_bytes(b"junk"), "x.parquet as parquet"),
    ],
    ids=["empty", "damaged parquet"],
)
def test_sets_that_cannot_be_used(make, message, tmp_path):
    make(tmp_path)
    with pytest.raises(DataError, match=message):
        open_evaluation_set(tmp_path)


def test_parquet_of_integers_that_nobody_has(tmp_path):
    """pyarrow raises what is no ValueError: ArrowNotImplementedError."""
    path = tmp_path / "wide.parquet"
    pq.write_table(pa.table({"image": [b"0", b"1"], "label": [0, 1]}), path)
    written = pq.read_metadata(path).metadata[b"ARROW:schema"]
    schema = base64.b64decode(written)
    wide = schema.replace((64).to_bytes(4, "little"), (128).to_bytes(4, "little"))
    path.write_bytes(path.read_bytes().replace(written, base64.b64encode(wide)))
    with pytest.raises(DataError, match=r"wide\.parquet as parquet: Integers with more than 64"):
        open_evaluation_set(path)


def test_one_class_is_no_choice(image_folder, class_names, tmp_path):

    name = class_names[0].replace(" ", "_")
    shutil.copytree(image_folder / name, tmp_path / name)
    with pytest.raises(DataError, match="two classes or more"):
        open_evaluation_set(tmp_path)


def test_nothing_there(tmp_path):
    with pytest.raises(ConfigError, match="There is no evaluation set"):
        open_evaluation_set(tmp_path / "none")


def test_bad_images_and_labels_are_listed_and_in_no_number(webdataset, pictures, tmp_path):

    root = tmp_path / "set"
    shutil.copytree(webdataset, root)
    with tarfile.open(root / "test" / "2.tar", "w") as archive:
        add_member(archive, "bad0.jpg", b"no picture")
        add_member(archive, "bad0.cls", b"0")
        add_member(archive, "bad1.jpg", pictures[0][1])
        add_member(archive, "bad1.cls", b"999")
        add_member(archive, "bad2.jpg", pictures[0][1])
        add_member(archive, "good.jpg", pictures[0][1])
        add_member(archive, "good.cls", str(pictures[0][0]).encode())
    found = evaluate(open_evaluation_set(root), ["lab"], tmp_path / "run", workers=1)
    account = found.results[0].account
    assert account["n_samples"] == len(pictures) + 4
    assert account["n_used"] == len(pictures) + 1
    assert account["dropped"] == {"image:not_an_image": 1, "image:unknown_class": 2}
    assert int(found.table["n_images"].sum()) == len(pictures) + 1
    drops = pd.concat(pd.read_parquet(path) for path in (tmp_path / "run").rglob("*.drops.parquet"))
    assert sorted(drops["key"]) == ["bad0", "bad1", "bad2"]


def test_sixteen_bit_and_palette_pictures_are_read(class_names, tmp_path):
    from PIL import Image

    for name in class_names[:2]:
        (tmp_path / name).mkdir()
    Image.fromarray(np.full((40, 40), 40_000, dtype=np.uint16)).save(
        tmp_path / class_names[0] / "a.png"
    )
    buffer = io.BytesIO()
    Image.new("P", (40, 40)).save(buffer, "GIF")
    (tmp_path / class_names[1] / "b.gif").write_bytes(buffer.getvalue())
    found = evaluate(open_evaluation_set(tmp_path), ["lab"], tmp_path.parent / "run", workers=1)
    assert found.results[0].account["n_used"] == 2
