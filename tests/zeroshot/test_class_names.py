"""Class names, indices and prompts meet as they were meant, whatever form a set has them in."""

import json
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from conceptaudit.errors import ConfigError, DataError
from conceptaudit.image.clip import find_clip
from conceptaudit.image.embed import embed
from conceptaudit.vocabulary import read_concepts
from conceptaudit.zeroshot.class_labels import folders_of_classes, ordered_folders
from conceptaudit.zeroshot.class_names import ClassNames, listed_names, named_classes
from conceptaudit.zeroshot.classify import class_scores, count_ties
from conceptaudit.zeroshot.evaluate import evaluate
from conceptaudit.zeroshot.sets import open_evaluation_set

from .conftest import add_member, write_lines

REPORTS = Path(__file__).parents[2].parent / "shared" / "reports" / "evaluate"
reported = pytest.mark.skipif(not REPORTS.is_dir(), reason="the reported inputs are not at hand")


@pytest.fixture(scope="module")
def right(image_folder, tmp_path_factory):
    """Right answers of every class, from folders that have the classes' names."""
    opened = open_evaluation_set(image_folder)
    found = evaluate(opened, ["lab"], tmp_path_factory.mktemp("right") / "run", workers=1)
    return found.table.set_index("class_index")[["n_correct", "n_images"]].astype(int)


@pytest.fixture
def names_file(tmp_path, class_names):
    path = tmp_path / "names.txt"
    write_lines(path, class_names)
    return path


def evaluated(opened, out):
    found = evaluate(opened, ["lab"], out, workers=1)
    return found, found.table.set_index("class_index")[["n_correct", "n_images"]].astype(int)


def renamed_folders(image_folder, root, class_names, rename):
    """Copy an image folder with the class's index in place of its name."""
    for index, name in enumerate(class_names):
        shutil.copytree(image_folder / name.replace(" ", "_"), root / rename(index))
    shutil.copy(image_folder / "zeroshot_classification_templates.txt", root)
    return root


def folder_tar(folders, path):
    """An archive of images in a folder per class, without labels, in tar's own order."""
    path.parent.mkdir(parents=True)
    with tarfile.open(path, "w") as archive:
        for file in sorted(folders.rglob("*.jpg")):
            add_member(archive, file.relative_to(folders).as_posix(), file.read_bytes())
    return path.parent


