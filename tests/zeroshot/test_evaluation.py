"""The bundled model, end to end, and an evaluation that is interrupted."""

import json

import pandas as pd
import pytest

from conceptaudit.curves import fit_curve
from conceptaudit.errors import ArtifactMismatchError, ConfigError
from conceptaudit.lab import lab_training, lab_vocabulary
from conceptaudit.lab.folders import draw_test_picture
from conceptaudit.options.zeroshot import RetrievalOptions
from conceptaudit.records import ConceptFrequencies
from conceptaudit.validation import validate
from conceptaudit.zeroshot.evaluate import evaluate
from conceptaudit.zeroshot.readers import read_accuracies
from conceptaudit.zeroshot.sets import open_evaluation_set


def test_the_bundled_model_knows_its_head_and_not_its_tail(tmp_path):
    training = lab_training()
    names = lab_vocabulary(training.config).names
    head, never = names[:10], names[-training.config.zero_concepts :][:10]
    for name in (*head, *never):
        (tmp_path / "set" / name).mkdir(parents=True)
        for number in range(200, 208):
            picture = draw_test_picture(training.config, name, number)
            (tmp_path / "set" / name / f"{number}.jpg").write_bytes(picture)
    opened = open_evaluation_set(tmp_path / "set", class_names=names, templates=training.templates)
    found = evaluate(opened, ["lab"], tmp_path / "run", workers=1)
    accuracy = found.accuracies.table.set_index("concept")["accuracy"]
    assert accuracy[list(head)].mean() >= 0.8
    assert accuracy[list(never)].mean() <= 0.1
    assert len(accuracy) == 20  # classes without images are wrong answers only


@pytest.fixture
def finished(image_folder, tmp_path):
    return evaluate(open_evaluation_set(image_folder), ["lab"], tmp_path / "run", workers=1)


def test_the_run_folder_is_whole_and_reads_back(finished, tmp_path):
    assert validate(finished.folder).faults == ()
    read = read_accuracies([str(finished.folder / "accuracies.csv")])
    ours = finished.accuracies.table.set_index("concept")
    again = read.table.set_index("concept").loc[ours.index]
    for column in ("n_correct", "n_images"):
        assert again[column].tolist() == ours[column].tolist()
    [record] = (finished.folder / "clip_benchmark").glob("*.json")
    told = json.loads(record.read_text())
    assert told["task"] == "zeroshot_classification"
    assert told["metrics"]["acc1"] == finished.results[0].scores["acc1"].value
    overall = pd.read_csv(finished.folder / "overall.csv")
    assert (overall["low"] <= overall["value"]).all()
    assert (overall["value"] <= overall["high"]).all()


def test_its_accuracies_can_be_fitted(finished):
    names = finished.accuracies.table["concept"]
    counts = pd.DataFrame({"concept": names, "n_text": range(1, len(names) + 1)})
    curve = fit_curve(ConceptFrequencies(counts), finished.accuracies)
    assert curve.fits[0].usage.n_used == len(names)


def test_what_is_damaged_is_done_again_and_gives_the_same_bytes(finished, image_folder):
    folder = finished.folder
    before = {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    (folder / "accuracies.csv").unlink()
    shard = next(iter(sorted((folder / "guesses-lab").rglob("*.parquet"))))
    shard.write_bytes(b"damaged")
    evaluate(open_evaluation_set(image_folder), ["lab"], folder, workers=2)
    after = {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    assert after == before


def test_another_evaluation_is_not_mixed_in(finished, image_folder):
    other = open_evaluation_set(image_folder, templates=["{}"])
    with pytest.raises(ArtifactMismatchError, match="other inputs or settings"):
        evaluate(other, ["lab"], finished.folder, workers=1)
    evaluate(other, ["lab"], finished.folder, workers=1, overwrite=True)
    assert validate(finished.folder).faults == ()


def test_several_models_at_once(image_folder, tiny_clip, tmp_path):
    found = evaluate(
        open_evaluation_set(image_folder), ["lab", str(tiny_clip)], tmp_path / "run", workers=1
    )
    sizes = found.table.groupby("model").size().tolist()
    assert sizes[0] == sizes[1]
    assert found.table["model"].nunique() == 2
    assert len(list((tmp_path / "run" / "clip_benchmark").iterdir())) == 2


def test_a_model_twice_and_no_model(image_folder, tmp_path):
    opened = open_evaluation_set(image_folder)
    with pytest.raises(ConfigError, match="named once each"):
        evaluate(opened, ["lab", "lab"], tmp_path / "run")
    with pytest.raises(ConfigError, match="at least one model"):
        evaluate(opened, [], tmp_path / "run")


def test_a_line_break_in_a_caption_makes_no_second_caption(pictures, tmp_path):
    from conceptaudit.datasets import open_dataset
    from conceptaudit.zeroshot.retrieve import evaluate_retrieval

    captions = ["a dog\non grass", "a cat", "a tree"]
    images = [data for _, data in pictures[:3]]
    keys = ["a", "b", "c"]
    table = pd.DataFrame({"key": keys, "caption": captions, "jpg": images, "status": "success"})
    table.to_parquet(tmp_path / "00000.parquet")
    opened = open_dataset(tmp_path / "00000.parquet")
    found = evaluate_retrieval(
        opened, ["lab"], tmp_path / "run", options=RetrievalOptions(recall_at=[1]), workers=1
    )
    assert found.overall["n_queries"].tolist() == [3, 3]
