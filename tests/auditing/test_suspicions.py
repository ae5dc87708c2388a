"""What an audit says first: lists that match nothing, joins that are off, rows that vanish."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from conceptaudit.auditing import AuditOptions, audit
from conceptaudit.auditing.suspicions import suspicions
from conceptaudit.cli.main import main
from conceptaudit.records import Concept, ConceptVocabulary

CAPTIONS = ["a photo of a street", "two trees", "a boat at sea"]


def captions(folder: Path, n: int) -> Path:
    path = folder / "a.csv"
    path.write_text("caption\n" + "".join(f"{CAPTIONS[i % 3]}\n" for i in range(n)))
    return path


def concepts(folder: Path, names: list[str]) -> Path:
    path = folder / "c.txt"
    path.write_text("\n".join(names))
    return path


@pytest.mark.parametrize(
    ("n", "names", "said"),
    [
        (1001, ["zorple", "quux_bar", "blorb"], True),
        (1000, ["zorple", "quux_bar", "blorb"], False),
        (1001, ["street", *(f"zorple{'x' * i}" for i in range(30))], True),
        (1001, ["street", *(f"zorple{'x' * i}" for i in range(18))], False),
    ],
)
def test_a_list_of_which_nothing_is_found_is_said_first(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], n: int, names: list[str], said: bool
) -> None:
    command = ["audit", str(captions(tmp_path, n)), "-c", str(concepts(tmp_path, names))]
    assert main([*command, "-o", str(tmp_path / "run")]) == 0
    first = capsys.readouterr().out.splitlines()[0]
    assert ("Looked for: 'zorple'" in first) is said
    if said:
        assert "in 1,001 captions" in first
        assert "--caption-column" in first
        assert ("'quux bar'" in first) == ("quux_bar" in names)


def test_swallowed_rows_are_said(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('id,caption\n1,"a dog\n2,a cat\n3,a horse"\n4,a "boat\n5,"x\n')
    run = audit(path, ["dog"], tmp_path / "run")
    assert run.notes[0].startswith("1 record with quoted text of lines that look like rows")
    assert run.notes[1].startswith("1 record with a quotation mark that is never closed")


WORDS = ConceptVocabulary(tuple(Concept(name=f"c{i}") for i in range(5)))


def said_of(text: np.ndarray, image: np.ndarray) -> tuple[str, ...]:
    table = pd.DataFrame(
        {
            "concept": WORDS.names,
            "n_text": text.sum(axis=0),
            "n_image": image.sum(axis=0),
            "n_joint": (text & image).sum(axis=0),
        }
    )
    side = {"n_used": len(text), "noted": {}}
    return suspicions(table, {"text": side, "image": side}, WORDS, {})


def tags(n: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).random((n, 5)) < [0.5, 0.3, 0.2, 0.1, 0.05]


def test_tags_of_other_samples_are_suspicious_and_noisy_ones_are_not() -> None:
    text = tags(400, 0)
    assert said_of(text, text) == ()
    for seed in range(50):
        noise = np.random.default_rng(seed).random(text.shape)
        noisy = np.where(noise < 0.5, tags(400, 100 + seed), text)  # half of the tags are guesses
        assert said_of(text, noisy) == ()
        [note] = said_of(text, tags(400, 200 + seed))
        assert note.startswith("Suspicious: captions and images name the same concept")


def test_few_samples_give_a_weak_sign_only() -> None:
    text = np.zeros((7, 5), dtype=bool)
    text[:3, 0] = text[3:5, 1] = text[5, 2] = True
    [note] = said_of(text, np.roll(text, -3, axis=0))
    assert note.startswith("A weak sign, of 7 samples")
    assert said_of(text, text) == ()


def test_shuffled_metadata_of_real_vectors(realdata: Path, tmp_path: Path) -> None:
    clip = realdata / "clip"
    names = pd.read_csv(clip / "detic_text_embeddings" / "coco_categories.csv")
    options = AuditOptions(
        concept_vectors=str(clip / "detic_text_embeddings" / "coco_clip_a+cname.npy"),
        threshold=0.25,
        text_mode="exact",
    )
    source = clip / "flickr8k_vitb32_photos"
    for name, seed in {"as_it_is": None, "shuffled": 0}.items():
        folder = tmp_path / name
        for part in ("img_emb", "metadata"):
            (folder / part).mkdir(parents=True)
        vectors = np.load(source / "img_emb" / "img_emb_0.npy")
        np.save(folder / "img_emb" / "img_emb_0.npy", vectors)
        table = pd.read_parquet(source / "metadata" / "metadata_0.parquet")
        if seed is not None:
            table = table.sample(frac=1, random_state=seed)
        table.to_parquet(folder / "metadata" / "metadata_0.parquet", index=False)
        run = audit(folder, list(names["name"]), tmp_path / f"run_{name}", options=options)
        assert any(note.startswith("Suspicious") for note in run.notes) is (seed is not None)
