"""The readers that `fuzz_readers.py` damages files of: valid seeds, and what reads them.

A reader's function gets the folder with the files. It may return or raise one of our own errors;
anything else is a fault. Where a reader promises more (samples are never counted twice, every part
is as long as the keys), the function checks that as well.
"""

from __future__ import annotations

import gzip
import io
import json
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
from fuzz_folders import FOLDERS
from fuzz_inputs import INPUTS
from fuzz_seeds import (
    CONCEPTS,
    BrokenPromiseError,
    Files,
    Reader,
    json_lines_of,
    npy_of,
    only,
    parquet_of,
    read_dataset,
    some_captions,
    some_download,
    some_members,
    some_vectors,
    tar_of,
    zstd_of,
)
from fuzz_sets import SETS


def _parquet_seeds() -> list[Files]:
    image = pd.DataFrame(
        {"text": ["a", "b"], "image": [{"bytes": b"x", "path": "a.jpg"}, {"bytes": None}]}
    )
    return [
        {"a.parquet": parquet_of(some_captions())},
        {"a.parquet": parquet_of(some_download(), compression="zstd", write_page_checksum=True)},
        {"a.parquet": parquet_of(some_captions(), row_group_size=3, use_dictionary=False)},
        {"a.parquet": parquet_of(image)},
    ]


def _delimited_seeds(separator: str, name: str) -> list[Files]:
    table = some_captions()
    plain = table.to_csv(index=False, sep=separator).encode()
    bare = "".join(f"{c}{separator}{u}\n" for c, u in zip("abc", table["url"], strict=False))
    return [{name: plain}, {name: bare.encode()}, {f"{name}.gz": gzip.compress(plain, mtime=0)}]


def _lines_seeds() -> list[Files]:
    lines = json_lines_of(some_captions())
    return [
        {"a.jsonl": lines},
        {"a.jsonl.gz": gzip.compress(lines, mtime=0)},
        {"a.jsonl.zst": zstd_of(lines)},
    ]


def _json_seeds() -> list[Files]:
    pictures = [{"id": i, "file_name": f"{i}.jpg"} for i in range(3)]
    coco = {
        "images": pictures,
        "annotations": [{"image_id": i % 3, "id": i, "caption": f"a dog {i}"} for i in range(5)],
    }
    karpathy = {
        "images": [
            {"filename": "a.jpg", "filepath": "val", "sentences": [{"raw": "a dog"}, {"raw": "b"}]}
        ]
    }
    talk = [{"from": "human", "value": "?"}, {"from": "gpt", "value": "a dog"}]
    lists = [{"image": "1.jpg", "caption": ["a dog", "a cat"]}, {"image": "2.jpg", "caption": []}]
    by_key = {"1.jpg": ["a dog"], "2.jpg": ["a cat", "b"]}
    sbu = {"image_urls": ["http://a", "http://b"], "captions": ["a", "b"]}
    listed = [{"caption": "a dog", "id": 1}, {"caption": "b", "id": 2}]
    return [
        {"captions.json": json.dumps(value).encode()}
        for value in (
            coco,
            karpathy,
            sbu,
            listed,
            lists,
            by_key,
            {"data": listed},
            [{"id": "x", "conversations": talk}],
        )
    ]


def _sidecar_seeds() -> list[Files]:
    texts = [part for part in some_members() if part[0].endswith(".txt")]
    return [{"00000.tar": tar_of(texts), "00000.parquet": parquet_of(some_download())}]


def _embedding_seeds() -> list[Files]:
    table = parquet_of(some_captions())
    half = {
        "img_emb/img_emb_0.npy": npy_of(some_vectors().astype(np.float16)),
        "metadata/metadata_0.parquet": table,
    }
    buffer = io.BytesIO()
    np.savez(buffer, b32_img=some_vectors(), l14_img=some_vectors())
    return [
        half,
        {"image_embeddings.npy": npy_of(some_vectors())},
        {"a.npz": buffer.getvalue(), "a.parquet": table},
    ]


