"""Per-concept accuracies: every format that is read, and every file that must be refused."""

import json

import pandas as pd
import pytest

from conceptaudit.errors import ConfigError, DataError
from conceptaudit.records import ACCURACY_COLUMNS
from conceptaudit.zeroshot.readers import read_accuracies

HEADER = "model,pretraining,dataset,concept,n_correct,n_images\n"


@pytest.fixture
def write(tmp_path):
    def _write(name, content):
        path = tmp_path / name
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return path

    return _write


def paper(scores, key="classwise", model="backboneRN50_pretrainedcc3m"):
    return {model: {"full": 0.0, key: scores}}


def test_our_table(write):
    path = write("a.csv", HEADER + "RN50,cc3m,pets,dog,9,10\nRN50,cc3m,pets,NA,0,10\n")
    table = read_accuracies(path).table
    assert list(table) == list(ACCURACY_COLUMNS)
    assert table["concept"].tolist() == ["dog", "NA"]
    assert table["accuracy"].tolist() == [0.9, 0.0]
    assert table["n_images"].tolist() == [10, 10]
    assert table["metric"].tolist() == ["accuracy"] * 2


def test_parquet_equals_csv(write, tmp_path):
    path = write("a.csv", HEADER + "RN50,cc3m,pets,dog,9,10\n")
    one = read_accuracies(path).table
    pd.read_csv(path).to_parquet(tmp_path / "a.parquet")
    two = read_accuracies(tmp_path / "a.parquet").table
    pd.testing.assert_frame_equal(one, two)


def test_columns_are_found_by_other_names_and_case(write):
    path = write("a.tsv", "Backbone\tPretrained\tClassName\tAcc1\nRN50\tcc3m\tdog\t0.5\n")
    table = read_accuracies(path, dataset="pets").table
    assert table.iloc[0][["model", "pretraining", "dataset", "concept", "accuracy"]].tolist() == [
        "RN50",
        "cc3m",
        "pets",
        "dog",
        0.5,
    ]
    assert table["n_correct"].isna().all()


@pytest.mark.parametrize(
    ("values", "percent", "expected", "word"),
    [
        ([0.5, 1.0, 0.0], "auto", [0.5, 1.0, 0.0], "fractions"),
        ([50, 100, 0], "auto", [0.5, 1.0, 0.0], "per cent"),
        ([0.4, 97, 12], "auto", [0.004, 0.97, 0.12], "per cent"),
        ([0.4, 0.6, 1.0], True, [0.004, 0.006, 0.01], "per cent"),
        ([0.4, 0.6, 2.0], True, [0.004, 0.006, 0.02], "per cent"),
    ],
)
def test_per_cent_and_fractions(values, percent, expected, word, write):
    rows = "".join(f"c{i},{value}\n" for i, value in enumerate(values))
    read = read_accuracies(
        write("a.csv", "concept,accuracy\n" + rows), dataset="d", model="m", percent=percent
    )
    assert read.table["accuracy"].tolist() == pytest.approx(expected)
    assert read.notes == (f"a.csv: accuracies were read as {word}.",)


@pytest.mark.parametrize(
    ("values", "percent", "message"),
    [
        ([0.5, 0.6, 0.7, 12], "auto", "mixes fractions and per cent"),
        ([50, 101], "auto", r"row 2: accuracies must lie in .* Got 101 for concept 'c1'"),
        ([-0.1, 0.5], "auto", r"row 1: accuracies must lie in .* Got -0.1 for concept 'c0'"),
        ([0.5, 1.2], False, r"row 2: accuracies must lie in"),
        ([0.5, "nan"], "auto", r"row 2: accuracy must be a number\. Got 'nan' for concept 'c1'"),
        ([0.5, ""], "auto", r"row 2: accuracy must be a number"),
        ([0.5, "high"], "auto", r"Got 'high' for concept 'c1'"),
        (["inf", 0.5], "auto", r"row 1: accuracy must be a number"),
    ],
)
def test_impossible_accuracies(values, percent, message, write):
    rows = "".join(f"c{i},{value}\n" for i, value in enumerate(values))
    path = write("a.csv", "concept,accuracy\n" + rows)
    with pytest.raises(DataError, match=message):
        read_accuracies(path, dataset="d", model="m", percent=percent)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("m,,d,dog,11,10", r"row 1: n_correct must lie between .* Got n_correct = 11 and n_images"),
        ("m,,d,dog,-1,10", "n_correct must lie between"),
        ("m,,d,dog,0,0", "n_images must be at least 1"),
        ("m,,d,dog,1.5,10", "must be whole numbers"),
        ("m,,d,dog,,10", "n_correct must be a number"),
        ("m,,d,,1,10", "row 1: the concept is empty"),
        (",,d,dog,1,10", "row 1: the model is empty"),
    ],
)
def test_impossible_rows(row, message, write):
    with pytest.raises(DataError, match=message):
        read_accuracies(write("a.csv", HEADER + row + "\n"))


