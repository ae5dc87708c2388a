"""What another package adds works as our own does, in Python and on the command line."""

import importlib.metadata
import json
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from conceptaudit import AuditOptions, ConceptVocabulary, ConfigError, DataError, audit
from conceptaudit.auditing import audit_part, merge_audit
from conceptaudit.cli.main import main
from conceptaudit.curves.families import known_families
from conceptaudit.datasets.registry import known_layouts
from conceptaudit.engine.array_tasks import Part
from conceptaudit.records import Concept

EXTENSION = Path(__file__).parent / "extension"
SERIAL = AuditOptions(engine="serial")


@pytest.fixture(autouse=True)
def installed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.syspath_prepend(EXTENSION)
    monkeypatch.setenv("PYTHONPATH", str(EXTENSION))
    for known in (known_layouts, known_families):
        known.cache_clear()
    yield
    for known in (known_layouts, known_families):
        known.cache_clear()


@pytest.fixture
def films(tmp_path: Path) -> Path:
    folder = tmp_path / "films"
    folder.mkdir()
    for name, texts in {"a": ["A dog barks", "red dogs"], "b": ["the dog sees the dog"]}.items():
        blocks = [f"{i}\n0:00 --> 0:01\n{text}\n" for i, text in enumerate(texts)]
        (folder / f"{name}.srt").write_text("\n".join(blocks))
    return folder


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    for name, colour in {"0": "red", "1": "red", "2": "blue"}.items():
        Image.new("RGB", (8, 8), colour).save(folder / f"{name}.png")
        (folder / f"{name}.txt").write_text("a red dog")
    (folder / "3.png").write_bytes(b"no image")
    (folder / "3.txt").write_text("a red dog")
    return folder


def counts(table: pd.DataFrame, column: str) -> dict[str, int]:
    return dict(zip(table["concept"], table[column].tolist(), strict=True))


def test_a_layout_is_found_and_audited(films: Path, tmp_path: Path):
    run = audit(films, ["dog", "cat"], tmp_path / "run", options=SERIAL)
    assert counts(run.table, "n_text") == {"dog": 3, "cat": 0}


def test_a_tagger_replaces_ours_by_name(films: Path, tmp_path: Path):
    arguments = ["audit", str(films), "-c", "words.txt", "-o", str(tmp_path / "run")]
    (tmp_path / "words.txt").write_text("dog\nbarks\n")
    arguments[3] = str(tmp_path / "words.txt")
    assert main([*arguments, "--tagger", "words", "--workers", "1"]) == 0
    table = pd.read_csv(tmp_path / "run/frequencies.csv")
    assert counts(table, "n_text") == {"dog": 2, "barks": 1}
    manifest = json.loads((tmp_path / "run/manifest.json").read_text())
    assert manifest["settings"][0]["tagger"] == "words"


def test_a_tagger_of_images_counts_beside_our_own_captions(images: Path, tmp_path: Path):
    from conceptaudit_example import ColourTagger  # type: ignore[import-not-found]

    words = ConceptVocabulary((Concept(name="red"), Concept(name="sky", aliases=("blue",))))
    options = AuditOptions(engine="serial", pos="any")
    run = audit(images, words, tmp_path / "run", options=options, taggers=[ColourTagger(words)])
    assert counts(run.table, "n_image") == {"red": 2, "sky": 1}
    assert counts(run.table, "n_joint") == {"red": 2, "sky": 0}
    assert run.account["image"]["dropped"] == {"image:not_an_image": 1}


def test_parts_of_a_tagged_audit_merge(films: Path, tmp_path: Path):
    options = AuditOptions(engine="serial", taggers=("words",))
    for index in range(2):
        audit_part(films, ["dog"], tmp_path / "run", Part(index=index, count=2), options=options)
    assert counts(merge_audit(tmp_path / "run").table, "n_text") == {"dog": 2}


class _Faulty:
    """Its table, side and needs are what a test makes them."""

    settings = None

    def __init__(self, table: pd.DataFrame, side: str = "text", reads: str = "caption") -> None:
        self.table, self.side, self.reads = table, side, frozenset({reads})

    def tag(self, _: object) -> pd.DataFrame:
        return self.table


NO_TAGS = pd.DataFrame({"row": [], "concept": []})


@pytest.mark.parametrize(
    ("tagger", "error", "message"),
    [
        ("nothing", ConfigError, "installed are: colours, words"),
        (object(), ConfigError, "must have 'side'"),
        (_Faulty(NO_TAGS, side="sound"), ConfigError, "must have 'side'"),
        (_Faulty(NO_TAGS, reads="image"), ConfigError, "reads image, which .* does not have"),
        (_Faulty(pd.DataFrame({"row": [0]})), DataError, "with 'row' and 'concept'"),
        (
            _Faulty(pd.DataFrame({"row": [9], "concept": ["dog"]})),
            DataError,
            r"rows of the batch, in \[0, 1\)",
        ),
    ],
)
def test_a_tagger_that_cannot_be_used_is_refused(tagger, error, message, tmp_path: Path):
    with pytest.raises(error, match=message):
        audit(["a dog"], ["dog"], tmp_path / "run", options=SERIAL, taggers=[tagger])


def test_two_taggers_of_one_side_are_refused(tmp_path: Path):
    with pytest.raises(ConfigError, match="Two taggers tag texts"):
        audit(["a dog"], ["dog"], tmp_path / "run", taggers=["words", _Faulty(NO_TAGS)])


def test_a_family_fits_predicts_and_is_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    names = [f"class {i}" for i in range(40)]
    counted = pd.DataFrame({"concept": names, "n_text": [10 ** (i % 4) for i in range(40)]})
    counted.to_csv(tmp_path / "counts.csv", index=False)
    accuracy = [0.2 + 0.5 * (i % 4 > 1) for i in range(40)]
    scores = pd.DataFrame({"concept": names, "accuracy": accuracy, "model": "m", "dataset": "zoo"})
    scores.to_csv(tmp_path / "a.csv", index=False)
    command = ["fit", str(tmp_path / "counts.csv"), "-a", str(tmp_path / "a.csv"), "--compare"]
    assert main([*command, "--family", "medians", "-o", str(tmp_path / "curve")]) == 0
    assert "medians" in capsys.readouterr().out
    command = ["predict", str(tmp_path / "curve"), "-f", str(tmp_path / "counts.csv")]
    assert main([*command, "-o", str(tmp_path / "out.csv")]) == 0
    assert pd.read_csv(tmp_path / "out.csv")["accuracy"].round(6).tolist() == accuracy


def test_what_is_no_layout_is_refused(monkeypatch: pytest.MonkeyPatch):
    point = importlib.metadata.EntryPoint("broken", "json:dumps", "conceptaudit.layouts")
    monkeypatch.setattr("conceptaudit.plugins.entry_points", lambda **_: [point])
    with pytest.raises(ConfigError, match="must name a Layout"):
        known_layouts()


def test_an_iterator_of_captions_is_audited(tmp_path: Path):
    captions = (f"a {name}" for name in ("dog", "cat", "dog"))
    run = audit(captions, ["dog"], tmp_path / "run", options=SERIAL)
    assert counts(run.table, "n_text") == {"dog": 2}
