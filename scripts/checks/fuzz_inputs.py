"""Smaller files that users hand over, and what reads them; for `fuzz_targets.py`."""

from __future__ import annotations

import gzip
import io
import json
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd
from fuzz_seeds import (
    CONCEPTS,
    BrokenPromiseError,
    Files,
    Reader,
    json_lines_of,
    only,
    parquet_of,
    read_dataset,
    some_captions,
)


def picture_of(kind: str, **options: Any) -> bytes:
    """Make a small picture."""
    from PIL import Image

    stream = io.BytesIO()
    picture = Image.linear_gradient("L").resize((24, 16)).convert(options.pop("mode", "RGB"))
    picture.save(stream, kind, **options)
    return stream.getvalue()


def _picture_seeds() -> list[Files]:
    return [
        {"a.jpg": picture_of("JPEG")},
        {"a.jpg": picture_of("JPEG", mode="CMYK", progressive=True)},
        {"a.png": picture_of("PNG")},
        {"a.png": picture_of("PNG", mode="P")},
        {"a.webp": picture_of("WEBP")},
        {"a.gif": picture_of("GIF", mode="P")},
        {"a.tiff": picture_of("TIFF", compression="tiff_lzw")},
        {"a.bmp": picture_of("BMP")},
        {"a.ico": picture_of("ICO", sizes=[(16, 16)])},
        {"a.jp2": picture_of("JPEG2000")},
        {"a.avif": picture_of("AVIF")},
    ]


def _read_picture(folder: Path) -> object:
    from conceptaudit.image.decode import UndecodableImageError, decode_image

    try:
        picture = decode_image(only(folder).read_bytes())
    except UndecodableImageError as error:
        return error.reason
    if picture.mode != "RGB" or not all(picture.size):
        raise BrokenPromiseError(f"a picture of {picture.mode}, {picture.size}")
    return picture.getpixel((0, 0))


def _file_seeds() -> list[Files]:
    pictures = {f"{name}.jpg": b"\xff\xd8x" for name in ("d/0", "d/1", "e/2")}
    told = {"d/0.txt": b"a dog", "d/1.json": b'{"caption": "a dog", "key": "1"}', "e/2.txt": b"\n"}
    shards = {f"00000/{i:09d}.jpg": b"\xff\xd8x" for i in range(2)}
    shards |= {f"00000/{i:09d}.txt": b"a dog" for i in range(2)}
    table = pd.DataFrame(
        {
            "key": [f"{i:09d}" for i in range(3)],
            "url": ["http://a"] * 3,
            "status": ["success", "success", "failed_to_download"],
            "error_message": [None, None, "404"],
        }
    )
    return [{**pictures, **told}, {**shards, "00000.parquet": parquet_of(table)}]


def _identity_seeds() -> list[Files]:
    table = some_captions()[["url", "key"]].assign(
        md5=[f"{i:032x}" for i in range(8)], sha256=f"{7:064X}", phash=list(range(-4, 4))
    )
    text = table.to_csv(index=False).encode()
    return [
        {"a.parquet": parquet_of(table)},
        {"a.csv": text},
        {"a.tsv.gz": gzip.compress(text.replace(b",", b"\t"), mtime=0)},
        {"a.jsonl": json_lines_of(table)},
        {"a.json": json.dumps(json.loads(table.to_json(orient="records"))).encode()},
    ]


def _read_identities(folder: Path) -> int:
    from conceptaudit.datasets import open_dataset
    from conceptaudit.datasets.identities import identity_kinds, read_identities

    dataset = open_dataset(only(folder), shard_rows=3)
    kinds = set(identity_kinds(dataset))
    n = 0
    for shard in dataset.shards():
        for some in read_identities(dataset, shard):
            n += len(some.keys)
            if not set(some.columns) <= kinds:
                raise BrokenPromiseError("identities of a kind that was not told")
            if any(len(values) != len(some.keys) for values in some.columns.values()):
                raise BrokenPromiseError("identities of another length than the keys")
    return n


def _read_names(folder: Path) -> object:
    from conceptaudit.zeroshot.class_names import named_classes
    from conceptaudit.zeroshot.class_prompts import named_prompts

    texts = named_classes(folder / "n.txt").names
    templates = named_prompts(folder / "t.txt", texts).templates
    "".join(template.replace("{}", name) for template in templates for name in texts).encode()
    return templates


