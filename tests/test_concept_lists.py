"""Concept lists as other projects publish them: every form gives the names that a person reads."""

import bz2
import gzip
import json

import numpy as np
import pandas as pd
import pytest

from conceptaudit.errors import ConfigError, DataError
from conceptaudit.records import Concept
from conceptaudit.vocabulary import read_concepts

PETS_AND_FOOD = {"pets": ["cat", "dog"], "food": ["pizza", "bread"]}
SENTENCES = {
    "tench": ["A tench is a freshwater fish of the carp family.", "A tench is olive-green."],
    "goldfish": ["A goldfish is a small orange fish.", "The goldfish has long fins."],
}
V2 = [
    {"cid": 0, "wnid": "n01440764", "synset": ["tench", "Tinca tinca"], "gloss": "a fish"},
    {"cid": 1, "wnid": "n01443537", "synset": ["goldfish", "Carassius auratus"], "gloss": "too"},
]
COCO = {
    "images": [{"id": 1}],
    "annotations": [],
    "categories": [
        {"id": 1, "name": "person", "supercategory": "person"},
        {"id": 18, "name": "dog"},
    ],
}


def read(tmp_path, name, content, **options):
    path = tmp_path / name
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        path.write_text(content if isinstance(content, str) else json.dumps(content))
    return read_concepts(path, **options)


NAMES = [
    ("a.txt", '"dog"\n"hot_dog"\n"cat"\n', ["dog", "hot_dog", "cat"]),
    ("a.txt", "'dog',\n'hot dog',\n'jack-o\\'-lantern'\n", ["dog", "hot dog", "jack-o'-lantern"]),
    ("a.txt", "['dog', 'hot dog']", ["dog", "hot dog"]),
    ("a.txt", "{0: 'tench, Tinca tinca',\n 1: 'goldfish, Carassius auratus'}",
     ["tench", "goldfish"]),
    ("a.txt", '"Weird Al" Yankovic\ndog\n', ['"Weird Al" Yankovic', "dog"]),
    ("a.txt", '"dog" show\n"cat"\n', ['"dog" show', '"cat"']),
    ("a.txt", "n02084071 dog\r\nn02121620 cat\r\n", ["dog", "cat"]),
    ("a.txt", "n02084071\tdog\nn02121620\tcat\n", ["dog", "cat"]),
    ("a.txt", "n02119789 1 kit_fox\nn02100735 2 English_setter\n", ["kit_fox", "English_setter"]),
    ("a.txt", "/a/airfield 0\n/b/bakery/shop 31\n", ["airfield", "bakery (shop)"]),
    ("a.txt", "/a/airfield\n/a/alley\n", ["airfield", "alley"]),
    ("a.txt", "1 001.Black_footed_Albatross\n2 002.Laysan_Albatross\n",
     ["Black_footed_Albatross", "Laysan_Albatross"]),
    ("a.txt", "0: dog\n1: cat\n", ["dog", "cat"]),
    ("a.txt", "0\tdog\n1\tcat\n", ["dog", "cat"]),
    ("a.txt", "dog 1\ncat 0\n", ["dog", "cat"]),
    ("a.txt", "747\n1999\n", ["747", "1999"]),
    ("a.txt", "boeing 747\nboeing 757\n", ["boeing 747", "boeing 757"]),
    ("a.txt", "7 up\n3 musketeers\n", ["7 up", "3 musketeers"]),
    ("a.txt", "boeing 707\nboeing 717\nboeing 747\n", ["boeing 707", "boeing 717", "boeing 747"]),
    ("a.txt", "1957 Ford\n1968 Fiat\n2012 Audi\n", ["1957 Ford", "1968 Fiat", "2012 Audi"]),
    ("a.txt", "151 Chihuahua\n207 golden retriever\n281 tabby\n",
     ["Chihuahua", "golden retriever", "tabby"]),
    ("a.txt", "# my classes\ndog\ncat\n", ["dog", "cat"]),
    ("a.txt", "#dog\n#cat\n", ["#dog", "#cat"]),
    ("a.py", "# from a gist\nCLASSES = [\n  'dog',\n  'hot dog',\n]\n", ["dog", "hot dog"]),
    ("a.py", "NAMES = ('dog', 'cat')\n", ["dog", "cat"]),
    ("a.txt", "Washington, D.C.\nParis\nRome\n", ["Washington, D.C.", "Paris", "Rome"]),
    ("a.txt", "concept,aliases\ndog,hound\n", ["dog"]),
    ("a.txt", "dog.n.01\nhot_dog.n.02\n", ["dog", "hot_dog"]),
    ("a.txt", "\ufeffdog\ncat".encode(), ["dog", "cat"]),
    ("a.txt", "dog\ncat".encode("utf-16"), ["dog", "cat"]),
    ("a.txt.gz", gzip.compress(b"dog\ncat\n", mtime=0), ["dog", "cat"]),
    ("a.json.bz2", bz2.compress(b'["dog", "cat"]'), ["dog", "cat"]),
    ("classnames", "dog\ncat\n", ["dog", "cat"]),
    ("a.yaml", "- no\n- yes\n- null\n- on\n- 1999\n- dog\n",
     ["no", "yes", "null", "on", "1999", "dog"]),
    ("a.yaml", "no:\n1999: 12\n2001-01-01: 3\n", ["no", "1999", "2001-01-01"]),
    ("a.yaml", "names:\n  0: person\n  1: on\n", ["person", "on"]),
    ("a.csv", '"/m/011k07",Tortoise\n"/m/011q46kg",Container\n', ["Tortoise", "Container"]),
    ("a.csv", "LabelName,DisplayName\n/m/011k07,Tortoise\n", ["Tortoise"]),
    ("a.csv", "dog,12\ncat,3\n", ["dog", "cat"]),
    ("a.csv", "0,dog\n1,cat\n", ["dog", "cat"]),
    ("a.csv", "CONCEPT;ALIASES\ndog;hound\n", ["dog"]),
    ("a.csv", "concept\tn\ndog\t1\n", ["dog"]),
    ("a.csv", "null\nno\n", ["null", "no"]),
    ("a.json", {"0": ["n01440764", "tench"], "1": ["n01443537", "goldfish"]},
     ["tench", "goldfish"]),
    ("a.json", {"0": ["tench", "Tinca tinca"], "1": ["goldfish"]}, ["tench", "goldfish"]),
    ("a.json", {"0": "tench, Tinca tinca", "1": "goldfish, Carassius auratus"},
     ["tench", "goldfish"]),
    ("a.json", {"n01440764": "tench", "n01443537": "goldfish"}, ["tench", "goldfish"]),
    ("a.json", {"tench": 0, "goldfish": 1}, ["tench", "goldfish"]),
    ("a.json", {"tench": "n01440764", "goldfish": "n01443537"}, ["tench", "goldfish"]),
    ("a.json", {"id2label": {"0": "dog", "1": "cat"}}, ["dog", "cat"]),
    ("a.json", {"data": ["dog", "cat"]}, ["dog", "cat"]),
    ("a.json", V2, ["tench", "goldfish"]),
    ("a.json", COCO, ["person", "dog"]),
    ("a.json", [["tench", "Tinca tinca"], ["goldfish"]], ["tench", "goldfish"]),
    ("a.json", '{"concept": "dog"}\n{"concept": "cat"}\n', ["dog", "cat"]),
    ("a.json", SENTENCES, ["tench", "goldfish"]),
    ("a.json", {"dog": ["hound", "pup"], "cat": ["kitty"]}, ["dog", "cat"]),
    ("a.json", {"glasses": ["spectacles"], "dog": ["hound", "pup"]}, ["glasses", "dog"]),
]  # fmt: skip


