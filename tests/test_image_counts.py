"""Counts of images on photographs and vectors that nobody here made: right, or not given."""

import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from conceptaudit.auditing import AuditOptions, AuditRun, audit, correct, draw_sample
from conceptaudit.cli.main import main
from conceptaudit.errors import DataError
from conceptaudit.records import Concept, ConceptVocabulary
from conceptaudit.text.pipeline import find_pipeline
from conceptaudit.text.tagger import TextTagger, annotator_of
from conceptaudit.text.wordnet import kinds_of
from conceptaudit.validation import validate

SHARED = Path(__file__).parents[2] / "shared" / "data"
REAL = Path(os.environ.get("CONCEPTAUDIT_REALDATA", SHARED)) / "clip"
pytestmark = pytest.mark.usefixtures("realdata")
PHOTOS = REAL / "flickr8k_vitb32_photos"
DETIC = REAL / "detic_text_embeddings"


def listed(name: str) -> tuple[ConceptVocabulary, np.ndarray]:
    """Read a concept list with its published text vectors."""
    table = pd.read_csv(DETIC / f"{name}_categories.csv")
    file = {"coco": "coco_clip_a+cname.npy", "lvis": "lvis_v1_clip_a+cname.npy"}[name]
    synsets = table["synset"] if "synset" in table else [None] * len(table)
    concepts = [Concept(name=n, synset=s) for n, s in zip(table["name"], synsets, strict=True)]
    return ConceptVocabulary(tuple(concepts)), np.load(DETIC / file, allow_pickle=False)


def run_on(
    source: Path, concepts: ConceptVocabulary, vectors: np.ndarray, folder: Path, **more: object
) -> AuditRun:
    folder.mkdir()
    np.save(folder / "vectors.npy", vectors)
    options = AuditOptions(concept_vectors=str(folder / "vectors.npy"), evidence=0, **more)
    return audit(source, concepts, folder / "run", options=options)


@pytest.fixture(scope="module")
def truth() -> Callable[[str, str | None], int]:
    """Photographs of which any of the five captions names a concept or a kind of it."""
    metadata = pd.read_parquet(PHOTOS / "metadata" / "metadata_0.parquet")

    def count(name: str, synset: str | None = None) -> int:
        concept = Concept(name=name, aliases=kinds_of(name, synset))
        vocabulary = ConceptVocabulary((concept,))
        tagger = TextTagger(vocabulary=vocabulary, pipeline=find_pipeline("bundled", pos="noun"))
        named = [
            bool(found.counts) for found in annotator_of(tagger).tag(list(metadata["caption"]))
        ]
        return int(pd.Series(named).groupby(metadata["image_path"].to_numpy()).any().sum())

    return count


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> AuditRun:
    concepts, vectors = listed("coco")
    return run_on(PHOTOS, concepts, vectors, tmp_path_factory.mktemp("counts") / "coco")


def test_every_count_is_right_or_not_given(
    run: AuditRun, truth: Callable[[str, str | None], int]
) -> None:
    table = run.table.set_index("concept")
    given = table[table["n_image_corrected"].notna()]
    assert {"person", "dog", "bicycle", "skateboard"} <= set(given.index)
    errors = []
    for name, row in given.iterrows():
        true = truth(str(name), None)
        assert row["n_image_corrected_low"] <= true <= row["n_image_corrected_high"], name
        errors.append(abs(np.log(row["n_image_corrected"] / true)))
    assert np.median(errors) <= 0.1
    assert given.loc["person", "n_image_corrected"] == pytest.approx(404, rel=0.15)
    assert (given["tag_precision"] <= given["tag_precision_high"] + 1e-9).all()


def test_what_captions_cannot_tell_has_a_reason_and_no_number(run: AuditRun) -> None:
    table = run.table.set_index("concept")
    ball = table.loc["sports ball"]
    assert ball["n_image_reason"] == "few_mentions"
    numbers = [column for column in table if "_corrected" in column or column.startswith("tag_")]
    missing = table["n_image_reason"].notna()
    assert table.loc[missing, numbers].isna().all(axis=None)
    assert table.loc[~missing, numbers].notna().all(axis=None)
    assert (table["n_image_upper"].dropna() > 0).all()


def test_the_unit_is_the_image_and_kinds_are_mentions(run: AuditRun) -> None:
    person = run.table.set_index("concept").loc["person"]
    assert person["n_text_kinds"] > 10 * person["n_text"]  # captions say man, woman, child
    assert person["n_image_corrected"] <= 488 < person["n_text_kinds"]
    assert any("488 images, each once" in note for note in run.notes)
    kinds = pd.read_csv(run.folder / "rollup.csv").set_index("kind")
    assert kinds.loc["animal", "n_text"] > 500
    assert kinds.loc["animal", "n_concepts"] == 11  # the ten of COCO, and "mouse" by its main sense


