"""Counts without a tagger: as the audit's strings, with words apart, in any layout."""

import json

import pandas as pd
import pytest

from conceptaudit.auditing import audit
from conceptaudit.cli.main import main
from conceptaudit.datasets import open_dataset
from conceptaudit.errors import ConfigError
from conceptaudit.options.audit import AuditOptions
from conceptaudit.text.scan import Query, count_queries, folded, phrase_forms

CAPTIONS = (
    "the cat is blue",
    "A Blue Cat.",
    "blue-cats everywhere",
    "two blue, very fat cats",
    "bluecat",
    "a blue dog and its cat",
    None,
    "caf\u00e9 with a BLUE\u00a0cat",
    "concatenate the blues",
    "blue_cat.jpg",
    "the can't of a cat",
)


@pytest.fixture
def captions(tmp_path):
    path = tmp_path / "captions.jsonl"
    rows = [json.dumps({"key": f"k{i}", "caption": text}) for i, text in enumerate(CAPTIONS)]
    path.write_text("\n".join(rows))
    return path


def counted(path, *queries, n=10):
    return count_queries(open_dataset(path), queries, n, workers=1)


def keys(found, i=0):
    return [key for key, _ in found.examples[i]]


def test_a_phrase_is_found_in_its_spellings_and_plurals(captions):
    found = counted(captions, Query(name="x", phrases=("blue cat",)))
    assert keys(found) == ["k1", "k2", "k4", "k7", "k9"]
    assert found.counts == [5]
    assert (found.n_captions, found.n_missing) == (10, 1)


def test_words_that_stand_apart_are_found_by_all_of(captions):
    anywhere = Query(name="x", phrases=("blue", "cat"))
    assert keys(counted(captions, anywhere)) == ["k0", "k1", "k2", "k3", "k5", "k7", "k9"]
    near = Query(name="x", phrases=("blue", "cat"), near=3)
    assert keys(counted(captions, near)) == ["k0", "k1", "k2", "k3", "k7", "k9"]


def test_exact_words_alone(captions):
    assert keys(counted(captions, Query(name="x", phrases=("cats",), exact=True))) == ["k2", "k3"]
    assert keys(counted(captions, Query(name="x", phrases=("can",)))) == []


def test_words_are_never_parts_of_words(captions):
    assert keys(counted(captions, Query(name="x", phrases=("cat",)))) == [
        "k0", "k1", "k2", "k3", "k5", "k7", "k9", "k10",
    ]  # fmt: skip


def test_folding_is_the_normaliser_of_captions():
    assert folded(["A\tDog", "two\nlines", "It`s", "\ufb01re &amp; ice"])[1:] == [
        "two\nlines", "it's", "fire & ice",
    ]  # fmt: skip


def test_what_holds_no_word_is_refused(captions):
    with pytest.raises(ConfigError, match="no word"):
        phrase_forms("...")
    assert main(["count", str(captions)]) == 2
    assert main(["count", str(captions), "cat", "--near", "2"]) == 2


def test_the_verb_prints_counts_and_examples(captions, capsys):
    command = ["count", str(captions), "blue cat", "--all-of", "blue,cat", "--near", "3"]
    assert main([*command, "--workers", "1", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["counts"]
    assert [row["n_text"] for row in rows] == [5, 6]
    assert main([*command, "--workers", "1"]) == 0
    assert "the cat is blue   (k0)" in capsys.readouterr().out


def test_counts_are_the_audits_strings_on_flickr30k(realdata, tmp_path):
    """Fifty names, plain and odd, in 31,014 captions, one of each image."""
    table = pd.read_parquet(realdata / "captions" / "flickr30k_en.parquet").iloc[::5]
    table.to_parquet(tmp_path / "captions.parquet")
    names = [
        "dog", "man", "woman", "child", "person", "tree", "trash can", "hot dog", "ice cream",
        "t-shirt", "baseball bat", "blue shirt", "wheel", "bus", "knife", "scissors", "jeans",
        "mouse", "goose", "wine glass", "sunglasses", "hat", "bicycle", "fire truck", "bird",
        "guitar", "microphone", "surfboard", "skateboard", "water bottle", "cell phone", "table",
        "chair", "bench", "street sign", "traffic light", "horse", "sheep", "swimming pool",
        "football", "tennis racket", "lawn mower", "back pack", "shoe", "sock", "camera",
        "balloon", "mountain", "toy", "cowboy hat",
    ]  # fmt: skip
    options = AuditOptions(pos="any", nested=True, text_mode="exact", workers=1)
    run = audit(tmp_path / "captions.parquet", names, tmp_path / "run", options=options)
    queries = [Query(name=name, phrases=(name,)) for name in names]
    found = count_queries(open_dataset(tmp_path / "captions.parquet"), queries, 0, workers=1)
    audited = run.table.set_index("concept")["n_text"]
    wrong = {
        name: (n, int(audited[name]))
        for name, n in zip(names, found.counts, strict=True)
        if n != audited[name]
    }
    assert wrong == {}