CONCEPT_FILES: Files = {
    "c.txt": b"dog\nhot dog\n# no comment\ncaf\xc3\xa9\n",
    "c.csv": b"concept,aliases,prompts,class_index\ndog,puppy|hound,a dog,0\nhot dog,,,1\n",
    "c.json": json.dumps(
        {"concepts": [{"name": "dog", "aliases": ["puppy"], "class_index": 3}, "hot dog"]}
    ).encode(),
    "d.json": json.dumps({"0": ["n01440764", "tench"], "1": ["n01443537", "goldfish"]}).encode(),
    "c.jsonl": b'{"concept": "dog"}\n{"concept": "cat", "aliases": "kitty|puss"}\n',
    "c.yaml": b"concepts:\n  - name: dog\n    aliases: [puppy, hound]\n  - hot dog\n",
    "e.txt": b'"dog"\n"hot_dog"\n',
    "f.txt": b"n02084071 dog, domestic dog\nn02121620 cat\n",
    "g.txt": b"/a/airfield 0\n/b/bakery/shop 1\n",
    "h.txt": b"{0: 'tench, Tinca tinca', 1: 'goldfish, Carassius auratus'}",
    "h.csv": b'"/m/011k07",Tortoise\n"/m/011q46kg",Container\n',
    "e.json": json.dumps(
        {"ramen": ["a bowl of soup", "served hot"], "dog": ["four legs"]}
    ).encode(),
    "f.json": json.dumps({"categories": [{"name": "cow", "synonyms": ["cow", "ox"]}]}).encode(),
    "c.toml": b'concepts = ["dog", "hot dog"]\n[other]\nx = 1979-05-27T07:32:00Z\n',
}


def _read_concepts(folder: Path) -> object:
    from conceptaudit.vocabulary import read_concepts

    found = read_concepts(only(folder))
    for concept in found.vocabulary:
        "".join((concept.name, *concept.aliases, *concept.prompts)).encode()
    return found


def _accuracy_seeds() -> list[Files]:
    table = pd.DataFrame(
        {
            "model": "RN50", "pretraining": "yfcc15m", "dataset": "pets",
            "concept": ["dog", "cat"], "n_correct": [9, 5], "n_images": [10, 10],
        }
    )  # fmt: skip
    paper = {"backboneRN50_pretrainedyfcc15m": {"full": 50.0, "classwise": {"dog": 50.0, "cat": 7}}}
    found = {"backboneRN50_pretrainedcc3m": {"full": 0.5, "conceptwise": {"dog": 0.5}}}
    overall = {"dataset": "x", "model": "y", "metrics": {"acc1": 0.5}}
    return [
        {"a.csv": table.to_csv(index=False).encode()},
        {"a.tsv": table.to_csv(index=False, sep="\t").encode()},
        {"a.parquet": parquet_of(table)},
        {"pets_ensemble_results.json": json.dumps(paper).encode()},
        {"coco_i2t_k=1_results.json": json.dumps(found).encode()},
        {"a.jsonl": json.dumps(overall).encode()},
    ]


def _read_accuracies(folder: Path) -> object:
    from conceptaudit.zeroshot.readers import read_accuracies

    found = read_accuracies(only(folder))
    if not found.table["accuracy"].between(0, 1).all():
        raise BrokenPromiseError("an accuracy outside [0, 1]")
    return found


def _count_seeds() -> list[Files]:
    table = pd.DataFrame(
        {
            "concept": ["dog", "cat"],
            "n_text": [3, 0],
            "n_text_low": [1.0, 0],
            "n_text_high": [7.0, 3],
        }
    )
    return [
        {"pets_cc3m_rampp0.7_search_counts.json": json.dumps({"dog": 12, "cat": 0}).encode()},
        {"f.csv": table.to_csv(index=False).encode()},
        {"f.parquet": parquet_of(table)},
    ]


def _read_counts(folder: Path) -> object:
    from conceptaudit.frequency.readers import read_frequencies

    found = read_frequencies(only(folder))
    for column in found.counted:
        if (found.table[column].dropna() < 0).any():
            raise BrokenPromiseError("a negative count")
    return found


def _review_seeds() -> list[Files]:
    rows = [
        {"id": "ab", "concept": "dog", "file": "dog/0.jpg", "key": "k", "score": 0.3,
         "verdict": "right", "comment": ""},
        {"id": "cd", "concept": "'=1+1", "file": "x", "key": "l", "score": 0.2, "verdict": "wrong",
         "comment": 'a "quoted", one'},
    ]  # fmt: skip
    table = pd.DataFrame(rows)
    return [
        {"r.csv": table.to_csv(index=False).encode()},
        {"r.csv": table.to_csv(index=False, sep=";").encode()},
        {"r.json": json.dumps(rows).encode()},
    ]


