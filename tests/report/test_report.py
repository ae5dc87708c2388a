"""The report: complete, safe whatever captions say, and the same bytes every time."""

import json
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from conceptaudit.auditing import AuditOptions, audit
from conceptaudit.curves import fit_curve
from conceptaudit.errors import ConfigError, DataError
from conceptaudit.progress import SilentProgress
from conceptaudit.records import ConceptAccuracies, ConceptFrequencies
from conceptaudit.report import write_report
from conceptaudit.report.inputs import read_predictions, read_run
from conceptaudit.report.samples import choose_samples
from conceptaudit.report.sections.overview import tail_share
from conceptaudit.report.sections.samples import bands

HOSTILE = "<script>alert(1)</script>"
VOID = {"meta", "img", "input", "br", "hr"}


class Elements(HTMLParser):
    """Collects elements, attributes and text, as a browser would."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.words: list[str] = []
        self.data: dict[str, str] = {}
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "script":
            identifier = self.elements[-1][1].get("id")
            if identifier:
                self.data[identifier] = self.data.get(identifier, "") + data
        elif self.open and self.open[-1] != "style":
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).replace("\u00a0", " ").split())

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture(scope="module")
def accuracies() -> ConceptAccuracies:
    names = ["dog", "cat", "bird", "zebra", *(f"filler {i:03d}" for i in range(30))]
    return ConceptAccuracies(
        pd.DataFrame(
            {
                "model": "tiny",
                "pretraining": "",
                "dataset": "zoo",
                "concept": names,
                "n_correct": pd.NA,
                "n_images": pd.NA,
                "accuracy": [0.9, 0.8, 0.7] + [0.01 * (i % 7) for i in range(31)],
                "metric": "acc1",
            }
        )
    )


def predictions() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "concept": ["dog", "cat", "bird", "zebra", HOSTILE],
            "accuracy": [0.8, 0.7, 0.4, 0.1, 0.1],
            "low": [0.7, 0.6, 0.3, 0.0, 0.0],
            "high": [0.95, 0.9, 0.5, 0.2, 0.2],
            "observed": [0.9, 0.8, 0.7, 0.02, 0.1],
            "held_out": [True, True, True, True, False],
            "level": 0.9,
        }
    )


@pytest.fixture(scope="module")
def page(
    hostile: tuple[Path, Path],
    accuracies: ConceptAccuracies,
    tmp_path_factory: pytest.TempPathFactory,
) -> str:
    dataset, run = hostile
    record = read_run(run)
    curve = fit_curve(record.frequencies, accuracies, count="n_text")
    out = tmp_path_factory.mktemp("report") / "report.html"
    inputs = {"run": run, "dataset": dataset, "curve": curve, "accuracies": accuracies}
    write_report(out, predictions=predictions(), title=f"{HOSTILE} & more", **inputs)
    first = out.read_bytes()
    write_report(out, predictions=predictions(), title=f"{HOSTILE} & more", **inputs)
    assert out.read_bytes() == first, "the same inputs must give the same bytes"
    return first.decode()


@pytest.fixture(scope="module")
def read(page: str) -> Elements:
    return Elements(page)


class TestThePage:
    def test_every_element_is_closed(self, read: Elements) -> None:
        assert read.open == []
        assert [a["id"] for a in read.of("section")] == [
            "overview", "frequencies", "concepts", "samples", "agreement", "accuracy",
            "longtail", "truth", "method",
        ]  # fmt: skip

    def test_nothing_is_fetched_and_nothing_hostile_is_an_element(self, read: Elements) -> None:
        [policy] = [a["content"] for a in read.of("meta") if a.get("http-equiv")]
        assert policy is not None
        assert policy.startswith("default-src 'none'; img-src data:;")
        for tag, attributes in read.elements:
            assert not [name for name in attributes if name.startswith("on")], tag
            for name in ("src", "href"):
                value = attributes.get(name) or "#"
                assert value.startswith(("#", "data:image/webp;base64,")), value
        kinds = [a.get("type") for a in read.of("script")]
        assert kinds.count(None) == 1
        assert set(kinds) == {None, "application/json"}
        assert not {"iframe", "object", "embed", "link", "base", "form action"} & {
            tag for tag, _ in read.elements
        }

    def test_hostile_text_is_shown_as_text(self, page: str, read: Elements) -> None:
        assert "<script>alert" not in page
        assert page.count("\u202e") == 0
        assert page.count("\u2028") == 0
        assert f"{HOSTILE} & more" in read.text
        assert f"{HOSTILE} a dog" in " ".join(str(a.get("alt")) for a in read.of("img"))
        names = json.loads(read.data["concept-data"])["names"]
        assert HOSTILE in names
        assert "\ufffdgod" in names

    def test_counts_account_and_alignment(self, read: Elements) -> None:
        text = read.text
        assert "We looked for 128 concepts in 7 captions and 8 images" in text
        data = json.loads(read.data["concept-data"])
        row = data["names"].index("dog")
        assert [side["n"][row] for side in data["sides"]] == [4, 3, 2]
        assert data["share"][row] == 0.5
        assert "dropped: the caption is empty 1" in text
        assert "of the 6 samples with a concept on both sides have none in common" in text
        assert "not calibrated" in text

    def test_pictures_are_small_and_captions_are_alt(self, read: Elements) -> None:
        pictures = read.of("img")
        assert pictures
        for attributes in pictures:
            assert str(attributes["src"]).startswith("data:image/webp;base64,")
            assert attributes["alt"]

    def test_accuracy_says_what_holds_and_what_does_not(self, read: Elements) -> None:
        text = read.text
        # bird was predicted 0.3 to 0.5 and is 0.7; the class that was not held out does not count
        assert "3 of 4 held-out classes lie inside their predicted interval: 75.0 %" in text
        assert "percentage points of accuracy (90 % interval" in text
        assert "31 of which were never counted" in text

    def test_what_was_not_given_is_said(self, read: Elements) -> None:
        assert "No long-tail set was given" in read.text
        assert "The true counts of this dataset are not known here" in read.text


def test_an_audit_alone(hostile: tuple[Path, Path], tmp_path: Path) -> None:
    read = Elements(write_report(tmp_path / "r.html", run=hostile[1]).read_text("utf-8"))
    assert read.of("img") == []
    assert "because the dataset was not given" in read.text
    assert "Neither a curve nor per-class accuracies were given" in read.text


def test_accuracies_without_a_curve(
    hostile: tuple[Path, Path], accuracies: ConceptAccuracies, tmp_path: Path
) -> None:
    out = write_report(tmp_path / "r.html", run=hostile[1], accuracies=accuracies)
    assert "No curve was given, so no line is drawn" in Elements(out.read_text("utf-8")).text


@pytest.fixture(scope="module")
def captions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("captions") / "captions.parquet"
    texts = [f"a {('dog', 'cat', 'bird')[i % 3]} number {i}" for i in range(60)]
    pd.DataFrame({"key": [str(i) for i in range(60)], "TEXT": texts}).to_parquet(path)
    return path


def test_captions_alone_and_any_sharding(captions: Path, tmp_path: Path) -> None:
    concepts = ["dog", "cat", "bird", "zebra"]
    chosen = []
    for name, options in (("whole", AuditOptions()), ("cut", AuditOptions(shard_rows=7))):
        run = audit(captions, concepts, tmp_path / name, options=options)
        record = read_run(run.folder)
        choice = choose_samples(record, (0, 1, 3), seed=4, progress=SilentProgress())
        chosen.append({c: [one.sample_id for one in s] for c, s in choice.by_concept.items()})
    assert chosen[0] == chosen[1]
    assert {c: len(samples) for c, samples in chosen[0].items()} == {0: 6, 1: 6}
    out = write_report(tmp_path / "r.html", run=tmp_path / "cut", dataset=captions)
    read = Elements(out.read_text("utf-8"))
    assert "captions stand alone" in read.text
    assert "counted one side only" in read.text
    assert "a dog number" in read.text


def test_another_dataset_is_refused(captions: Path, tmp_path: Path) -> None:
    audit(captions, ["dog", "cat"], tmp_path / "run")
    other = tmp_path / "other.parquet"
    table = pd.read_parquet(captions)
    table.assign(key=[f"x{i}" for i in range(len(table))]).to_parquet(other)
    with pytest.raises(DataError, match="must be the dataset that was audited"):
        write_report(tmp_path / "r.html", run=tmp_path / "run", dataset=other)
    table.head(1).to_parquet(other)
    with pytest.raises(DataError, match="is not there"):
        write_report(tmp_path / "r.html", run=tmp_path / "run", dataset=other)
    assert not (tmp_path / "r.html").exists()


def test_a_folder_that_is_no_audit(tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    with pytest.raises(ConfigError, match=r"has no manifest\.json"):
        write_report(tmp_path / "r.html", run=run)
    (run / "manifest.json").write_text('{"kind": "longtail"}')
    with pytest.raises(ConfigError, match="of another kind"):
        write_report(tmp_path / "r.html", run=run)


def test_predictions_that_cannot_be_used(tmp_path: Path) -> None:
    path = tmp_path / "p.csv"
    path.write_text("concept,accuracy\ndog,0.5\n")
    with pytest.raises(DataError, match=r"Missing: \['low', 'high'\]"):
        read_predictions(path)
    path.write_text("concept,accuracy,low,high\ndog,50,0,1\n")
    with pytest.raises(DataError, match="accuracy must lie in"):
        read_predictions(path)
    path.write_text("concept,accuracy,low,high,held_out\nNA,0.5,0,1,True\nnull,,,,False\n")
    table = read_predictions(path)
    assert table["concept"].tolist() == ["NA", "null"]
    assert table["held_out"].tolist() == [True, False]


@pytest.mark.parametrize(
    ("counts", "held", "share"),
    [([90, 9, 1, 0], 0.10, 0.75), ([90, 9, 1, 0], 0.01, 0.5), ([5, 5], 0.1, 0.0), ([0, 0], 0.1, 1)],
)
def test_tail_share(counts: list[int], held: float, share: float) -> None:
    assert tail_share(np.array(counts), held) == share


@pytest.mark.parametrize("n_found", range(20))
def test_bands_are_disjoint_and_ordered(n_found: int, hostile: tuple[Path, Path]) -> None:
    from dataclasses import replace

    counts = [n_found - i if i < n_found else 0 for i in range(30)]
    table = pd.DataFrame({"concept": [str(i) for i in range(30)], "n_text": counts})
    run = replace(read_run(hostile[1]), frequencies=ConceptFrequencies(table))
    chosen = [concept for band in bands(run) for concept in band]
    assert chosen == sorted(set(chosen))
    assert len(chosen) == min(n_found, 12)
    assert all(concept < n_found for concept in chosen)
