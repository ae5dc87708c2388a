"""The report of an audit of embeddings shows the images that were embedded."""

import json
from pathlib import Path

import pytest

from conceptaudit.auditing import AuditOptions, audit
from conceptaudit.cli.main import main
from conceptaudit.errors import DataError
from conceptaudit.records import Concept, ConceptVocabulary
from conceptaudit.report import write_report

CONCEPTS = ConceptVocabulary((Concept(name="man"), Concept(name="woman"), Concept(name="dog")))


@pytest.fixture(scope="module")
def embedded(realdata: Path, tiny_clip: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("embedded")
    photos = realdata / "photos" / "coco-mini"
    assert main(["embed", str(photos), "--clip", str(tiny_clip), "-o", str(folder / "emb")]) == 0
    audit(
        folder / "emb",
        CONCEPTS,
        folder / "run",
        options=AuditOptions(clip=str(tiny_clip), threshold=-1.0),
    )
    return folder


def test_images_are_found_by_key_and_shown_once(
    embedded: Path, realdata: Path, tmp_path: Path
) -> None:
    photos = realdata / "photos" / "coco-mini"
    out = write_report(tmp_path / "r.html", run=embedded / "run", dataset=photos)
    page = out.read_text("utf-8")
    strips = page.split('class="strip"')[1:]
    assert len(strips) == len(CONCEPTS)
    for strip in strips:
        shown = [part.split('"')[0] for part in strip.split("</ul>")[0].split('src="')[1:]]
        assert len(shown) > 1
        assert len(set(shown)) == len(shown)
    bare = write_report(tmp_path / "e.html", run=embedded / "run", dataset=embedded / "emb")
    assert "This dataset has no images here" in bare.read_text("utf-8")


def test_foreign_images_are_refused(embedded: Path, tmp_path: Path) -> None:
    from PIL import Image

    (tmp_path / "other").mkdir()
    Image.new("RGB", (40, 40)).save(tmp_path / "other" / "x.png")
    (tmp_path / "other" / "x.txt").write_text("a dog")
    with pytest.raises(DataError, match="none of the audit's keys"):
        write_report(tmp_path / "r.html", run=embedded / "run", dataset=tmp_path / "other")
    assert json.loads((embedded / "run" / "manifest.json").read_text())["kind"] == "audit"
