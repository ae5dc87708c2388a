"""Samples of an audit for viewers: what was found in each, and where its image is."""

from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

import conceptaudit as ca
from conceptaudit.errors import ConfigError, MissingDependencyError

CAPTIONS = {"zoo/a": "a dog and a cat", "zoo/b": "two cats", "c": "nothing of it"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("photos")
    for key, caption in CAPTIONS.items():
        path = place / "photos" / f"{key}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8)).save(path)
        path.with_suffix(".txt").write_text(caption, encoding="utf-8")
    return place


@pytest.fixture(scope="module")
def run(folder: Path) -> "ca.AuditRun":
    return ca.audit(
        folder / "photos", ["cat", "dog"], folder / "run", options=ca.AuditOptions(engine="serial")
    )


def test_what_was_found_in_each_sample(run, folder):
    table = run.samples(folder / "photos")
    found = {Path(row["file"]).name: set(row["text"]) for row in table.to_dict("records")}
    assert found == {"a.jpg": {"dog", "cat"}, "b.jpg": {"cat"}}
    assert "image" not in table
    counted = table["text"].explode().value_counts()
    assert counted.to_dict() == dict(zip(run.table["concept"], run.table["n_text"], strict=True))


def test_the_parquet_that_spotlight_opens(run, folder, tmp_path):
    path = tmp_path / "samples.parquet"
    run.samples(folder / "photos").to_parquet(path)
    schema = pq.read_schema(path)
    kind = schema.field("text").type
    assert pa.types.is_list(kind) or pa.types.is_large_list(kind)
    assert all(Path(one).is_file() for one in pd.read_parquet(path)["file"])


def test_images_that_are_not_there(run, folder, tmp_path):
    assert (run.samples(tmp_path)["file"] == "").all()
    with pytest.raises(ConfigError, match="must be a folder"):
        run.samples(tmp_path / "none")


def test_fiftyone(run, folder, tmp_path):
    try:
        import fiftyone  # noqa: F401
    except ImportError:
        with pytest.raises(MissingDependencyError, match="pip install fiftyone"):
            run.to_fiftyone(folder / "photos")
        return
    with pytest.raises(ConfigError, match="No image"):
        run.to_fiftyone(tmp_path)
    dataset = run.to_fiftyone(folder / "photos")
    labels = {
        Path(s.filepath).name: {c.label for c in s.concepts_text.classifications} for s in dataset
    }
    assert labels == {"a.jpg": {"dog", "cat"}, "b.jpg": {"cat"}}
