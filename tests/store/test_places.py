"""Where results may be written: on this machine, and nowhere that the command reads."""

from __future__ import annotations

from pathlib import Path

import pytest

from conceptaudit.errors import ArtifactMismatchError, ConfigError
from conceptaudit.store.places import check_apart, output_path


@pytest.mark.parametrize(
    "url", ["s3://bucket/run", "gs://b/r", "hf://datasets/me/x", "https://a/b", "file:///tmp/x"]
)
@pytest.mark.parametrize("kind", [str, Path])
def test_urls_are_refused(url: str, kind: type) -> None:
    with pytest.raises(ConfigError, match="written to a file system"):
        output_path(kind(url))


def test_home_is_written_out() -> None:
    assert output_path("~/runs") == Path.home() / "runs"
    assert output_path("~") == Path.home()
    with pytest.raises(ConfigError, match="home"):
        output_path("~no-such-user/runs")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("data/images", "runs", "data-old"):
        (tmp_path / name).mkdir(parents=True)
    for name in ("data/00000.tar", "data/00001.tar", "data.parquet"):
        (tmp_path / name).touch()
    (tmp_path / "link").symlink_to("data")
    return tmp_path


OVERLAPS = [
    ("data", "data"),
    ("data/", "data"),
    ("link", "data"),
    ("data", "link/images"),
    ("data/run", "data"),
    ("link/run", "data"),
    (".", "data.parquet"),
    ("data.parquet", "data.parquet"),
    ("data", "data/*.tar"),
    ("data", "data/{00000..00001}.tar"),
    ("data/images/run", "data/*"),
    ("data/images", "data/{images,captions}"),
    ("data/00000.tar", "data/*.tar"),
    ("runs/new", "."),
]
APART = [
    ("runs/new", "data"),
    ("data-new", "data"),
    ("data-old", "data"),
    ("data/run", "data/00000.tar"),
    ("data/run", "data/*.tar"),
    ("data/run", "data/{00000..00001}.tar"),
    ("runs", "data.parquet"),
    ("runs", "s3://bucket/runs"),
    (".", "ViT-B-32/openai"),
    ("data/new", "data/{images,captions}"),
]


@pytest.mark.parametrize(("out", "source"), OVERLAPS)
def test_outputs_that_overlap_with_inputs_are_refused(here: Path, out: str, source: str) -> None:
    with pytest.raises(ArtifactMismatchError, match="Nothing was written") as error:
        check_apart([None, out], ["elsewhere", None, source])
    assert "--overwrite" not in str(error.value)
    with pytest.raises(ArtifactMismatchError):
        check_apart([here / out], [source])


@pytest.mark.parametrize(("out", "source"), APART)
def test_outputs_apart_from_inputs_pass(here: Path, out: str, source: str) -> None:
    check_apart([out], [source])