def test_stated_and_counted_accuracies_must_agree(write):
    head = "model,dataset,concept,n_correct,n_images,accuracy\n"
    fine = read_accuracies(write("a.csv", head + "m,d,dog,1,3,33.33\n"))
    assert fine.table["accuracy"].tolist() == [1 / 3]
    with pytest.raises(DataError, match=r"accuracy 0\.5 of concept 'dog' is not n_correct"):
        read_accuracies(write("b.csv", head + "m,d,dog,1,3,0.5\n"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("model,dataset,accuracy\nm,d,0.5\n", "must have a 'concept' column"),
        ("model,dataset,concept\nm,d,dog\n", "must have the columns n_correct and n_images, or"),
        ("dataset,concept,accuracy\nd,dog,0.5\n", "has no 'model' column"),
        ("model,concept,accuracy\nm,dog,0.5\n", "has no 'dataset' column"),
        ("model,concept,accuracy\n", "has no rows"),
        ("", "Cannot read"),
    ],
)
def test_tables_without_what_is_needed(text, message, write):
    with pytest.raises(DataError, match=message):
        read_accuracies(write("a.csv", text))


def test_a_dataset_that_contradicts_the_file_is_refused(write):
    path = write("a.csv", HEADER + "m,,pets,dog,1,10\n")
    assert read_accuracies(path, dataset="pets").table["dataset"].tolist() == ["pets"]
    with pytest.raises(DataError, match=r"must agree with the file.*\['pets'\].*Got 'cub'"):
        read_accuracies(path, dataset="cub")


def test_paper_classification(write):
    path = write("pets_ensemble_results.json", paper({"dog": 50.0, "cat": 0.5}))
    read = read_accuracies(path)
    row = read.table.iloc[0]
    assert row[["model", "pretraining", "dataset", "metric"]].tolist() == [
        "RN50",
        "cc3m",
        "pets",
        "accuracy_ensemble",
    ]
    assert read.table["accuracy"].tolist() == [0.5, 0.005]
    assert "per cent" in read.notes[0]


def test_paper_retrieval(write):
    path = write("coco_i2t_k=1_results.json", paper({"dog": 0.5, "": 0.9}, key="conceptwise"))
    read = read_accuracies(path)
    assert read.table["metric"].tolist() == ["i2t_recall@1"]
    assert read.table["accuracy"].tolist() == [0.5]
    assert any("without a name" in note for note in read.notes)


def test_paper_model_names_may_hold_underscores(write):
    model = "backboneViT-B-32_pretrainedlaion200m_train_test_sim_normalized"
    table = read_accuracies(write("cub_class_results.json", paper({"a": 1.0}, model=model))).table
    assert table.iloc[0][["model", "pretraining"]].tolist() == [
        "ViT-B-32",
        "laion200m_train_test_sim_normalized",
    ]


def test_cifar10_planes_are_airplanes(write):
    read = read_accuracies(write("cifar10_class_results.json", paper({"plane": 1.0})))
    assert read.table["concept"].tolist() == ["airplane"]
    assert any("'plane' as 'airplane'" in note for note in read.notes)


@pytest.mark.parametrize("name", ["results.json", "my_pets_results.json", "pets_class.json"])
def test_paper_files_of_unknown_name(name, write):
    path = write(name, paper({"dog": 50.0}))
    with pytest.raises(DataError, match=r"Known names are .*pass dataset="):
        read_accuracies(path)
    read = read_accuracies(path, dataset="pets").table
    assert read.iloc[0][["dataset", "metric"]].tolist() == ["pets", "accuracy"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a_class_results.json", paper({"dog": 101}), "Got 101 for concept 'dog'"),
        ("a_class_results.json", paper({"dog": None}), "Got None for concept 'dog'"),
        ("a_class_results.json", paper({"dog": True}), "Got True for concept 'dog'"),
        ("a_t2i_k=1_results.json", paper({"dog": 1.5}, key="conceptwise"), r"\[0, 1\]. Got 1.5"),
        ("a_class_results.json", paper({"dog": 1}, model="RN50"), "must be named backbone"),
    ],
)
def test_paper_values_that_are_impossible(name, content, message, write):
    with pytest.raises(DataError, match=message):
        read_accuracies(write(name, content))


def test_a_dataset_that_contradicts_a_file_name_is_refused(write):
    with pytest.raises(DataError, match="must agree with the file name"):
        read_accuracies(write("pets_class_results.json", paper({"dog": 1})), dataset="cub")


CLIP_BENCHMARK = {
    "dataset": "wds/cub",
    "model": "ViT-B-32",
    "pretrained": "openai",
    "task": "zeroshot_classification",
    "metrics": {"acc1": 0.5, "acc5": 0.7, "mean_per_class_recall": 0.5},
    "language": "en",
}
DATACOMP = {"key": "cars", "dataset": "Stanford Cars", "metrics": {"acc1": 0.5, "main_metric": 0.5}}
OPEN_CLIP = {"imagenet-zeroshot-val-top1": 0.5, "imagenet-zeroshot-val-top5": 0.7, "epoch": 3}


