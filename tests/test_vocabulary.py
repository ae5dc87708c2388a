import gzip
import json

import pytest

from conceptaudit.errors import ConfigError, DataError
from conceptaudit.records import Concept
from conceptaudit.vocabulary import _files, read_concepts


def concepts(source):
    return read_concepts(source).vocabulary.concepts


RECORD = Concept(
    name="dog",
    aliases=("hound", "pup"),
    prompts=("a dog.",),
    synset="dog.n.01",
    dataset="x",
    class_index=3,
)
CSV = """\
concept,aliases,prompts,synset,dataset,class_index
dog,hound|pup,a dog.,dog.n.01,x,3
cat,,,,,
"""
FIELDS = {
    "aliases": ["hound", "pup"],
    "prompts": ["a dog."],
    "synset": "dog.n.01",
    "dataset": "x",
    "class_index": 3,
}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", CSV),
        ("a.csv", CSV.replace(",", ";")),
        ("a.tsv", CSV.replace(",", "\t")),
        ("a.csv", "\ufeff" + CSV),
        ("a.json", json.dumps([{"concept": "dog", **FIELDS}, "cat"])),
        ("a.json", json.dumps({"concepts": [{"name": "dog", **FIELDS}, {"name": "cat"}]})),
        ("a.json", json.dumps({"dog": FIELDS, "cat": None})),
        ("a.jsonl", json.dumps({"concept": "dog", **FIELDS}) + '\n"cat"\n'),
        (
            "a.yaml",
            (
                "dog: {aliases: hound|pup, prompts: [a dog.], synset: dog.n.01, dataset: x, "
                "class_index: 3}\ncat:\n"
            ),
        ),
        (
            "a.toml",
            (
                "[[concepts]]\nname = 'dog'\naliases = ['hound', 'pup']\nprompts = ['a dog.']\n"
                "synset = 'dog.n.01'\ndataset = 'x'\nclass_index = 3\n[[concepts]]\nname = 'cat'\n"
            ),
        ),
    ],
)
def test_formats(tmp_path, name, content):
    path = tmp_path / name
    path.write_text(content, encoding="utf-8")
    assert concepts(path) == (RECORD, Concept(name="cat"))
    assert concepts(str(path)) == concepts(path)


def test_plain_lists(tmp_path):
    (tmp_path / "a.txt").write_text("dog\n\nhot dog \n")
    found = read_concepts(tmp_path / "a.txt")
    assert found.vocabulary.names == ("dog", "hot dog")
    assert found.notes == ("Left out, having no name: 1 entry (line 2).",)
    (tmp_path / "a.csv").write_text("dog\ncat\n")
    assert read_concepts(tmp_path / "a.csv").vocabulary.names == ("dog", "cat")
    (tmp_path / "metadata.json").write_text(json.dumps(["dog", "cat", 7]))
    assert read_concepts(tmp_path / "metadata.json").vocabulary.names == ("dog", "cat", "7")


def test_python_values():
    assert concepts(["dog", RECORD, {"name": "cat"}])[1] == Concept(name="cat")
    assert concepts({"dog": ["hound"], "cat": 12}) == (
        Concept(name="dog", aliases=("hound",)),
        Concept(name="cat"),
    )
    assert concepts({"0": ["n01440764", "tench"]}) == (
        Concept(name="tench", synset="n01440764", class_index=0),
    )


def test_clip_benchmark_folder(tmp_path):
    (tmp_path / "classnames.txt").write_text("dog\ncat\n")
    assert concepts(tmp_path)[1] == Concept(name="cat", class_index=1)
    templates = tmp_path / "zeroshot_classification_templates.txt"
    templates.write_text("a photo of a {c}.\na {c}\n")
    assert concepts(tmp_path)[0].prompts == ("a photo of a dog.", "a dog")
    templates.write_text("a photo.\n")
    with pytest.raises(DataError, match=r"must hold \{c\}.*'a photo\.'"):
        read_concepts(tmp_path)
    (tmp_path / "classnames.txt").unlink()
    with pytest.raises(ConfigError, match=r"classnames\.txt"):
        read_concepts(tmp_path)


