"""The whole road on real data: audit, fit, predict, long-tail set."""

import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from conceptaudit.auditing import AuditOptions, audit
from conceptaudit.curves import fit_curve, predict
from conceptaudit.frequency.readers import read_frequencies
from conceptaudit.longtail import LongTailOptions, build_long_tail
from conceptaudit.records import Concept, ConceptFrequencies, ConceptVocabulary
from conceptaudit.vocabulary import read_concepts
from conceptaudit.zeroshot.readers import read_accuracies


def test_five_captions_of_one_picture_are_five_samples(realdata: Path, tmp_path: Path) -> None:
    """500 rows, 100 photographs: joining by picture would make 2,500 pairs of them."""
    run = audit(
        realdata / "clip/flickr8k_vitb32",
        realdata / "clip/detic_text_embeddings/coco_categories.csv",
        tmp_path / "run",
        options=AuditOptions(
            concept_vectors=str(realdata / "clip/detic_text_embeddings/coco_clip_a+cname.npy"),
            threshold=0.21,
        ),
    )
    assert run.alignment.n_samples == 500
    table = run.table.set_index("concept")
    assert (table["n_joint"] <= table[["n_text", "n_image"]].min(axis=1)).all()
    # the same picture five times: image counts come in fives
    assert (table["n_image"] % 5 == 0).all()
    # "dog" separates these photographs, so at this threshold nearly all named dogs are seen
    assert table.loc["dog", "n_joint"] >= 0.95 * table.loc["dog", "n_text"] > 100


def test_web_captions_in_several_languages(realdata: Path, tmp_path: Path) -> None:
    alt_text = pd.read_parquet(realdata / "captions/laion_alt_text_10k.parquet").head(1500)
    alt_text.to_parquet(tmp_path / "laion.parquet")
    lvis = realdata / "clip/detic_text_embeddings/lvis_categories.csv"
    run = audit(tmp_path / "laion.parquet", lvis, tmp_path / "run")
    assert run.account["text"]["n_samples"] == 1500
    assert (run.table["n_text"] > 0).sum() > 200
    assert sum(run.account["text"]["dropped"].values()) + run.account["text"]["n_used"] == 1500


def test_a_folder_that_clip_retrieval_wrote(realdata: Path, tmp_path: Path) -> None:
    source = realdata / "clip/clip_retrieval_output"
    run = audit(
        source,
        realdata / "clip/detic_text_embeddings/lvis_categories.csv",
        tmp_path / "run",
        options=AuditOptions(
            concept_vectors=str(realdata / "clip/detic_text_embeddings/lvis_v1_clip_a+cname.npy"),
            threshold=0.25,
        ),
    )
    assert run.alignment.n_samples == 9
    counts = run.table.set_index("concept")
    assert counts.loc["jersey", "n_text"] == 2  # LVIS calls a T-shirt a jersey
    rng = np.random.default_rng(0)
    found = counts.index[counts["n_image"] > 0][:20]
    accuracies = pd.DataFrame(
        {"model": "m", "dataset": "d", "concept": found, "accuracy": rng.random(len(found))}
    )
    accuracies.to_csv(tmp_path / "accuracies.csv", index=False)
    curve = fit_curve(
        read_frequencies(tmp_path / "run"),
        read_accuracies(tmp_path / "accuracies.csv"),
        count="n_image",
    )
    assert curve.fits[0].usage.n_used == len(found)
    predicted = predict(curve, run.frequencies)
    assert predicted["accuracy"].between(0, 1).all()
    assert (predicted["low"] <= predicted["accuracy"]).all()
    assert (predicted["accuracy"] <= predicted["high"]).all()
    tail = build_long_tail(
        tmp_path / "run", source, tmp_path / "tail", options=LongTailOptions(k=3, per_class=2)
    )
    assert 1 <= len(tail.images) <= 6


