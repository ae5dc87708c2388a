"""The report's comparison of the tail with what had been predicted for it."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from conceptaudit.cli.main import main
from conceptaudit.curves import fit_curve
from conceptaudit.curves.simulated import World, simulate
from conceptaudit.errors import ConfigError, DataError
from conceptaudit.records import ConceptAccuracies, ConceptFrequencies
from conceptaudit.report import write_report
from conceptaudit.report.formatting import slope_per_decade
from conceptaudit.report.inputs import read_run
from conceptaudit.report.prediction_check_chart import MOST_CLASSES, prediction_check_chart
from conceptaudit.report.sections.prediction_check import interval_warning, measured_interval

from .conftest import HOSTILE
from .test_report import Elements

NAMES = ["dog", "cat", "bird", "zebra", *(f"filler {i:03d}" for i in range(30))]


def scores(dataset: str, names: list[str]) -> pd.DataFrame:
    right = [(7 * i + len(dataset)) % 9 for i in range(len(names))]
    return pd.DataFrame(
        {
            "model": "tiny",
            "pretraining": "",
            "dataset": dataset,
            "concept": names,
            "n_correct": right,
            "n_images": 8,
            "accuracy": np.array(right) / 8,
            "metric": "accuracy",
        }
    )


@pytest.fixture(scope="module")
def files(hostile: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("loop")
    counts = read_run(hostile[1]).frequencies
    zoo, tail = scores("zoo", NAMES), scores("tail", ["dog", "cat", "zebra", HOSTILE])
    curve = fit_curve(counts, ConceptAccuracies(zoo), count="n_text")
    curve.save(folder / "before" / "curve.json")
    both = ConceptAccuracies(pd.concat([zoo, tail], ignore_index=True))
    fit_curve(counts, both, count="n_text").save(folder / "after" / "curve.json")
    (folder / "results").mkdir()
    tail.to_csv(folder / "results" / "accuracies.csv", index=False)
    return {"folder": folder, "run": hostile[1], "results": folder / "results"}


def test_the_page_shows_what_was_predicted_and_what_came_out(files, tmp_path) -> None:
    out = tmp_path / "r.html"
    command = ["report", str(files["run"]), "-o", str(out), "--json"]
    command += ["--curve", str(files["folder"] / "before"), "--tail-results", str(files["results"])]
    assert main(command) == 0
    page = out.read_text("utf-8")
    read = Elements(page)
    assert read.open == []
    assert "Predicted before, measured on the tail" in read.text
    digest = json.loads((files["folder"] / "before" / "curve.json").read_text())["digest"]
    assert digest[:16] in read.text
    assert "of 4 classes came out inside" in read.text
    assert "3 classes of the tail had been in the fit" in read.text
    assert "With the tail added to the fit it is" in read.text
    assert "as many images per class (in the median 8 here, 8 in the fit)" in read.text
    assert "<script>alert" not in page
    assert any(HOSTILE in text for _, _, text, _ in json.loads(read.data["predicted-0-points"]))
    write_report(
        tmp_path / "again.html",
        run=files["run"],
        curve=files["folder"] / "before",
        tail_results=files["results"],
    )
    assert (tmp_path / "again.html").read_text("utf-8") == page


def test_a_curve_that_peeked_and_no_curve(files, tmp_path, capsys) -> None:
    command = ["report", str(files["run"]), "-o", str(tmp_path / "r.html")]
    command += ["--tail-results", str(files["results"])]
    assert main([*command, "--curve", str(files["folder"] / "after")]) == 2
    assert "was fitted with the results on 'tail'" in capsys.readouterr().err
    assert not (tmp_path / "r.html").exists()
    with pytest.raises(ConfigError, match="needs 'curve'"):
        write_report(tmp_path / "r.html", run=files["run"], tail_results=files["results"])
    with pytest.raises(DataError, match="no accuracy file"):
        write_report(
            tmp_path / "r.html",
            run=files["run"],
            curve=files["folder"] / "before",
            tail_results=tmp_path / "none",
        )


def test_many_classes_are_drawn_evenly_and_unknown_numbers_of_images() -> None:
    n = 3 * MOST_CLASSES
    table = pd.DataFrame(
        {
            "concept": [f"c{i}" for i in range(n)], "count": np.arange(n, dtype=float),
            "predicted": 0.4, "low": 0.2, "high": 0.6, "measured": 0.5, "n_images": np.nan,
            "measured_low": np.nan, "measured_high": np.nan, "inside": True,
        }
    )  # fmt: skip
    drawn = str(prediction_check_chart("x", table, level=0.9))
    assert f"{MOST_CLASSES} of {n} classes are drawn" in drawn
    assert "c0\\n0 samples" in drawn
    assert f"c{n - 1}\\n{n - 1} samples" in drawn
    assert all(np.isnan(measured_interval({"measured": 0.5, "n_images": np.nan}, 0.9)))
    low, high = measured_interval({"measured": 0.5, "n_images": 8.0}, 0.9)
    assert 0.2 < low < 0.5 < high < 0.8


def test_a_dataset_of_another_layout_is_told(files, hostile, tmp_path, capsys) -> None:
    (tmp_path / "captions.csv").write_text("caption,url\na dog,http://a.invalid/1.jpg\n")
    command = ["report", str(files["run"]), "-o", str(tmp_path / "r.html")]
    assert main([*command, "--dataset", str(tmp_path / "captions.csv")]) == 2
    error = capsys.readouterr().err
    assert "must be the dataset that" in error
    assert "nothing of its layout (webdataset) lies" in error


@pytest.mark.parametrize(("n_datasets", "warned"), [(2, True), (12, False)])
def test_an_interval_over_few_datasets_is_called_one(n_datasets, warned) -> None:
    table = simulate(World(n_datasets=n_datasets, count_error=0.0), seed=1)
    counts = table[["dataset", "concept", "count"]].rename(columns={"count": "n_text"})
    accuracies = table.assign(model="m", pretraining="", metric="accuracy")
    curve = fit_curve(ConceptFrequencies(counts), ConceptAccuracies(accuracies), family="loglinear")
    line = curve.fits[0].line
    assert "two datasets happen to agree" in interval_warning(replace(line, df=2.5))
    assert ("no interval" in slope_per_decade(line)) == warned


def test_names_are_written_where_columns_are_wide_enough() -> None:
    def chart(n: int) -> str:
        table = pd.DataFrame(
            {
                "concept": [f"c{i}" for i in range(n)], "count": 1.0,
                "predicted": 0.4, "low": 0.2, "high": 0.6, "measured": 0.5, "n_images": 4.0,
                "measured_low": 0.3, "measured_high": 0.7, "inside": True,
            }
        )  # fmt: skip
        return str(prediction_check_chart("x", table, level=0.9))

    assert chart(20).count("column-name") == 2 * 20
    assert chart(40).count("column-name") == 40
    assert chart(60).count("column-name") == 0