def _read_review(folder: Path) -> object:
    from conceptaudit.longtail.review import read_review

    return read_review(only(folder), CONCEPTS).digest


@cache
def _frequencies() -> Any:
    from conceptaudit.records import ConceptFrequencies

    table = pd.DataFrame({"concept": list(CONCEPTS), "n_text": [5, 1, 0]})
    return ConceptFrequencies(table.astype({"n_text": "Int64"}), source="x")


def _read_selection(folder: Path) -> object:
    from conceptaudit.longtail.select import read_selection

    return read_selection(only(folder), _frequencies())


def _selection_seeds() -> list[Files]:
    text = "concept,stratum,why\ndog,0,rare\n'=1+1,,\n"
    return [{"s.csv": text.encode()}, {"s.csv": text.replace(",", ";").encode()}]


def _tag_seeds() -> list[Files]:
    table = pd.DataFrame({"key": ["1", "2"], "concept": ["dog", "hot dog"], "score": [0.5, 0.75]})
    return [
        {"t.csv": table.to_csv(index=False).encode()},
        {"t.jsonl": json_lines_of(table)},
        {"t.parquet": parquet_of(table)},
        {"l.parquet": parquet_of(pd.DataFrame({"key": ["1"], "tags": [["a"]], "scores": [[0.5]]}))},
        {"l.csv": b"01,dog,bun\n02,cat\n"},
        {"l.json": b'{"01": {"dog": 0.5}, "02": ["cat"]}'},
        {"l.jsonl": b'{"key": "1", "objects": [{"class": "dog", "score": 1, "box": [0, 0]}]}\n'},
    ]


def _read_tags(folder: Path) -> object:
    from conceptaudit.image.tag_files import read_tag_rows

    return [len(block.keys) for block in read_tag_rows(only(folder))]


@cache
def _vocabulary() -> Any:
    from conceptaudit.vocabulary import read_concepts

    return read_concepts(list(CONCEPTS)).vocabulary


def _read_labels(folder: Path) -> object:
    from conceptaudit.image.calibration.labels import read_labels

    return read_labels(only(folder), _vocabulary())


def _label_seeds() -> list[Files]:
    table = pd.DataFrame({"key": ["1", "2"], "concept": ["dog", "dog"], "present": [1, 0]})
    return [{"l.csv": table.to_csv(index=False).encode()}, {"l.parquet": parquet_of(table)}]


def _calibration_seeds() -> list[Files]:
    from conceptaudit.image.calibration import Calibration

    n = len(CONCEPTS)
    column = np.linspace(0.1, 0.3, n)
    made = Calibration(
        method="captions", rule="f1", concepts=CONCEPTS, vocabulary="v", vectors="w",
        background="common nouns", centre=np.zeros(4),
        n_images=9, evidence=np.arange(n), thresholds=column, precision=column, prevalence=column,
        precision_low=column / 2, precision_high=column, recall_low=column / 2, recall_high=column,
        auc=column, auc_low=column / 2, auc_high=column, overall_auc=(0.8, 0.7, 0.9),
        reasons=("",) * n, upper=column,
        prevalence_low=column / 2, prevalence_high=column * 2,
        rates=dict.fromkeys(("recall", "false_alarm", "caption_recall", "caption_mistake"),
                            np.tile(column[:, None], (1, 3))),
    )  # fmt: skip
    with TemporaryDirectory() as folder:
        made.save(Path(folder, "c.json"))
        return [{"c.sealed.json": Path(folder, "c.json").read_bytes()}]


def _read_calibration(folder: Path) -> object:
    from conceptaudit.image.calibration import Calibration

    return Calibration.load(only(folder)).digest


