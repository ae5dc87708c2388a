"""The page's figures as files, and what a notebook shows."""

from pathlib import Path

import pytest
from PIL import Image

from conceptaudit.cli.main import main
from conceptaudit.frequency.readers import read_frequencies
from conceptaudit.report.figures import plot_frequencies


def test_a_figure_has_the_width_that_was_asked_for(
    hostile: tuple[Path, Path], tmp_path: Path
) -> None:
    for ending in ("pdf", "svg", "png"):
        out = tmp_path / f"frequency.{ending}"
        assert main(["figure", str(hostile[1]), "-o", str(out), "--width", "84"]) == 0
    assert (tmp_path / "frequency.pdf").read_bytes().startswith(b"%PDF")
    assert "never" in (tmp_path / "frequency.svg").read_text()
    with Image.open(tmp_path / "frequency.png") as picture:
        assert picture.width == pytest.approx(84 / 25.4 * 200, abs=1)


def test_wrong_calls_say_what_there_is(hostile: tuple[Path, Path], tmp_path: Path, capsys) -> None:
    run, out = str(hostile[1]), str(tmp_path / "x.pdf")
    assert main(["figure", run, "-o", out, "-n", "nothing"]) == 2
    assert "there are frequency" in capsys.readouterr().err
    assert main(["figure", run, "-o", str(tmp_path / "x.docx")]) == 2
    assert main(["figure", str(tmp_path), "-o", out]) == 2
    assert not list(tmp_path.glob("x*"))


def test_a_notebook_shows_names_as_text(hostile: tuple[Path, Path]) -> None:
    page = read_frequencies(hostile[1])._repr_html_()
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert" in page
    assert plot_frequencies(hostile[1])._repr_svg_().lstrip().startswith("<?xml")
