"""``fit`` and ``predict`` from the command line, on small tables."""

import json
from contextlib import contextmanager

import pandas as pd
import pytest
import typer
from typer.testing import CliRunner

from conceptaudit.cli.fit import fit
from conceptaudit.cli.predict import predict
from conceptaudit.curves import Curve
from conceptaudit.errors import ArtifactMismatchError, ConceptAuditError, DataError
from conceptaudit.report import curve_figures

app = typer.Typer(pretty_exceptions_enable=False, rich_markup_mode=None)
app.command("fit")(fit)
app.command("predict")(predict)


def run(*arguments):
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if isinstance(result.exception, ConceptAuditError):
        raise result.exception
    return result


@pytest.fixture
def tables(tmp_path, quick):
    names = [f"class {i}" for i in range(30)]
    counts = [10 ** (i % 5) - 1 for i in range(30)]
    pd.DataFrame({"concept": names, "n_text": counts}).to_csv(tmp_path / "counts.csv", index=False)
    pd.DataFrame(
        {
            "model": "RN50",
            "dataset": "zoo",
            "concept": [*names, "lost"],
            "n_correct": [10 + 10 * (i % 5) + i % 3 for i in range(31)],
            "n_images": 100,
        }
    ).to_csv(tmp_path / "accuracies.csv", index=False)
    return tmp_path


def test_fit_writes_its_folder_and_prints_a_table(tables):
    out = tables / "curve"
    result = run("fit", tables / "counts.csv", "-a", tables / "accuracies.csv", "-o", out)
    assert result.exit_code == 0
    assert sorted(path.name for path in out.iterdir()) == [
        "curve.json",
        "curve.png",
        "curve.svg",
        "datasets.csv",
        "fit.csv",
        "folded.csv",
        "manifest.json",
        "run.json",
        "unmatched.csv",
    ]
    for expected in ("slope per decade [90%]", "RN50/accuracy", "overdispersion", "1 concept"):
        assert expected in result.stdout
    assert "binned r" not in result.stdout
    written = pd.read_csv(out / "fit.csv")
    assert written["slope_per_decade"].iloc[0] == Curve.load(out).fits[0].line.slope
    assert pd.read_csv(out / "unmatched.csv")["concept"].tolist() == ["lost"]
    alone = pd.read_csv(out / "datasets.csv")
    assert alone["dataset"].tolist() == ["zoo"]
    assert alone["slope_low"].iloc[0] < alone["slope"].iloc[0] < alone["slope_high"].iloc[0]


def test_corrected_counts_are_fitted_drawn_and_predicted_from(tables):
    counts = pd.read_csv(tables / "counts.csv").rename(columns={"n_text": "n_image"})
    counts["n_image_corrected"] = counts["n_image"] * 1.5
    counts.to_csv(tables / "counts.csv", index=False)
    files = ("-a", tables / "accuracies.csv", "-o", tables / "curve", "--count", "image_corrected")
    result = run("fit", tables / "counts.csv", *files)
    assert result.exit_code == 0, result.exception
    assert "corrected for errors" in (tables / "curve" / "curve.svg").read_text()
    told = ("-f", tables / "counts.csv", "-o", tables / "p.csv")
    assert run("predict", tables / "curve", *told).exit_code == 0
    found = pd.read_csv(tables / "p.csv")
    assert found["count"].tolist() == counts["n_image_corrected"].tolist()


@pytest.fixture
def undrawn(monkeypatch):
    """Leave the figures empty: drawing them takes most of a fit's time."""
    monkeypatch.setattr(curve_figures, "draw_curve", lambda _, path: path.touch())


@pytest.mark.usefixtures("undrawn")
def test_fit_prints_json(tables):
    out = tables / "curve"
    result = run("fit", tables / "counts.csv", "-a", tables / "accuracies.csv", "-o", out, "--json")
    printed = json.loads(result.stdout)
    assert printed["models"][0]["n_used"] == 30
    assert printed["models"][0]["slope_between"] is None
    assert printed["n_unmatched"] == {"accuracies": 1}


