"""Every noun and noun phrase with its counts, against a count of the same by hand and by force."""

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from conceptaudit.auditing import audit
from conceptaudit.cli.main import main
from conceptaudit.engine.stage import ShardResult
from conceptaudit.errors import ArtifactMismatchError, ConfigError, DataError
from conceptaudit.noun_vocabulary import PhraseRule, VocabOptions, list_vocabulary, write_concepts
from conceptaudit.noun_vocabulary.merging import entries, merge_counts
from conceptaudit.noun_vocabulary.stage import KEYS, PAIRS, PhraseFinder, _Counted
from conceptaudit.text.pipeline import load_bundled
from conceptaudit.vocabulary import read_concepts

ROWS = [
    ("1.jpg", "two old wine bottles on a table"),
    ("1.jpg", "a wine bottle"),
    ("2.jpg", "three dogs"),
    ("1.jpg", "they watch a dog"),
    ("3.jpg", None),
    ("3.jpg", "a red T-shirt"),
    ("2.jpg", "the dog's table"),
]
BY_HAND = {
    ("word", "wine"): (2, 1),
    ("word", "bottle"): (2, 1),
    ("word", "table"): (2, 2),
    ("word", "dog"): (3, 2),
    ("word", "shirt"): (1, 1),
    ("word", "t"): (1, 1),
    ("phrase", "old wine bottle"): (1, 1),
    ("phrase", "wine bottle"): (1, 1),
    ("phrase", "red t shirt"): (1, 1),
}


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    path = tmp_path / "captions.parquet"
    pd.DataFrame(ROWS, columns=["image_id", "caption"]).to_parquet(path)
    return path


def listed(path: Path) -> dict[tuple[str, str], tuple[int, int]]:
    return {(kind, text): (n, m) for kind, text, n, m in entries(path)}


@pytest.mark.parametrize("shard_rows", [1, 3, 100])
def test_counted_by_hand_in_any_sharding(corpus: Path, tmp_path: Path, shard_rows: int) -> None:
    out = tmp_path / "vocab.parquet"
    run = list_vocabulary(corpus, out, options=VocabOptions(shard_rows=shard_rows))
    assert listed(out) == BY_HAND
    assert run.n_entries == len(BY_HAND)
    assert run.account == {
        "n_samples": 7,
        "n_used": 6,
        "dropped": {"caption:null_caption": 1},
        "noted": {},
    }
    order = [(-n, kind, text) for kind, text, n, _ in entries(out)]
    assert order == sorted(order)


def test_the_file_does_not_depend_on_sharding_or_kills(corpus: Path, tmp_path: Path) -> None:
    outs = [tmp_path / f"{name}.parquet" for name in "ab"]
    list_vocabulary(corpus, outs[0], options=VocabOptions(shard_rows=100))
    halfway = VocabOptions(shard_rows=2, keep_parts=True)
    list_vocabulary(corpus, outs[1], options=halfway)
    parts = tmp_path / "b.parquet.parts"
    min(parts.glob("nouns/*.json")).unlink()
    outs[1].unlink()
    list_vocabulary(corpus, outs[1], options=halfway)
    assert outs[0].read_bytes() == outs[1].read_bytes()
    assert parts.exists()
    assert not (tmp_path / "a.parquet.parts").exists()


def test_only_the_first_captions_of_an_image(corpus: Path, tmp_path: Path) -> None:
    """Also where its captions lie in several shards."""
    expected = {k: v for k, v in BY_HAND.items() if k not in {("word", "dog"), ("word", "table")}}
    for shard_rows in (1, 3, 100):
        out = tmp_path / f"{shard_rows}.parquet"
        options = VocabOptions(captions_per_image=1, shard_rows=shard_rows)
        list_vocabulary(corpus, out, options=options)
        found = listed(out)
        assert found[("word", "dog")] == (1, 1)
        assert found[("word", "table")] == (1, 1)
        assert found[("word", "wine")] == (1, 1)
        assert ("phrase", "wine bottle") not in found
        options = VocabOptions(captions_per_image=2, shard_rows=shard_rows)
        list_vocabulary(corpus, out, options=options, overwrite=True)
        found = listed(out)
        assert found.items() >= expected.items()
        assert found[("word", "dog")] == (2, 1)


def test_least_counts_and_kinds(corpus: Path, tmp_path: Path) -> None:
    out = tmp_path / "v.parquet"
    list_vocabulary(corpus, out, options=VocabOptions(min_images=2))
    assert set(listed(out)) == {("word", "dog"), ("word", "table")}
    options = VocabOptions(rule=PhraseRule(words=False), min_count=1)
    list_vocabulary(corpus, out, options=options, overwrite=True)
    assert {kind for kind, _ in listed(out)} == {"phrase"}


def test_a_listing_is_a_concept_list(corpus: Path, tmp_path: Path) -> None:
    out, csv = tmp_path / "v.parquet", tmp_path / "concepts.csv"
    options = VocabOptions(rule=PhraseRule(phrases=False))
    list_vocabulary(corpus, out, options=options)
    assert write_concepts(out, csv) == 6
    read = read_concepts(csv)
    assert read.notes == ()
    run = audit(corpus, csv, tmp_path / "run")
    counted = dict(zip(run.table["concept"], run.table["n_text"].astype(int), strict=True))
    assert counted == {text: n for (kind, text), (n, _) in BY_HAND.items() if kind == "word"}