def test_names_that_differ_in_spelling_only_are_merged():
    found = read_concepts(
        [
            {"name": "CD_player", "aliases": "cd  Player|discman", "synset": "a"},
            {"name": "cd player", "aliases": ["walkman", "Discman"], "synset": "b", "prompts": "x"},
        ]
    )
    assert found.vocabulary.concepts == (
        Concept(name="CD_player", aliases=("discman", "walkman"), prompts=("x",), synset="a"),
    )
    assert len(found.notes) == 2
    assert "'cd player'" in found.notes[0]
    assert "another synset" in found.notes[1]


def test_shared_phrases_are_reported():
    found = read_concepts(
        [{"name": "bow_(weapon)"}, "bow_(ribbons)", {"name": "x", "aliases": "y"}]
    )
    assert found.vocabulary.names == ("bow_(weapon)", "bow_(ribbons)", "x")
    assert found.notes == (
        "1 phrase counts for several concepts ('bow': bow_(weapon), bow_(ribbons)).",
    )


def test_lone_surrogates_are_replaced(tmp_path):
    (tmp_path / "a.json").write_text('["bad \\ud83d"]')
    assert read_concepts(tmp_path / "a.json").vocabulary.digest


@pytest.mark.parametrize(
    ("name", "content", "error", "message"),
    [
        ("a.txt", b"", ConfigError, "at least one concept"),
        ("a.csv", b"", ConfigError, "at least one concept"),
        ("a.json", b"[]", ConfigError, "at least one concept"),
        ("a.json", b'[""]', ConfigError, "1 entry without a name"),
        ("a.json", b"[1", DataError, "not valid JSON"),
        ("a.json", b"3", ConfigError, "list of names or a mapping. Got int"),
        ("a.json", b"[[1]]", ConfigError, "must be a name or a record. Got list"),
        ("a.json", b'[{"a": 1}]', ConfigError, r"field called one of .* Got \['a'\]"),
        ("a.yaml", b"a: [", DataError, "not valid YAML"),
        ("a.yaml", b"!!python/object/apply:os.system [ls]", DataError, "not valid YAML"),
        ("a.toml", b"a = ", DataError, "not valid TOML"),
        ("a.csv", b"foo,bar\n1,2\n", ConfigError, r"column of names .* Got the columns"),
        ("a.csv", b"concept,synset\na,b,c\n", DataError, "Row 2 .* 3 fields instead of 2"),
        ("a.csv", b"concept,class_index\na,x\n", DataError, r"class_index of entry 2 .* 'x'"),
        ("a.txt", b"caf\xe9", DataError, "UTF-8 text. Got byte 0xe9 at position 3"),
    ],
)
def test_lists_that_cannot_be_read(tmp_path, name, content, error, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(error, match=message):
        read_concepts(tmp_path / name)


def test_no_such_source(tmp_path):
    with pytest.raises(ConfigError, match="does not exist"):
        read_concepts(tmp_path / "none.csv")
    with pytest.raises(ConfigError, match="Got int instead"):
        read_concepts(7)


def test_lvis_categories(realdata):
    path = realdata / "clip" / "detic_text_embeddings" / "lvis_categories.csv"
    found = read_concepts(path)
    assert len(found.vocabulary) == 1203
    assert found.vocabulary[0] == Concept(
        name="aerosol_can", aliases=("spray_can",), synset="aerosol.n.02"
    )
    assert (
        "'bow': bow_(weapon)" in found.notes[-1] or "phrases count for several" in found.notes[-1]
    )


@pytest.mark.parametrize("ending", ["txt", "csv", "json", "yaml"])
@pytest.mark.parametrize("n", [1_001, 3_000_000])
def test_a_name_of_millions_of_characters_is_refused_in_one_line(tmp_path, ending, n):
    name = "a" * n
    content = {
        "txt": f"dog\n{name}\n",
        "csv": f"concept\ndog\n{name}\n",
        "json": json.dumps(["dog", name]),
        "yaml": f"- dog\n- {name}\n",
    }[ending]
    (tmp_path / f"c.{ending}").write_text(content, encoding="utf-8")
    with pytest.raises(
        DataError, match=rf"a name of {n:,} characters|larger than field limit"
    ) as caught:
        read_concepts(tmp_path / f"c.{ending}")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


def test_a_packed_list_cannot_take_all_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(_files, "MAX_LIST_BYTES", 1 << 16)
    (tmp_path / "c.txt.gz").write_bytes(gzip.compress(b"dog\n" * (1 << 16)))
    with pytest.raises(DataError, match=r"c\.txt\.gz holds more than"):
        read_concepts(tmp_path / "c.txt.gz")