def _example_seeds() -> list[Files]:
    pictures = {"p/0.png": b"x", "p/hot dog/1.png": b"y", "p/dog/2.png": b"z"}
    plain = "concept,path\ndog,p/0.png\nhot dog,p/hot dog/1.png\n"
    quoted = plain.replace("p/0.png", '"p/0.png"')
    return [{"e.csv": text.encode("utf-8-sig"), **pictures} for text in (plain, quoted)]


def _read_examples(folder: Path) -> object:
    from conceptaudit.longtail.examples import read_examples

    found = read_examples(folder / "e.csv", CONCEPTS[:2], CONCEPTS)
    if set(found.files) != set(CONCEPTS[:2]) or not all(found.files.values()):
        raise BrokenPromiseError("a selected concept without an example")
    return found.digest


def _sense_seeds() -> list[Files]:
    text = "concept,sense\nhot dog,a warm animal\n'=1+1,a sum\nnone,x\n"
    return [{"s.csv": text.encode()}, {"s.csv": text.replace(",", ";").encode()}]


def _read_senses(folder: Path) -> object:
    from conceptaudit.longtail.homonyms import read_other_senses

    found = read_other_senses(only(folder), CONCEPTS)
    if not all(0 <= class_id < len(CONCEPTS) and sense.strip() for class_id, sense in found):
        raise BrokenPromiseError("a sense of no class")
    "".join(sense for _, sense in found).encode()
    return found


def _prediction_seeds() -> list[Files]:
    table = pd.DataFrame(
        {
            "concept": ["dog", "hot dog", "=1+1"],
            "count": [5, 1, 0],
            "accuracy": [0.5, 0.25, 0.1],
            "low": [0.4, 0.2, 0.0],
            "high": [0.6, 0.5, 0.3],
            "observed": [0.5, None, 0.2],
            "held_out": [True, False, False],
        }
    )
    return [{"p.csv": table.to_csv(index=False).encode()}, {"p.parquet": parquet_of(table)}]


def _read_predictions(folder: Path) -> object:
    from conceptaudit.report.inputs import read_predictions

    found = read_predictions(only(folder))
    for name in ("accuracy", "low", "high", "observed"):
        if not found[name].dropna().between(0, 1).all():
            raise BrokenPromiseError(f"{name} outside [0, 1]")
    return found


def _truth_seeds() -> list[Files]:
    table = pd.DataFrame(
        {
            "index": range(3),
            "key": ["0", "1", "2"],
            "text": [["dog"], ["dog", "hot dog"], []],
            "image": [["dog"], [], ["hot dog"]],
            "joint": [["dog"], [], []],
            "link_rot": [False, False, True],
            "text_ok": [True, True, True],
            "image_ok": [True, False, True],
        }
    )
    return [{"truth.parquet": parquet_of(table)}]


@cache
def _counted() -> Any:
    from conceptaudit.records import ConceptFrequencies
    from conceptaudit.report.inputs import RunRecord

    table = pd.DataFrame({"concept": list(CONCEPTS), "n_text": [5, 1, 0]}).astype(
        {"n_text": "Int64"}
    )
    return RunRecord(
        folder=Path("nowhere"),
        frequencies=ConceptFrequencies(table),
        alignment={},
        manifest={"shards": []},
        concepts=CONCEPTS,
    )


def _read_truth(folder: Path) -> object:
    from conceptaudit.report.truth import measure

    [found] = measure(_counted(), only(folder))
    if (found.table["true"] < 0).any():
        raise BrokenPromiseError("a negative truth")
    return found.rank_correlation


INPUTS: dict[str, Reader] = {
    "picture": Reader(seeds=_picture_seeds, read=_read_picture),
    "files": Reader(seeds=_file_seeds, read=lambda f: read_dataset(f, layout="files")),
    "identities": Reader(seeds=_identity_seeds, read=_read_identities),
    "class-names": Reader(
        seeds=lambda: [{"n.txt": b"dog\nhot dog\n\n caf\xc3\xa9\n", "t.txt": b"a {}.\nthe {c}\n"}],
        read=_read_names,
    ),
    "examples": Reader(
        seeds=_example_seeds,
        read=_read_examples,
        spared=("p/0.png", "p/dog/2.png", "p/hot dog/1.png"),
    ),
    "other-senses": Reader(seeds=_sense_seeds, read=_read_senses),
    "predictions": Reader(seeds=_prediction_seeds, read=_read_predictions),
    "truth": Reader(seeds=_truth_seeds, read=_read_truth),
}