@pytest.mark.usefixtures("undrawn")
def test_fit_compares_families_and_shows_bins_on_request(tables):
    out = tables / "curve"
    arguments = ["fit", tables / "counts.csv", "-a", tables / "accuracies.csv", "-o", out]
    result = run(*arguments, "--compare", "--binned")
    assert result.exit_code == 0
    for expected in ("binned r, shuffled", "held-out concepts", "cannot be told apart", "isotonic"):
        assert expected in result.stdout
    assert "partial-pooling" in pd.read_csv(out / "comparison.csv")["family"].tolist()
    printed = json.loads(run(*arguments, "--compare", "--json", "--overwrite").stdout)
    assert {row["held_out"] for row in printed["comparison"]} == {"concepts"}


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("family", ["saturating", "isotonic"])
def test_curves_that_are_not_straight_survive_their_file(family, tables):
    out = tables / "curve"
    run(
        "fit", tables / "counts.csv", "-a", tables / "accuracies.csv", "-o", out, "--family", family
    )
    curve = Curve.load(out)
    fit_ = curve.fits[0]
    assert fit_.line.method == "jackknife"
    assert fit_.line.band_low[0] <= fit_.line.band_mid[0] <= fit_.line.band_high[0]
    assert curve.fitted(fit_).parameters == fit_.parameters


@pytest.mark.usefixtures("undrawn")
def test_another_curve_is_replaced_only_on_request(tables):
    out = tables / "curve"
    call = ("fit", tables / "counts.csv", "-a", tables / "accuracies.csv", "-o", out)
    run(*call)
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    run(*call)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    other = (*call, "--zero-policy", "exclude")
    with pytest.raises(ArtifactMismatchError, match="--overwrite"):
        run(*other)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    (out / "thesis.docx").write_text("of the user")
    run(*other, "--overwrite")
    assert (out / "curve.json").read_bytes() != before["curve.json"]
    assert (out / "thesis.docx").read_text() == "of the user"
    with pytest.raises(ArtifactMismatchError, match="which this command reads"):
        run(*call[:-1], tables / "counts.csv")
    (tables / "file").touch()
    with pytest.raises(ArtifactMismatchError, match="is a file"):
        run(*call[:-1], tables / "file")


class Killed(BaseException):
    """What no code of ours catches, as a kill."""


def test_a_fit_killed_at_any_file_can_be_run_again(tables, monkeypatch):
    """One that was killed while it replaced a curve leaves no pair of files of two curves."""
    from conceptaudit.store import files

    monkeypatch.setattr(
        curve_figures, "draw_curve", lambda _, path: files.write_text(path, "drawn")
    )
    call = ("fit", tables / "counts.csv", "-a", tables / "accuracies.csv")
    other = ("--zero-policy", "exclude", "--overwrite")
    expected = {}
    for name, more in (("old", ()), ("new", other)):
        run(*call, "-o", tables / name, *more)
        expected[name] = {path.name: path.read_bytes() for path in (tables / name).iterdir()}
    whole = files.whole
    for last in range(1, 10):
        out, n = tables / f"curve{last}", 0
        run(*call, "-o", out)

        @contextmanager
        def killed(path, *, last=last, **options):
            nonlocal n
            n += 1
            if n == last:
                raise Killed
            with whole(path) as partial:
                yield partial

        with monkeypatch.context() as patch:
            patch.setattr(files, "whole", killed)
            patch.setattr("conceptaudit.curves.curve.whole", killed)
            with pytest.raises(Killed):
                run(*call, "-o", out, *other)
        with pytest.raises(DataError, match="not finished"):
            Curve.load(out)
        again = other if last == 1 else other[:2]
        run(*call, "-o", out, *again)
        left = {path.name: path.read_bytes() for path in out.iterdir()}
        assert left == expected["new"], last


@pytest.mark.usefixtures("undrawn")
def test_predict_writes_and_prints(tables):
    out = tables / "curve"
    run("fit", tables / "counts.csv", "-a", tables / "accuracies.csv", "-o", out)
    query = tables / "query.csv"
    query.write_text("concept,n_text\nyak,99\nemu,\n")
    result = run("predict", out, "-f", query, "-o", tables / "predictions.csv")
    assert "yak" in result.stdout
    assert "no prediction: the frequency is missing" in result.stdout
    written = pd.read_csv(tables / "predictions.csv")
    assert written["concept"].tolist() == ["yak", "emu"]
    assert written["accuracy"].isna().tolist() == [False, True]
    printed = json.loads(run("predict", out, "-f", query, "--json", "--model", "RN50").stdout)
    assert printed["predictions"][0]["accuracy"] == pytest.approx(written["accuracy"][0])
    assert printed["predictions"][1]["low"] is None


@pytest.mark.parametrize("verb", [fit, predict])
def test_every_option_has_help_and_the_verb_an_example(verb):
    command = typer.main.get_command(_app_of(verb))
    for parameter in command.params:
        if parameter.name != "help":
            assert parameter.help, parameter.name
    text = run(verb.__name__, "--help").stdout
    assert "\n  Example:\n    conceptaudit" in text


def _app_of(verb):
    single = typer.Typer(add_completion=False)
    single.command()(verb)
    return single