def _curve_seeds() -> list[Files]:
    from conceptaudit.curves import fit_curve
    from conceptaudit.records import ConceptAccuracies, ConceptFrequencies

    rng = np.random.default_rng(0)
    names = [f"c{i}" for i in range(12)]
    counts = pd.DataFrame({"concept": names, "n_text": [10 * 2**i for i in range(12)]})
    accuracies = pd.DataFrame(
        {
            "model": "m", "pretraining": "p", "dataset": "d", "metric": "accuracy",
            "concept": names, "n_images": 50, "n_correct": rng.integers(5, 45, 12),
        }
    )  # fmt: skip
    accuracies["accuracy"] = accuracies["n_correct"] / accuracies["n_images"]
    types = {"n_images": "Int64", "n_correct": "Int64"}
    curve = fit_curve(
        ConceptFrequencies(counts.astype({"n_text": "Int64"}), source="x"),
        ConceptAccuracies(accuracies.astype(types)),
        family="loglinear",
    )
    with TemporaryDirectory() as folder:
        curve.save(Path(folder, "curve.json"))
        return [{"curve.json": Path(folder, "curve.json").read_bytes()}]


def _read_curve(folder: Path) -> object:
    """Read a curve and predict with it."""
    from conceptaudit.curves import Curve, predict

    found = predict(Curve.load(only(folder)), _frequencies())
    if not found["accuracy"].dropna().between(0, 1).all():
        raise BrokenPromiseError("an accuracy outside [0, 1]")
    return found


def _vector_seeds() -> list[Files]:
    return [{"v.npy": npy_of(some_vectors(len(CONCEPTS)))}]


def _read_vectors(folder: Path) -> object:
    from conceptaudit.image.vectors import read_concept_vectors

    return read_concept_vectors(only(folder), len(CONCEPTS))


def _set_seeds() -> list[Files]:
    tar = tar_of([(f"{i}.{end}", b"1" if end == "cls" else b"x") for i in range(3)
                for end in ("jpg", "cls")])  # fmt: skip
    table = pd.DataFrame({"image": [{"bytes": b"x", "path": "a"}] * 2, "label": [0, 1],
                          "name": ["dog", "cat"]})  # fmt: skip
    return [
        {
            "classnames.txt": b"dog\nhot dog\n",
            "zeroshot_classification_templates.txt": b"a photo of a {c}.\n",
            "test/0.tar": tar,
        },
        {"test-0.parquet": parquet_of(table)},
    ]


def _read_set(folder: Path) -> object:
    from conceptaudit.zeroshot.sets import open_evaluation_set

    found = open_evaluation_set(folder)
    for shard in found.dataset.shards():
        for _ in found.dataset.read(shard, found.dataset.provides):
            pass
    return found


READERS: dict[str, Reader] = {
    "parquet": Reader(seeds=_parquet_seeds, read=lambda f: read_dataset(only(f))),
    "csv": Reader(
        seeds=lambda: _delimited_seeds(",", "a.csv"), read=lambda f: read_dataset(only(f))
    ),
    "tsv": Reader(
        seeds=lambda: _delimited_seeds("\t", "a.tsv"), read=lambda f: read_dataset(only(f))
    ),
    "jsonl": Reader(seeds=_lines_seeds, read=lambda f: read_dataset(only(f))),
    "json": Reader(seeds=_json_seeds, read=lambda f: read_dataset(only(f))),
    "tar": Reader(
        seeds=lambda: [{"00000.tar": tar_of(some_members())}], read=lambda f: read_dataset(only(f))
    ),
    "sidecar": Reader(seeds=_sidecar_seeds, read=read_dataset, spared=("00000.tar",)),
    "embeddings": Reader(seeds=_embedding_seeds, read=read_dataset),
    "concepts": Reader(
        seeds=lambda: [{name: data} for name, data in CONCEPT_FILES.items()], read=_read_concepts
    ),
    "concept-vectors": Reader(seeds=_vector_seeds, read=_read_vectors),
    "accuracies": Reader(seeds=_accuracy_seeds, read=_read_accuracies),
    "counts": Reader(seeds=_count_seeds, read=_read_counts),
    "review": Reader(seeds=_review_seeds, read=_read_review),
    "selection": Reader(seeds=_selection_seeds, read=_read_selection),
    "image-tags": Reader(seeds=_tag_seeds, read=_read_tags),
    "labels": Reader(seeds=_label_seeds, read=_read_labels),
    "calibration": Reader(seeds=_calibration_seeds, read=_read_calibration),
    "curve": Reader(seeds=_curve_seeds, read=_read_curve),
    "evaluation-set": Reader(seeds=_set_seeds, read=_read_set),
    **INPUTS,
    **FOLDERS,
    **SETS,
}
