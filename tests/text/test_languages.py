"""Languages filtered and counted apart, and pipelines of other languages than English."""

import json
from pathlib import Path

import pandas as pd
import pytest

from conceptaudit.auditing import AuditOptions, audit
from conceptaudit.cli.main import main
from conceptaudit.datasets import CAPTION, LANGUAGE, open_dataset
from conceptaudit.errors import ConfigError

ROWS = [
    ("a dog and a cat", "en"),
    ("two dogs", "EN"),
    ("ein Hund und eine Katze", "de"),
    ("Hunde", "de"),
    ("a dog", None),
    ("dog", "zh_CN"),
    (None, "de"),
]
CONCEPTS = ["dog", "cat", "Hund"]


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    path = tmp_path / "laion.parquet"
    table = pd.DataFrame(ROWS, columns=["TEXT", "LANGUAGE"])
    table.insert(0, "URL", [f"http://a/{i}.jpg" for i in range(len(table))])
    table.to_parquet(path)
    return path


def test_one_language_is_counted_and_the_others_are_dropped(corpus: Path, tmp_path: Path) -> None:
    run = audit(corpus, CONCEPTS, tmp_path / "run", options=AuditOptions(languages=("en",)))
    assert run.table["n_text"].tolist() == [2, 1, 0]
    assert run.account["text"] == {
        "n_samples": 7,
        "n_used": 2,
        "dropped": {
            "sample:language_de": 3,
            "sample:language_unknown": 1,
            "sample:language_zh_cn": 1,
        },
        "noted": {},
    }


def test_several_languages(corpus: Path, tmp_path: Path) -> None:
    options = AuditOptions(languages=("en", "ZH-cn"))
    run = audit(corpus, CONCEPTS, tmp_path / "run", options=options)
    assert run.table["n_text"].tolist() == [3, 1, 0]


@pytest.mark.parametrize("shard_rows", [2, 100])
def test_languages_counted_apart_add_up(corpus: Path, tmp_path: Path, shard_rows: int) -> None:
    options = AuditOptions(by_language=True, shard_rows=shard_rows)
    run = audit(corpus, CONCEPTS, tmp_path / "run", options=options)
    table = pd.read_parquet(tmp_path / "run/frequencies_by_language.parquet")
    counted = table.set_index(["language", "concept"])["n_text"]
    assert counted.astype(int).to_dict() == {
        ("de", "Hund"): 1,
        ("en", "dog"): 2,
        ("en", "cat"): 1,
        ("unknown", "dog"): 1,
        ("zh-cn", "dog"): 1,
    }
    summed = table.groupby("concept")["n_text"].sum()
    whole = run.table.set_index("concept")["n_text"]
    assert whole[whole > 0].to_dict() == summed.to_dict()
    told = json.loads((tmp_path / "run/languages.json").read_text())
    assert {code: n["n_samples"] for code, n in told.items()} == {
        "de": 3,
        "en": 2,
        "unknown": 1,
        "zh-cn": 1,
    }