def test_published_counts_and_accuracies(realdata: Path) -> None:
    counts = read_frequencies(realdata / "reference/search_counts", pretraining="cc3m")
    scores = read_accuracies(
        sorted((realdata / "reference/zero_shot_evaluations").glob("*_ensemble_results.json"))
    )
    curve = fit_curve(counts, scores, seed=0)
    for fit in curve.fits:
        assert fit.usage.n_used == 3972
        assert fit.usage.n_zero == 2269
        assert fit.line.slope_low > 0
        # most of the published correlation of bin means survives shuffling within datasets
        assert fit.binned.r > 0.95 > fit.line.r
    asked = ConceptFrequencies(
        pd.DataFrame({"concept": ["a", "b", "c"], "n_joint": pd.array([0, 100, 10**9], "Int64")})
    )
    predicted = predict(curve, asked, model="RN50")
    assert predicted["accuracy"].is_monotonic_increasing
    assert predicted["extrapolated"].tolist() == [False, False, True]


@pytest.fixture
def packed_coco(realdata: Path, tmp_path: Path) -> Path:
    """Twenty photographs with their captions, as img2dataset packs them."""
    root = realdata / "photos/coco-mini"
    captions = json.loads((root / "annotations/captions_val2017.json").read_text())
    files = {image["id"]: image["file_name"] for image in captions["images"][:20]}
    first = {a["image_id"]: a["caption"] for a in reversed(captions["annotations"])}
    folder = tmp_path / "coco"
    folder.mkdir()
    with tarfile.open(folder / "00000.tar", "w") as tar:
        for number, (image, name) in enumerate(files.items()):
            members = {
                "jpg": (root / "val2017" / name).read_bytes(),
                "txt": first[image].encode(),
                "json": json.dumps({"caption": first[image], "status": "success"}).encode(),
            }
            for suffix, data in members.items():
                member = tarfile.TarInfo(f"{number:09d}.{suffix}")
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
    return folder


def test_photographs_through_open_clip_to_a_long_tail_set(
    packed_coco: Path, realdata: Path, tiny_clip: Path, tmp_path: Path
) -> None:
    names = read_concepts(realdata / "clip/detic_text_embeddings/coco_categories.csv").vocabulary
    person = Concept(name="person", aliases=("man", "woman", "boy", "girl", "child"))
    vocabulary = ConceptVocabulary((person, *(c for c in names if c.name != "person")))
    options = AuditOptions(clip=str(tiny_clip), device="cpu", threshold=0.0)
    run = audit(packed_coco, vocabulary, tmp_path / "run", options=options)
    assert run.account["image"]["n_used"] == run.account["text"]["n_used"] == 20
    instances = json.loads(
        (realdata / "photos/coco-mini/annotations/instances_val2017.json").read_text()
    )
    # annotators agree with nearly all that the captions name
    categories = {c["id"]: c["name"] for c in instances["categories"]}
    captions = json.loads(
        (realdata / "photos/coco-mini/annotations/captions_val2017.json").read_text()
    )
    order = [image["id"] for image in captions["images"][:20]]
    shown: dict[int, set[str]] = {image: set() for image in order}
    for annotation in instances["annotations"]:
        if annotation["image_id"] in shown:
            shown[annotation["image_id"]].add(categories[annotation["category_id"]])
    tags = pd.concat(map(pd.read_parquet, sorted((tmp_path / "run/text").glob("*[0-9].parquet"))))
    agreed = [
        vocabulary.names[concept] in shown[order[int(key)]]
        for key, concept in zip(tags["key"], tags["concept_id"], strict=True)
    ]
    assert len(agreed) >= 15
    assert np.mean(agreed) >= 0.85
    tail = build_long_tail(
        tmp_path / "run",
        realdata / "photos/coco-mini/train2017",
        tmp_path / "tail",
        options=LongTailOptions(count="text", k=5, per_class=3),
    )
    assert len(tail.images) == len(list((tmp_path / "tail/images").rglob("*.jpg"))) > 0