@pytest.mark.parametrize(("name", "content", "names"), NAMES)
def test_names(tmp_path, name, content, names):
    assert list(read(tmp_path, name, content).vocabulary.names) == names


def test_what_comes_along(tmp_path):
    def first(name, content):
        return read(tmp_path, name, content).vocabulary[0]

    tench = {"name": "tench", "aliases": ("Tinca tinca",), "synset": "n01440764", "class_index": 0}
    assert first("a.json", V2) == Concept(**tench)
    assert first("a.txt", "n01440764 tench, Tinca tinca\n") == Concept(**tench)
    assert first("a.json", {"n01440764": ["tench", "Tinca tinca"]}) == Concept(
        name="tench", aliases=("Tinca tinca",), synset="n01440764"
    )
    assert first("a.txt", "/b/bedroom 52\n") == Concept(name="bedroom", class_index=52)
    assert first("a.csv", "/m/011k07,Tortoise\n").synset == "/m/011k07"
    assert first("a.txt", "hot_dog.n.02") == Concept(
        name="hot_dog", synset="hot_dog.n.02", class_index=0
    )
    parquet = tmp_path / "f.parquet"
    pd.DataFrame({"concept": ["dog"], "n_text": [3], "aliases": [["pup"]]}).to_parquet(parquet)
    assert read_concepts(parquet).vocabulary.concepts == (Concept(name="dog", aliases=("pup",)),)
    assert read_concepts(np.array(["dog", "cat"])).vocabulary.names == ("dog", "cat")
    assert read_concepts(pd.Series(["dog", "cat"])).vocabulary.names == ("dog", "cat")


@pytest.mark.parametrize(
    "content",
    [
        SENTENCES,
        {"filet mignon": ["a cut of beef", "served on a plate"], "ramen": ["a bowl", "noodles"]},
        {"dog": ["four legs", "fur"], "cat": ["four legs", "whiskers"], "cow": ["fur", "horns"]},
        {"dog": ["which has four legs"], "cat": ["which is an animal"]},
        {"lion": ["tawny coat", "it lives in Africa."], "tiger": ["stripes", "in the forest."]},
    ],
)
def test_descriptions_are_prompts_and_never_names(tmp_path, content):
    found = read(tmp_path, "cupl.json", content)
    for concept, texts in zip(found.vocabulary, content.values(), strict=True):
        assert concept.aliases == ()
        assert len(concept.prompts) == len(texts)
        assert all(concept.name in prompt for prompt in concept.prompts)
    assert "were taken as prompts, not as names" in found.notes[0]