def test_a_name_that_ends_in_csv_gets_csv(corpus: Path, tmp_path: Path) -> None:
    parquet = list_vocabulary(corpus, tmp_path / "v.parquet")
    made = list_vocabulary(corpus, tmp_path / "v.csv")
    lines = (tmp_path / "v.csv").read_text(encoding="utf-8").splitlines()
    assert lines[0] == "kind,text,n_captions,n_images"
    assert len(lines) == 1 + made.n_entries
    assert list(entries(made.path)) == list(entries(parquet.path))
    again = list_vocabulary(corpus, tmp_path / "v.csv")
    assert again.n_entries == made.n_entries


def test_names_that_are_formulas_are_left_out(tmp_path: Path) -> None:
    table = [("word", "=1+1", 3, 3), ("word", "t shirt", 2, 2), ("phrase", "T shirt", 1, 1)]
    columns = ["kind", "text", "n_captions", "n_images"]
    pd.DataFrame(table, columns=columns).to_parquet(tmp_path / "v.parquet")
    assert write_concepts(tmp_path / "v.parquet", tmp_path / "c.csv") == 1
    assert (tmp_path / "c.csv").read_text().splitlines()[1:] == ["t shirt,word,2,2"]


def test_again_is_nothing_to_do_and_other_settings_are_refused(
    corpus: Path, tmp_path: Path
) -> None:
    out = tmp_path / "v.parquet"
    first = list_vocabulary(corpus, out)
    before = out.stat().st_mtime_ns
    assert list_vocabulary(corpus, out) == first
    assert out.stat().st_mtime_ns == before
    with pytest.raises(ArtifactMismatchError, match="--overwrite"):
        list_vocabulary(corpus, out, options=VocabOptions(min_count=2))
    out.write_bytes(b"mine")
    with pytest.raises(ArtifactMismatchError, match="has changed since"):
        list_vocabulary(corpus, out)


def test_what_cannot_be_set(corpus: Path, tmp_path: Path) -> None:
    for wrong in ({"min_count": 0}, {"min_images": 0}, {"captions_per_image": 0}):
        with pytest.raises(ConfigError, match="at least 1"):
            VocabOptions(**wrong)
    with pytest.raises(ConfigError, match="at least 2"):
        PhraseRule(max_words=1)
    with pytest.raises(ConfigError, match="both be False"):
        PhraseRule(words=False, phrases=False)
    with pytest.raises(ConfigError, match="amount of memory"):
        list_vocabulary(corpus, tmp_path / "v", options=VocabOptions(memory_limit="lots"))


def test_too_little_memory_is_told(corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="--memory-limit"):
        list_vocabulary(corpus, tmp_path / "v", options=VocabOptions(memory_limit="1KB"))


@pytest.mark.parametrize(
    ("caption", "expected"),
    [
        ("a very big red dog", {("word", "dog"), ("phrase", "big red dog")}),
        ("the dog is red", {("word", "dog")}),
        ("red and white dogs", {("word", "dog"), ("phrase", "white dog")}),
        ("a shirt - dogs", {("word", "shirt"), ("word", "dog")}),
        ("!!! ???", set()),
        ("", set()),
    ],
)
def test_the_rule(caption: str, expected: set[tuple[str, str]]) -> None:
    nlp = load_bundled()
    assert PhraseFinder(nlp, PhraseRule())(nlp(caption)) == expected


def test_a_long_phrase_keeps_its_end() -> None:
    nlp = load_bundled()
    caption = "a city car park ticket machine"
    (found,) = (PhraseFinder(nlp, PhraseRule(words=False, max_words=2))(nlp(caption)),)
    assert found == {("phrase", "ticket machine")}


def test_words_as_published() -> None:
    nlp = load_bundled()
    find = PhraseFinder(nlp, PhraseRule(phrases=False, as_published=True))
    assert find(nlp("a woman in a café in Paris")) == {
        ("word", "woman"),
        ("word", "caf"),
        ("word", "paris"),
    }


CAPTIONS = st.lists(
    st.tuples(st.sampled_from("kql"), st.frozensets(st.sampled_from("abc"))), max_size=14
)


@given(CAPTIONS, st.integers(1, 5), st.one_of(st.none(), st.integers(1, 3)))
@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_merged_shards_equal_brute_force(
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[tuple[str, frozenset[str]]],
    shard_rows: int,
    limit: int | None,
) -> None:
    folder = tmp_path_factory.mktemp("merge")
    names = []
    for start, shard in enumerate(cut(rows, shard_rows)):
        name = f"{start:03d}"
        counted = _Counted(name, limit)
        for key, texts in shard:
            counted.add(key, frozenset(("word", text) for text in texts), own=False)
        write(folder, name, ShardResult(summary={}, tables=counted.tables()))
        names.append(name)
    merge_counts(
        folder,
        names,
        folder / "out.parquet",
        spill=folder,
        captions_per_image=limit,
        min_count=1,
        min_images=1,
        memory_limit="200MB",
    )
    assert listed(folder / "out.parquet") == brute_force(rows, limit)