def test_counts_apart_do_not_outlive_the_option(corpus: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    audit(corpus, CONCEPTS, out, options=AuditOptions(by_language=True))
    audit(corpus, CONCEPTS, out)
    assert not (out / "frequencies_by_language.parquet").exists()
    assert not (out / "languages.json").exists()


def test_a_table_without_languages_is_told(tmp_path: Path) -> None:
    path = tmp_path / "captions.csv"
    path.write_text("caption,tongue\na dog,en\nein Hund,de\n")
    with pytest.raises(ConfigError, match="language_column"):
        audit(path, ["dog"], tmp_path / "run", options=AuditOptions(languages=("en",)))
    with pytest.raises(ConfigError, match="language_column"):
        audit(path, ["dog"], tmp_path / "run", options=AuditOptions(by_language=True))
    named = AuditOptions(languages=("de",), language_column="tongue", pos="any")
    run = audit(path, ["Hund", "dog"], tmp_path / "run", options=named)
    assert run.table["n_text"].tolist() == [1, 0]


def test_other_layouts_have_no_languages(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a dog")
    with pytest.raises(ConfigError, match="'languages' parameter of open_dataset must be None"):
        open_dataset(tmp_path, languages=("en",))
    (tmp_path / "t.csv").write_text("caption\na\n")
    with pytest.raises(ConfigError, match="must hold language codes"):
        open_dataset(tmp_path / "t.csv", languages=(" ",))


def test_a_batch_carries_its_languages(corpus: Path) -> None:
    dataset = open_dataset(corpus)
    (batch,) = dataset.read(dataset.shards()[0], frozenset({CAPTION, LANGUAGE}))
    assert batch.languages == ["en", "en", "de", "de", "unknown", "zh-cn", "de"]
    (batch,) = dataset.read(dataset.shards()[0], frozenset({CAPTION}))
    assert batch.languages is None


def test_strange_codes_are_codes(tmp_path: Path) -> None:
    path = tmp_path / "laion.parquet"
    codes = ["en\x1b[31m", "  ", "\u202een", "x" * 200, "en"]
    pd.DataFrame({"TEXT": ["a dog"] * 5, "LANGUAGE": codes}).to_parquet(path)
    run = audit(path, ["dog"], tmp_path / "run", options=AuditOptions(languages=("en",)))
    assert run.table["n_text"].tolist() == [1]
    assert sum(run.account["text"]["dropped"].values()) == 4
    assert all(reason.isascii() and len(reason) < 60 for reason in run.account["text"]["dropped"])


def test_strings_are_counted_by_a_pipeline_that_only_splits(corpus: Path, tmp_path: Path) -> None:
    import spacy

    spacy.blank("de").to_disk(tmp_path / "blank")
    options = AuditOptions(spacy_model=str(tmp_path / "blank"), pos="any", languages=("de",))
    run = audit(corpus, ["Hund", "Hunde", "Katze"], tmp_path / "run", options=options)
    assert run.table["n_text"].tolist() == [1, 1, 1]


def test_a_tagger_made_of_rules(corpus: Path, tmp_path: Path) -> None:
    """Lemmas and parts of speech of another language, as its own pipeline sets them."""
    import spacy

    nlp = spacy.blank("de")
    rules = nlp.add_pipe("attribute_ruler")
    for word, lemma, pos in (("Hund", "Hund", "NOUN"), ("Hunde", "Hund", "NOUN")):
        rules.add([[{"ORTH": word}]], {"LEMMA": lemma, "POS": pos})
    rules.add([[{"ORTH": "Katze"}]], {"LEMMA": "Katze", "POS": "VERB"})
    nlp.to_disk(tmp_path / "rules")
    options = AuditOptions(spacy_model=str(tmp_path / "rules"), languages=("de",))
    run = audit(corpus, ["Hund", "Katze"], tmp_path / "run", options=options)
    assert run.table["n_text"].tolist() == [2, 0]


def test_the_command_line(corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    concepts = tmp_path / "concepts.txt"
    concepts.write_text("\n".join(CONCEPTS))
    arguments = ["audit", str(corpus), "-c", str(concepts), "-o", str(tmp_path / "run")]
    assert main([*arguments, "--workers", "1", "--language", "en", "--by-language", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["account"]["text"]["dropped"]["sample:language_de"] == 3


def test_scripts_that_cannot_be_split_are_named(tmp_path: Path) -> None:
    import conceptaudit as ca

    captions = ["一只狗在草地上", "a dog", "สุนัขบนหญ้า", "a 狗 alone"]
    path = tmp_path / "captions.parquet"
    pd.DataFrame({"url": list("abcd"), "caption": captions}).to_parquet(path)
    for mode in ("exact", "fast"):
        options = ca.AuditOptions(text_mode=mode)
        run = ca.audit(path, ["dog", "狗"], tmp_path / mode, options=options)
        assert any("3 of 4 captions" in note and "Thai" in note for note in run.notes)
        assert run.table["n_text"].tolist() == [1, 1]