def test_other_names_are_said(tmp_path):
    found = read(tmp_path, "a.json", {"dog": ["hound", "pup"], "cat": ["kitty", "house cat"]})
    assert found.vocabulary[1].aliases == ("kitty", "house cat")
    assert found.notes == (
        "The texts given for 2 names were taken as other names ('hound' for 'dog').",
    )


@pytest.mark.parametrize(
    "content",
    [
        PETS_AND_FOOD,
        {"imagenet1k": ["tench", "goldfish"], "cifar10": ["airplane", "dog"]},
        {"animals": ["dog", "cat"], "vehicles": ["car", "bus"]},
        {"a": list("abcdefghijkl"), "b": list("mnopqrstuvw")},
        {"one": {"0": "dog"}, "two": {"0": "cat"}},
    ],
)
def test_names_of_several_datasets_ask_which(tmp_path, content):
    with pytest.raises(ConfigError, match=r"lists by dataset .* with --dataset-key") as told:
        read(tmp_path, "classes.json", content)
    key, names = next(iter(content.items()))
    assert repr(key) in str(told.value)
    found = read(tmp_path, "classes.json", content, dataset_key=key).vocabulary
    assert list(found.names) == (list(names.values()) if isinstance(names, dict) else names)
    with pytest.raises(ConfigError, match=r"Got 'nothing' instead"):
        read(tmp_path, "classes.json", content, dataset_key="nothing")


def test_the_other_remedy_works_too(tmp_path):
    records = [{"concept": name, "aliases": others} for name, others in PETS_AND_FOOD.items()]
    found = read(tmp_path, "a.json", records).vocabulary
    assert found[0] == Concept(name="pets", aliases=("cat", "dog"))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", "n02084071\nn02121620\n", r"holds ids \(n02084071\) and no names"),
        ("a.txt", "/m/011k07\n", r"holds ids .* class-descriptions\.csv"),
        (
            "a.json",
            {"cifar10": ["a photo of a {c}."], "pets": ["a {}."]},
            "holds prompt templates",
        ),
        ("a.txt", "a photo of a {}.\na drawing of a {}.\n", "holds prompt templates"),
        ("a.txt", ["x"], "--dataset-key 'pets'"),
    ],
)
def test_lists_without_names_are_refused(tmp_path, name, content, message):
    options = {"dataset_key": "pets"} if content == ["x"] else {}
    with pytest.raises(ConfigError, match=message):
        read(tmp_path, name, content, **options)


def test_categories_of_coco(realdata):
    path = realdata / "photos" / "coco-mini" / "annotations" / "instances_val2017.json"
    found = read_concepts(path)
    assert len(found.vocabulary) == 80
    assert {"person", "hot dog", "teddy bear"} <= set(found.vocabulary.names)


def test_bullets_counts_and_printed_aliases_are_no_part_of_names(tmp_path):
    for text in ("- dog\n* hot dog\n", "dog\t120\nhot dog\t30\n", "dog: 120\nhot dog: 30\n"):
        assert [c.name for c in read(tmp_path, "a.txt", text).vocabulary.concepts] == [
            "dog",
            "hot dog",
        ]
    assert [
        c.name for c in read(tmp_path, "b.txt", "Boeing 747\nBoeing 737\n").vocabulary.concepts
    ] == [
        "Boeing 747",
        "Boeing 737",
    ]
    table = "concept,aliases\ncat,\"['kitty', 'house cat']\"\ndog,[]\n"
    assert [c.aliases for c in read(tmp_path, "a.csv", table).vocabulary.concepts] == [
        ("kitty", "house cat"),
        (),
    ]


def test_definitions_are_prompts_and_never_names(tmp_path):
    found = read(tmp_path, "a.json", {"dog": "a domestic mammal", "cat": "a small feline"})
    assert [concept.aliases for concept in found.vocabulary] == [(), ()]
    assert found.vocabulary[0].prompts == ("dog, which is a domestic mammal",)
    aliased = read(tmp_path, "b.json", {"dog": "hound", "cat": "kitty"})
    assert aliased.vocabulary[0].aliases == ("hound",)


def test_classes_and_templates_by_dataset(tmp_path):
    nested = {
        "oxford_pets": {"classes": ["dog", "cat"], "templates": ["a photo of a {}."]},
        "food101": {"classes": ["pizza"], "templates": ["{}, a food."]},
    }
    with pytest.raises(ConfigError, match=r"'oxford_pets', 'food101'.*--dataset-key"):
        read(tmp_path, "a.json", nested)
    found = read(tmp_path, "b.json", nested, dataset_key="oxford_pets")
    assert found.vocabulary.names == ("dog", "cat")


def test_one_line_with_commas_is_refused(tmp_path):
    with pytest.raises(DataError, match="one line with commas"):
        read(tmp_path, "a.txt", "dog, cat, hot dog\n")


def test_a_dataset_of_one_class_is_a_dataset(tmp_path):
    with pytest.raises(ConfigError, match="--dataset-key"):
        read(tmp_path, "a.json", {"pets": ["dog", "cat"], "food": ["hot dog"]})