def cut(rows: list[tuple[str, frozenset[str]]], size: int) -> Iterator[list]:
    left = iter(rows)
    while block := list(islice(left, size)):
        yield block


def write(folder: Path, name: str, result: ShardResult) -> None:
    for suffix, table in result.tables.items():
        if not table.empty:
            table.to_parquet(folder / f"{name}{suffix}", index=False)


def brute_force(
    rows: list[tuple[str, frozenset[str]]], limit: int | None
) -> dict[tuple[str, str], tuple[int, int]]:
    captions: Counter[str] = Counter()
    images = defaultdict(set)
    rank: Counter[str] = Counter()
    for key, texts in rows:
        rank[key] += 1
        if limit is None or rank[key] <= limit:
            captions.update(texts)
            for text in texts:
                images[text].add(key)
    return {("word", text): (n, len(images[text])) for text, n in captions.items()}


def test_rows_without_keys_need_no_pairs() -> None:
    counted = _Counted("000", None)
    counted.add("7", frozenset({("word", "dog")}), own=True)
    tables = counted.tables()
    assert tables[PAIRS].empty
    assert tables[KEYS].empty


def test_the_verb(corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, csv = tmp_path / "v.parquet", tmp_path / "c.csv"
    arguments = ["vocab", str(corpus), "-o", str(out), "--workers", "1", "--as-concepts", str(csv)]
    assert main(arguments) == 0
    assert "9 entries written" in capsys.readouterr().out
    assert main([*arguments, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["n_entries"] == 9
    assert told["n_concepts"] == 9
    assert main(["vocab", str(corpus), "-o", str(out), "--min-count", "2"]) == 2
    assert "--overwrite" in capsys.readouterr().err


def test_the_published_recipe_for_retrieval_sets(realdata: Path, tmp_path: Path) -> None:
    """Against the published loops, written down once more in the plainest way."""
    table = pd.read_parquet(realdata / "captions/flickr30k_en.parquet")[:150]
    table.to_parquet(tmp_path / "flickr.parquet")
    options = VocabOptions(
        rule=PhraseRule(phrases=False, as_published=True),
        captions_per_image=3,
        min_images=3,
        shard_rows=70,
    )
    list_vocabulary(tmp_path / "flickr.parquet", tmp_path / "v.parquet", options=options)
    nlp = load_bundled()
    images = defaultdict(set)
    for image, captions in table.groupby("image")["caption"]:
        for doc in nlp.pipe(captions.tolist()[:3]):
            for token in doc:
                if token.pos_ in {"NOUN", "PROPN"}:
                    noun = re.sub(r"[^A-Za-z ]", "", token.lemma_).lower()
                    images[noun].add(image)
    expected = {noun: len(of) for noun, of in images.items() if len(of) >= 3 and noun}
    found = {text: n for (_, text), (_, n) in listed(tmp_path / "v.parquet").items()}
    assert found == expected
    assert len(found) > 10


def test_documents_are_listed_to_their_end(tmp_path: Path) -> None:
    path = tmp_path / "documents.jsonl"
    long = "They agreed on it. " * 3_000 + "Then a zebra came."
    path.write_text("".join(json.dumps({"text": t}) + "\n" for t in (long, "a zebra", None)))
    options = VocabOptions(unit="document", rule=PhraseRule(phrases=False))
    run = list_vocabulary(path, tmp_path / "v.parquet", options=options)
    assert listed(tmp_path / "v.parquet") == {("word", "zebra"): (2, 2)}
    assert run.account["noted"] == {}
    assert run.account["n_used"] == 2


def test_parts_of_another_run_are_redone(corpus: Path, tmp_path: Path) -> None:
    """A run that was killed, started again with other settings: nothing of the first remains."""
    out = tmp_path / "v.parquet"
    list_vocabulary(corpus, out, options=VocabOptions(keep_parts=True, shard_rows=2))
    out.unlink()
    options = VocabOptions(keep_parts=True, shard_rows=3, rule=PhraseRule(words=False))
    list_vocabulary(corpus, out, options=options)
    assert listed(out) == {k: v for k, v in BY_HAND.items() if k[0] == "phrase"}


def test_capitalised_plurals_are_one_word_with_the_others() -> None:
    import spacy
    from spacy.tokens import Doc

    from conceptaudit.noun_vocabulary.stage import PhraseFinder

    nlp = spacy.blank("en")
    find = PhraseFinder(nlp, PhraseRule(phrases=False))
    # as en_core_web_sm tags it: a proper noun in the plural keeps its form
    words, lemmas = ["Photos", "of", "Paris", "photos"], ["Photos", "of", "Paris", "photo"]
    tags = ["PROPN", "ADP", "PROPN", "NOUN"]
    doc = Doc(nlp.vocab, words=words, lemmas=lemmas, pos=tags)
    assert find(doc) == {("word", "photo"), ("word", "paris")}