FORMS = {
    "0": str,
    "000": lambda index: f"{index:03d}",
    "class_0": lambda index: f"class_{index}",
    "class-1": lambda index: f"class-{index + 1}",
    "1": lambda index: str(index + 1),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", ["images", "archive", "embeddings"])
def test_folders_that_are_numbers(
    form, kind, image_folder, class_names, names_file, right, tmp_path
):
    root = renamed_folders(image_folder, tmp_path / "set", class_names, FORMS[form])
    templates = root / "zeroshot_classification_templates.txt"
    if kind == "archive":
        root = folder_tar(root, tmp_path / "tars" / "test" / "0.tar")
    if kind == "embeddings":
        opened = open_evaluation_set(root, class_names=names_file)
        embed(opened.dataset, find_clip("lab", device="cpu"), tmp_path / "emb", workers=1)
        root = tmp_path / "emb"
    opened = open_evaluation_set(root, class_names=names_file, templates=templates)
    found, counts = evaluated(opened, tmp_path / "run")
    assert counts.equals(right)
    assert any(f"is {class_names[-1]!r}" in note for note in found.notes)


def test_some_numbered_folders_are_indices_among_all_names(image_folder, class_names, tmp_path):
    root = renamed_folders(image_folder, tmp_path / "set", class_names, str)
    for index in range(0, len(class_names), 2):
        shutil.rmtree(root / str(index))
    opened = open_evaluation_set(root, class_names=class_names)
    assert [bool(folder) for folder in opened.folders] == [
        index % 2 == 1 for index in range(len(class_names))
    ]


def test_folders_of_wordnet_ids_are_imagenet_classes(image_folder, class_names, tmp_path):
    ids = ["n02123045", "n01440764"]  # tabby, tench: not in the order of ImageNet's indices
    for name, folder in zip(class_names, ids, strict=False):
        shutil.copytree(image_folder / name.replace(" ", "_"), tmp_path / "set" / folder)
    with pytest.raises(DataError, match="have no names"):
        open_evaluation_set(tmp_path / "set")
    opened = open_evaluation_set(tmp_path / "set", class_names="imagenet")
    of_folder = {f: n for f, n in zip(opened.folders, opened.class_names, strict=True) if f}
    assert of_folder == {"n01440764": "tench", "n02123045": "tabby cat"}


@pytest.mark.parametrize("form", ["0", "000", "class_0"])
def test_numbers_are_no_names(form, image_folder, class_names, tmp_path):
    root = renamed_folders(image_folder, tmp_path / "set", class_names, FORMS[form])
    (root / "zeroshot_classification_templates.txt").unlink()
    with pytest.raises(DataError, match="--class-names"):
        open_evaluation_set(root)
    opened = open_evaluation_set(root, templates=["a photo of the number {}."])
    assert "are numbers or ids" in opened.notes[0]


def test_what_other_programs_leave_behind_is_no_class(image_folder, class_names, tmp_path):
    root = renamed_folders(image_folder, tmp_path / "set", class_names, str)
    (root / ".ipynb_checkpoints").mkdir()
    (root / "__MACOSX").mkdir()
    assert len(open_evaluation_set(root, class_names=class_names).folders) == len(class_names)


def test_folders_of_splits_are_no_classes(image_folder, right, tmp_path):
    for split in ("train", "test"):
        shutil.copytree(image_folder, tmp_path / "set" / split)
    _, counts = evaluated(open_evaluation_set(tmp_path / "set"), tmp_path / "run")
    assert counts.equals(right)
    with pytest.raises(DataError, match="--split: test, train"):
        open_evaluation_set(tmp_path / "set", split="val")


@pytest.mark.parametrize("lines", [["", "a", "b"], ["a", "", "b"], ["a", "  \t", "b"]])
def test_a_nameless_class_is_refused(lines, tmp_path):
    write_lines(tmp_path / "classnames.txt", lines)
    with pytest.raises(
        DataError, match=f"index {lines.index(next(x for x in lines if not x.strip()))}"
    ):
        listed_names(tmp_path / "classnames.txt")


def test_line_breaks_at_the_end_are_no_class(tmp_path):
    (tmp_path / "names.txt").write_bytes(b"\xef\xbb\xbf dog \r\ncat\r\n\r\n \n")
    assert listed_names(tmp_path / "names.txt").names == ("dog", "cat")


def test_duplicate_names_keep_their_indices(tmp_path):
    write_lines(tmp_path / "names.txt", ["dog", "cat", "dog", "ant"])
    assert listed_names(tmp_path / "names.txt").names == ("dog", "cat", "dog", "ant")


NAME_FILES = {
    "list.json": '["ant", "bee"]',
    "indices.json": '{"1": "bee", "0": "ant"}',
    "to_index.json": '{"bee": 1, "ant": 0}',
    "keras.json": '{"0": ["n02219486", "ant"], "1": ["n02206856", "bee"]}',
    "of_datasets.json": '{"insects": ["ant", "bee"], "food": ["rice"]}',
    "plain.csv": "ant\nbee\n",
    "indexed.csv": "class_index,name\n1,bee\n0,ant\n",
    "tabs.tsv": "name\tn\nant\t3\nbee\t4\n",
    "quoted.txt": "'ant',\n'bee'\n",
    "wordnet.txt": "n02219486 ant, emmet, pismire\nn02206856 bee\n",
}


@pytest.mark.parametrize("name", NAME_FILES)
def test_files_of_class_names(name, image_folder, class_names, tmp_path):
    (tmp_path / name).write_text(NAME_FILES[name])
    for index, folder in enumerate(["0", "1"]):
        shutil.copytree(
            image_folder / class_names[index].replace(" ", "_"), tmp_path / "set" / folder
        )
    opened = open_evaluation_set(tmp_path / "set", name="insects", class_names=tmp_path / name)
    assert opened.class_names == ("ant", "bee")


BAD_NAME_FILES = {
    "gap.json": ('{"0": "ant", "2": "bee"}', DataError, "without a gap"),
    "blank.json": '["ant", "", "bee"]',
    "null.json": '["ant", null, "bee"]',
    "twice.csv": ("class_index,name\n0,ant\n0,bee\n", DataError, "an index of its own"),
    "column.csv": ("a,b\n0,ant\n", DataError, "column of class names"),
    "several.json": ('{"pets": ["dog"], "food": ["rice"]}', ConfigError, "--dataset-key"),
}


@pytest.mark.parametrize("name", BAD_NAME_FILES)
def test_files_that_leave_a_class_unclear(name, tmp_path):
    content = BAD_NAME_FILES[name]
    text, error, message = (
        (content, DataError, "no name for the class with index 1")
        if isinstance(content, str)
        else content
    )
    (tmp_path / name).write_text(text)
    with pytest.raises(error, match=message):
        named_classes(tmp_path / name)


LABELS = {
    "float": float,
    "text of integers": str,
    "text of floats": lambda index: f"{index}.0",
    "from one": lambda index: index + 1,
    "padded": lambda index: f" {index:03d}",
}


@pytest.mark.parametrize("form", LABELS)
def test_labels_of_every_form(form, pictures, names_file, right, tmp_path):
    labels = [LABELS[form](index) for index, _ in pictures]
    frame = pd.DataFrame({"image": [data for _, data in pictures], "label": labels})
    frame.to_parquet(tmp_path / "x.parquet")
    opened = open_evaluation_set(
        tmp_path / "x.parquet",
        class_names=names_file,
        templates=("a photo of a {c}", "picture of a {c}"),
    )
    _, counts = evaluated(opened, tmp_path / "run")
    assert counts.equals(right)


def test_missing_and_unknown_labels_are_said(pictures, class_names, tmp_path):
    labels = [float(index) for index, _ in pictures]
    labels[0], labels[1] = np.nan, 99.0
    frame = pd.DataFrame({"image": [data for _, data in pictures], "label": labels})
    frame.to_parquet(tmp_path / "x.parquet")
    opened = open_evaluation_set(tmp_path / "x.parquet", class_names=class_names)
    found, _ = evaluated(opened, tmp_path / "run")
    assert found.results[0].account["dropped"] == {"image:unknown_class": 2}
    assert any("'99.0'" in note for note in found.notes)


def test_labels_that_are_numbers_but_names(pictures, tmp_path):
    """Years and house numbers: the label is the name, not an index."""
    frame = pd.DataFrame({"image": [d for _, d in pictures[:4]], "label": ["2", "1", "2", "1"]})
    frame.to_parquet(tmp_path / "x.parquet")
    opened = open_evaluation_set(tmp_path / "x.parquet", class_names=["1", "2", "3"])
    batch = next(opened.dataset.read(opened.dataset.shards()[0], opened.label_parts))
    assert opened.labels(batch) == [1, 0, 1, 0]


def test_names_as_labels_are_matched_in_any_case(pictures, class_names, right, tmp_path):
    frame = pd.DataFrame(
        {
            "image": [data for _, data in pictures],
            "label": [class_names[index].upper().replace(" ", "_") for index, _ in pictures],
        }
    )
    frame.to_parquet(tmp_path / "x.parquet")
    opened = open_evaluation_set(
        tmp_path / "x.parquet",
        class_names=class_names,
        templates=("a photo of a {c}", "picture of a {c}"),
    )
    _, counts = evaluated(opened, tmp_path / "run")
    assert counts.equals(right)


def test_fractions_are_no_labels(pictures, tmp_path):
    frame = pd.DataFrame({"image": [d for _, d in pictures[:2]], "label": [0.0, 0.5]})
    frame.to_parquet(tmp_path / "x.parquet")
    with pytest.raises(DataError, match="no class index"):
        open_evaluation_set(tmp_path / "x.parquet", class_names=["a", "b"])


@pytest.mark.parametrize("form", ["{}", "{}\n", "{}.0", " {} "])
def test_labels_of_archives(form, webdataset, pictures, right, tmp_path):
    root = tmp_path / "set"
    shutil.copytree(webdataset, root)
    for file in (root / "test").glob("*.tar"):
        file.unlink()
    with tarfile.open(root / "test" / "0.tar", "w") as archive:
        for number, (index, data) in enumerate(pictures):
            add_member(archive, f"s{number:06d}.jpg", data)
            add_member(archive, f"s{number:06d}.cls", form.format(index).encode())
    _, counts = evaluated(open_evaluation_set(root), tmp_path / "run")
    assert counts.equals(right)


TEMPLATES = {
    "list.json": ["a photo of a {c}", "picture of a {}"],
    "clip_benchmark.json": {"lab": ["a photo of a {c}", "picture of a {c}"], "food": ["a {c}"]},
    "one.json": {"whatever": ["a photo of a {c}", "picture of a {c}"]},
}


@pytest.mark.parametrize("name", TEMPLATES)
def test_templates_in_json(name, image_folder, tmp_path):
    (tmp_path / name).write_text(json.dumps(TEMPLATES[name]))
    opened = open_evaluation_set(image_folder, name="lab", templates=tmp_path / name)
    assert opened.templates == ("a photo of a {}", "picture of a {}")


def test_templates_of_several_datasets_are_asked_for(image_folder, tmp_path):
    file = tmp_path / "t.json"
    file.write_text(json.dumps({"cars": ["a {c} car"], "food": ["a {c} dish"]}))
    with pytest.raises(ConfigError, match=r"cars, food.*--dataset-key"):
        open_evaluation_set(image_folder, templates=file)
    with pytest.raises(ConfigError, match="Got 'pets'"):
        open_evaluation_set(image_folder, templates=file, dataset_key="pets")
    opened = open_evaluation_set(image_folder, templates=file, dataset_key="food")
    assert opened.templates == ("a {} dish",)


@pytest.mark.parametrize("by_dataset", [False, True])
def test_prompts_by_class(by_dataset, image_folder, class_names, tmp_path):
    prompts = {
        class_names[0].upper(): ["something small", "a tiny {c}"],
        "no such class": ["nothing"],
        class_names[1]: "one sentence",
    }
    content = {"lab": prompts, "food": {"rice": ["rice"]}} if by_dataset else prompts
    (tmp_path / "cupl.json").write_text(json.dumps(content))
    opened = open_evaluation_set(image_folder, name="lab", templates=tmp_path / "cupl.json")
    first, second, third = opened.concepts[0], opened.concepts[1], opened.concepts[2]
    assert first.prompts == ("something small", f"a tiny {class_names[0]}")
    assert second.prompts == ("one sentence",)
    assert third.prompts == (f"a photo of a {class_names[2]}", f"picture of a {class_names[2]}")
    assert (
        f"{len(class_names) - 2} of {len(class_names)} classes have no prompts" in opened.notes[0]
    )
    assert "'no such class'" in opened.notes[1]


def test_prompts_of_no_class(image_folder, tmp_path):
    (tmp_path / "cupl.json").write_text(json.dumps({"aardvark": ["an aardvark digs"]}))
    with pytest.raises(ConfigError, match="aardvark"):
        open_evaluation_set(image_folder, templates=tmp_path / "cupl.json")


def test_ties_go_to_the_first_class_and_are_said(image_folder, class_names, tmp_path):
    names = [*class_names[:-1], class_names[0]]
    found, counts = evaluated(
        open_evaluation_set(image_folder, class_names=names), tmp_path / "run"
    )
    assert any("several classes have the best similarity" in note for note in found.notes)
    guesses = pd.concat(pd.read_parquet(p) for p in (tmp_path / "run").rglob("00*.parquet"))
    assert not (guesses["guess_1"] == len(names) - 1).any()
    assert counts["n_correct"].iloc[-1] == 0


def test_equal_vectors_have_equal_scores():
    rng = np.random.default_rng(0)
    classes = rng.normal(size=(201, 77)).astype(np.float32)
    classes[200] = classes[3]
    vectors = np.repeat(classes[3:4], 50, axis=0) + rng.normal(size=(50, 77)).astype(np.float32) / 9
    scores = class_scores(vectors, classes)
    assert np.array_equal(scores[:, 3], scores[:, 200])
    assert count_ties(scores) == 50


def test_lists_that_ship():
    import open_clip

    imagenet = named_classes("imagenet")
    assert imagenet.names == tuple(open_clip.IMAGENET_CLASSNAMES)
    assert imagenet.synsets[0] == "n01440764"
    assert list(imagenet.synsets) == sorted(imagenet.synsets)
    assert len(named_classes("lvis").names) == 1203
    assert not any("_" in name for name in named_classes("lvis").names)
    concepts = read_concepts("lvis").vocabulary
    assert len(concepts) == 1203
    assert concepts.concepts[0].aliases == ("spray_can",)
    assert len(read_concepts("imagenet").vocabulary) == len(set(imagenet.names))


@reported
@pytest.mark.parametrize(
    ("folder", "options", "accuracy"),
    [
        ("named", {}, 0.806),
        ("numeric", {"class_names": "names.txt"}, 0.806),
        ("wds_ok", {}, 0.806),
        ("floatlabels.parquet", {"class_names": "names.txt"}, 0.806),
        ("named", {"templates": "tmpl.json"}, 0.806),
        ("named", {"templates": "cupl.json"}, 0.833),
    ],
)
def test_reported_sets(folder, options, accuracy, tmp_path):
    paths = {name: REPORTS / file for name, file in options.items()}
    found, _ = evaluated(open_evaluation_set(REPORTS / folder, **paths), tmp_path / "run")
    assert found.results[0].scores["acc1"].value == pytest.approx(accuracy, abs=6e-4)


@reported
@pytest.mark.parametrize("folder", ["numeric", "wds_blank"])
def test_reported_sets_that_are_refused(folder):
    with pytest.raises(DataError):
        open_evaluation_set(REPORTS / folder)


@pytest.mark.parametrize(
    "text",
    [
        "{0: 'tench',\n 1: 'hot dog'}",
        '["tench", "hot dog"]',
        "0: tench\n1: hot dog\n",
        "1 tench\n2 hot dog\n",
        "1\thot dog\n0\ttench\n",
        "0 - tench\n1 - hot dog\n",
        "tench 0\nhot dog 1\n",
        "1 001.tench\n2 002.hot dog\n",
        "n00000001 1 tench\nn00000002 2 hot dog\n",
        "- tench\n- hot dog\n",
        "index;name\n1;hot dog\n0;tench\n",
        "class_index,name\n0,tench\n1,hot dog\n",
    ],
)
def test_class_names_with_their_index_in_a_text_file(tmp_path, text):
    path = tmp_path / "names.txt"
    path.write_text(text)
    assert named_classes(path).names == ("tench", "hot dog")


def test_numbers_that_are_no_index_stay_in_names(tmp_path):
    path = tmp_path / "names.txt"
    for names in (("30 km sign", "50 km sign"), ("class 0", "class 1"), ("0", "1")):
        path.write_text("\n".join(names))
        assert named_classes(path).names == names


def test_class_names_of_places_lose_their_letter(tmp_path):
    path = tmp_path / "categories_places365.txt"
    path.write_text("/a/airfield 0\n/b/bakery/shop 1\n")
    assert named_classes(path).names == ("airfield", "bakery (shop)")


def test_class_names_in_yaml_are_refused(tmp_path):
    path = tmp_path / "names.yaml"
    path.write_text("names:\n  0: tench\n")
    with pytest.raises(DataError, match="one name per line"):
        named_classes(path)


def test_folders_with_their_index_before_or_in_the_name_take_their_own_name():
    names = [f"thing {letter}" for letter in "abcdefghijkl"]
    for folder_of in (lambda i: f"{i}_{names[i]}", lambda i: f"{i}.0"):
        folders = ordered_folders(folder_of(i) for i in range(12))
        found, _ = folders_of_classes(folders, folders, ClassNames(names=tuple(names)), "set")
        assert found == tuple(folder_of(i) for i in range(12))
