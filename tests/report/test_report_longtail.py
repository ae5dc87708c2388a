"""The report's part on a long-tail set, and the command that writes the report."""

import io
import json
from pathlib import Path

import pandas as pd
import pytest
import typer
from PIL import Image

from conceptaudit.cli.report import report as report_verb
from conceptaudit.errors import DataError
from conceptaudit.longtail import read_long_tail
from conceptaudit.report import write_report
from conceptaudit.report.pictures import PictureBudget
from conceptaudit.report.truth import TruthComparison, tail_truth


def png(size: tuple[int, int] = (64, 48)) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", size, (10, 200, 90)).save(stream, "PNG")
    return stream.getvalue()


@pytest.fixture
def tail(tmp_path: Path) -> Path:
    """A set as `conceptaudit longtail` leaves it, with a row that points out of its folder."""
    folder = tmp_path / "tail"
    (folder / "images" / "yak").mkdir(parents=True)
    (folder / "images" / "yak" / "0001_a.png").write_bytes(png())
    (folder / "images" / "yak" / "0002_b.png").write_bytes(b"this is no picture")
    (tmp_path / "secret.png").write_bytes(png())

    def one(name: str, index: int | None, n_missing: int) -> dict[str, object]:
        counts = {"n_text": 1, "n_image": None, "n_joint": None}
        return {"concept": name, "class_index": index, "included": index is not None,
                "n_images": 2, "n_missing": n_missing, **counts}  # fmt: skip

    classes = [one("<b>yak</b>", 0, 3), one("gnu", None, 5)]
    manifest = {
        "kind": "longtail",
        "classes": classes,
        "n_classes": 1,
        "n_images": 2,
        "removed": {"near_phash": 4, "broken_image": 1},
        "notes": ["judge & trust"],
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))
    pd.DataFrame(classes).to_csv(folder / "classes.csv", index=False)
    files = ["images/yak/0001_a.png", "../secret.png", "images/yak/0002_b.png"]
    rows = {"file": files, "concept": "yak", "class_index": 0, "rank": [1, 2, 3], "caption": "yak!"}
    pd.DataFrame(rows).to_csv(folder / "manifest.csv", index=False)
    pd.DataFrame({"key": [], "reason": []}).to_csv(folder / "removed.csv", index=False)
    return folder


def test_the_set_is_shown_and_nothing_outside_it(
    tail: Path, hostile: tuple[Path, Path], tmp_path: Path
) -> None:
    page = write_report(tmp_path / "r.html", run=hostile[1], longtail=tail).read_text("utf-8")
    assert "&lt;b&gt;yak&lt;/b&gt;" in page
    assert "judge &amp; trust" in page
    assert "1 class is short of images" in page
    assert "Left out for lack of images: gnu." in page
    assert "the image cannot be decoded" in page
    assert page.count("<img ") == 1
    assert 'alt="yak!"' in page


def test_pictures_stop_at_the_budget() -> None:
    one = PictureBudget().thumbnail(png())
    assert one is not None
    budget = PictureBudget(limit=2 * len(one))
    made = [budget.thumbnail(png()) for _ in range(4)]
    assert made == [one, one, None, None]
    assert budget.n_refused == 2
    assert budget.thumbnail(b"no picture") is None
    assert budget.n_refused == 2


def test_the_command(
    hostile: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    app = typer.Typer()
    app.command("report")(report_verb)
    out = tmp_path / "r.html"
    app([str(hostile[1]), "-o", str(out), "--json"], standalone_mode=False)
    told = json.loads(capsys.readouterr().out)
    assert told == {"report": str(out), "bytes": out.stat().st_size}
    app([str(hostile[1]), "-o", str(out)], standalone_mode=False)
    assert "open it in any browser" in capsys.readouterr().out


def test_purity_and_rarity_are_said_where_they_are_known(tail: Path, tmp_path: Path) -> None:
    rows = pd.read_csv(tail / "manifest.csv").assign(key=["00", "01", "02"])
    rows.to_csv(tail / "manifest.csv", index=False)
    manifest = json.loads((tail / "manifest.json").read_text())
    assert tail_truth(read_long_tail(tail), pool_truth=None, measured=None) == ()

    manifest["classes"][0] |= {"purity": 0.5, "n_judged": 4, "n_right": 2}
    manifest["captions"] = {"n_captioned": 4, "n_named": 3}
    (tail / "manifest.json").write_text(json.dumps(manifest))
    truth = pd.DataFrame({"key": ["00", "01", "02"], "image": [["yak"], [], ["yak", "gnu"]]})
    truth.to_parquet(tmp_path / "truth.parquet")
    true = pd.DataFrame({"concept": ["<b>yak</b>", "gnu", "dog"], "true": [1, 3, 40]})
    measured = (TruthComparison(column="n_joint", table=true.assign(counted=0), tags=None),)
    said = tail_truth(
        read_long_tail(tail), pool_truth=tmp_path / "truth.parquet", measured=measured
    )
    pool, judged, captions, rarity = (line.replace("\u00a0", " ") for line in said)
    assert "2 of 3 images show their class (66.7 %" in pool
    assert "50.0 % in the mean over 1 class" in judged
    assert "captions of 75.0 % of its images" in captions
    assert "occur 2.0 times in the median" in rarity
    assert "all audited concepts 3.0 times" in rarity

    truth.iloc[:2].to_parquet(tmp_path / "other.parquet")
    with pytest.raises(DataError, match="--pool-truth must be the truth of the pool"):
        tail_truth(read_long_tail(tail), pool_truth=tmp_path / "other.parquet", measured=None)