def test_a_count_does_not_depend_on_the_list(run: AuditRun, tmp_path: Path) -> None:
    concepts, vectors = listed("coco")
    few = [concepts.names.index(name) for name in ("dog", "bicycle", "car", "cat")]
    short = run_on(
        PHOTOS, ConceptVocabulary(tuple(concepts[i] for i in few)), vectors[few], tmp_path / "few"
    )
    columns = ["n_image", "n_image_corrected", "auc"]
    both = short.table.merge(run.table, on="concept", suffixes=("", "_all"))
    for column in columns:
        np.testing.assert_allclose(
            both[column].astype(float), both[f"{column}_all"].astype(float), rtol=0.05
        )


def test_scores_without_signal_count_no_image(tmp_path: Path) -> None:
    """The captions of other photographs: the model is good, and yet nothing can be counted."""
    concepts, vectors = listed("coco")
    metadata = pd.read_parquet(PHOTOS / "metadata" / "metadata_0.parquet")
    images = np.load(PHOTOS / "img_emb" / "img_emb_0.npy", allow_pickle=False)
    for part in ("img_emb", "metadata"):
        (tmp_path / "set" / part).mkdir(parents=True)
    np.save(tmp_path / "set/img_emb/img_emb_0.npy", np.roll(images, 5 * 97, axis=0))
    metadata.to_parquet(tmp_path / "set/metadata/metadata_0.parquet")
    run = run_on(tmp_path / "set", concepts, vectors, tmp_path / "out")
    assert run.notes[0].startswith("No image counts")
    assert set(run.table["n_image_reason"]) == {"no_signal"}
    columns = [c for c in run.table if c.startswith(("n_image", "n_joint")) and c[-6:] != "reason"]
    assert run.table[columns].isna().all(axis=None)
    assert run.table["n_text"].sum() > 0


def test_background_vectors_are_checked(tmp_path: Path) -> None:
    concepts, vectors = listed("coco")
    file = tmp_path / "nouns.npy"
    np.save(file, vectors[:9])
    with pytest.raises(DataError, match="--background-vectors must be a float array"):
        run_on(PHOTOS, concepts, vectors, tmp_path / "x", background_vectors=str(file))


def test_a_judged_sample_counts_what_captions_cannot_tell(
    run: AuditRun, truth: Callable[[str, str | None], int], tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(run.folder, folder)
    names = ["dog", "bench", "sports ball"]
    table, _ = draw_sample(folder, budget=60, concepts=names)
    assert len(table) == 180
    assert (table.drop_duplicates("key")["inclusion_probability"] ** -1).sum() == pytest.approx(488)
    captions = pd.read_parquet(PHOTOS / "metadata" / "metadata_0.parquet")
    said = captions.groupby("image_path")["caption"].agg(" ".join).str.lower()
    words = {"dog": r"\bdogs?\b", "bench": r"\bbench(?:es)?\b", "sports ball": r"\bballs?\b"}
    table["present"] = [
        int(bool(re.search(words[c], said[k])))
        for k, c in zip(table["key"], table["concept"], strict=True)
    ]
    table.loc[0, "present"] = pd.NA  # left open
    table.to_csv(tmp_path / "judge.csv", index=False)
    corrected, notes = correct(folder, tmp_path / "judge.csv")
    assert any("1 row" in note for note in notes)
    rows = corrected.set_index("concept").loc[names]
    true = [int(said.str.contains(words[name]).sum()) for name in names]
    assert (rows["n_image_judged_low"] <= true).all()
    assert (rows["n_image_judged_high"] >= true).all()
    assert rows["n_image_judged_sample"].tolist().count(60) == 2
    assert not validate(folder).faults
    assert main(["judge", str(folder), "-c", "dog", "-o", str(tmp_path / "judge.csv")]) == 2


def test_captions_are_judged_for_their_sense(run: AuditRun, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(run.folder, folder)
    table, _ = draw_sample(folder, budget=30, concepts=["orange"], side="text")
    assert table["caption"].str.contains("orange", case=False).all()
    table["present"] = 1
    table.to_parquet(tmp_path / "judge.parquet")
    corrected, _ = correct(folder, tmp_path / "judge.parquet")
    row = corrected.set_index("concept").loc["orange"]
    assert row["n_text_judged"] == row["n_text"] == row["n_text_judged_sample"]
    (tmp_path / "odd.csv").write_text("key,concept,present\nx,orange,perhaps\n")
    with pytest.raises(DataError, match="must be 1, 0 or empty"):
        correct(folder, tmp_path / "odd.csv")
    (tmp_path / "odd.csv").write_text("key,concept,present\nelsewhere.jpg,orange,1\n")
    with pytest.raises(DataError, match="None of the 1 key"):
        correct(folder, tmp_path / "odd.csv")