@pytest.mark.parametrize(
    ("name", "content", "tool"),
    [
        ("cub.json", json.dumps(CLIP_BENCHMARK), "CLIP_benchmark"),
        ("benchmark.csv", "model_fullname,dataset,acc1\nViT-B-32 openai,cub,0.5\n", "CLIP_bench"),
        ("eval_results.jsonl", json.dumps(DATACOMP) + "\n", "DataComp"),
        ("results.jsonl", json.dumps(OPEN_CLIP) + "\n", "open_clip"),
    ],
)
def test_overall_results_are_refused_by_name(name, content, tool, write):
    with pytest.raises(DataError, match=f"{tool}.*overall accuracy, not accuracy per class"):
        read_accuracies(write(name, content))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.json", "{", "Cannot read .* as JSON"),
        ("a.jsonl", "{", "Cannot read .* as JSON lines"),
        ("a.json", '{"dog": 0.5}', "holds no per-concept accuracies"),
        ("a.jsonl", '{"dog": 0.5}', "holds no per-concept accuracies"),
        ("a.json", "[1, 2]", "holds no per-concept accuracies"),
        ("a.txt", "dog 0.5", "holds no per-concept accuracies"),
        ("a.parquet", "no parquet", "Cannot read"),
    ],
)
def test_other_files(name, content, message, write):
    with pytest.raises(DataError, match=message):
        read_accuracies(write(name, content))


def test_folders_globs_and_lists_are_the_same_files(write, tmp_path):
    files = [
        write(f"{name}_class_results.json", paper({f"{name} one": 1.0})) for name in ("a", "b")
    ]
    write("notes.json", {"not": "a result"})
    expected = read_accuracies(files).table
    for paths in (tmp_path, str(tmp_path / "*_class_*.json"), [files[0], tmp_path]):
        pd.testing.assert_frame_equal(read_accuracies(paths).table, expected)


def test_a_run_folder_is_read_once(write, tmp_path):
    path = write("accuracies.csv", HEADER + "m,,pets,dog,1,10\n")
    pd.read_csv(path).to_parquet(tmp_path / "accuracies.parquet")
    write("manifest.json", {})
    assert len(read_accuracies(tmp_path).table) == 1


def test_missing_files(tmp_path):
    for paths in (tmp_path, tmp_path / "none.csv", str(tmp_path / "*.csv"), []):
        with pytest.raises(DataError, match="accuracy file"):
            read_accuracies(paths)


def test_the_same_result_twice_names_both_files(write):
    row = HEADER + "m,,pets,dog,1,10\n"
    with pytest.raises(DataError, match=r"'dog' of 'pets' more than once.*a\.csv, .*b\.csv"):
        read_accuracies([write("a.csv", row), write("b.csv", row)])


def test_classes_that_share_a_name_are_one_concept(write):
    header = HEADER.replace("concept", "class_index,concept")
    rows = "m,,in,134,crane,35,50\nm,,in,517,crane,0,50\nm,,in,1,tench,40,50\n"
    found = read_accuracies(write("a.csv", header + rows))
    table = found.table.set_index("concept")
    assert table["n_correct"].to_dict() == {"crane": 35, "tench": 40}
    assert table["n_images"].to_dict() == {"crane": 100, "tench": 50}
    assert table["accuracy"].to_dict() == {"crane": 0.35, "tench": 0.8}
    assert any("1 name is of several classes (crane)" in note for note in found.notes)
    shares = "model,dataset,wnid,class,accuracy\nm,in,n1,crane,0.7\nm,in,n2,crane,0.1\n"
    assert read_accuracies(write("b.csv", shares)).table["accuracy"].tolist() == [
        pytest.approx(0.4)
    ]
    with pytest.raises(DataError, match="more than once"):
        read_accuracies(write("c.csv", header + rows + "m,,in,134,crane,35,50\n"))


def test_one_model_of_several(write):
    content = {**paper({"dog": 1.0}), **paper({"dog": 2.0}, model="backboneB_pretrainedx")}
    path = write("pets_class_results.json", content)
    assert read_accuracies(path, model="B").table["model"].tolist() == ["B"]
    with pytest.raises(DataError, match=r"no accuracy of the model 'C'.*\['B', 'RN50'\]"):
        read_accuracies(path, model="C")


def test_percent_takes_three_values(write):
    with pytest.raises(ConfigError, match="'percent' parameter of read_accuracies must be"):
        read_accuracies(write("a.csv", HEADER), percent="yes")


def test_another_group_s_table_with_two_cranes(realdata):
    found = read_accuracies(realdata / "reference" / "imagenet_val_correct_by_class.csv")
    assert len(found.table) == 4 * 998  # of 1,000 classes two share a name with another
    crane = found.table.set_index(["model", "concept"]).loc[("clip-vit-base-patch32", "crane")]
    assert (crane["n_correct"], crane["n_images"]) == (35, 100)


def test_published_files(realdata):
    folder = realdata / "reference"
    read = read_accuracies(folder / "zero_shot_evaluations" / "*_ensemble_results.json").table
    assert read["dataset"].nunique() == 15
    assert len(read) == 19 * 4172
    recall = read_accuracies(folder / "retrieval_evaluations").table
    assert sorted(recall["metric"].unique()) == [
        f"{task}_recall@{k}" for task in ("i2t", "t2i") for k in (1, 10, 5)
    ]
