"""Evidence, ambiguity and co-occurrence in a run folder, whatever the sharding and the workers."""

import hashlib
from pathlib import Path

import pandas as pd
import pytest

from conceptaudit.auditing import AuditOptions, audit
from conceptaudit.cli.main import main
from conceptaudit.errors import ArtifactMismatchError, ConfigError
from conceptaudit.records import Concept, ConceptVocabulary
from conceptaudit.text import tagger as text_tagger

CONCEPTS = ["dog", "hot_dog", "watch", "t-shirt", "ball"]
CAPTIONS = [
    "two dogs watch a ball",
    "a dog in a tshirt",
    "they watch",
    "a gold watch and a T-shirt",
    "Hot dogs for a dog",
    "a ball",
    "a dog with a ball and a tee shirt",
    None,
]
FILES = ("evidence.parquet", "cooccurrence.parquet", "frequencies.parquet")


@pytest.fixture
def captions(tmp_path: Path) -> Path:
    path = tmp_path / "captions.parquet"
    pd.DataFrame({"url": [f"u{i}" for i in range(len(CAPTIONS))], "caption": CAPTIONS}).to_parquet(
        path
    )
    return path


def digests(folder: Path) -> list[str]:
    return [hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in FILES]


def test_neither_shards_nor_workers_change_a_byte(captions: Path, tmp_path: Path) -> None:
    options = AuditOptions(evidence=2, cooccurrence=True)
    audit(captions, CONCEPTS, tmp_path / "one", options=options)
    cut = AuditOptions(evidence=2, cooccurrence=True, shard_rows=3, workers=2)
    audit(captions, CONCEPTS, tmp_path / "many", options=cut)
    assert digests(tmp_path / "one") == digests(tmp_path / "many")


def test_evidence_ambiguity_and_pairs_by_hand(captions: Path, tmp_path: Path) -> None:
    run = audit(captions, CONCEPTS, tmp_path / "run", options=AuditOptions(cooccurrence=True))
    table = run.table.set_index("concept")
    assert table["n_text"].tolist() == [4, 1, 1, 3, 3]
    assert table["n_text_rejected"].tolist() == [0, 0, 2, 0, 0]
    assert table.loc["watch", "text_rejected_share"] == pytest.approx(2 / 3)
    assert table.loc["dog", "n_senses"] >= 5
    assert any("'dog'" in note and "meanings" in note for note in run.notes)

    evidence = pd.read_parquet(tmp_path / "run/evidence.parquet")
    watch = evidence[evidence["concept"] == "watch"]
    kinds = sorted(zip(watch["kind"], watch["key"], watch["before"], strict=True))
    assert kinds == [
        ("counted", "u3", "a gold "),
        ("rejected", "u0", "two dogs "),
        ("rejected", "u2", "they "),
    ]
    shirts = evidence[evidence["concept"] == "t-shirt"]
    assert sorted(shirts["matched"]) == ["T-shirt", "tee shirt", "tshirt"]

    pairs = pd.read_parquet(tmp_path / "run/cooccurrence.parquet")
    counts = {(a, b): n for a, b, n in pairs[["concept_a", "concept_b", "n"]].to_numpy()}
    assert counts == {
        ("dog", "ball"): 2, ("ball", "dog"): 2,
        ("dog", "t-shirt"): 2, ("t-shirt", "dog"): 2,
        ("dog", "hot_dog"): 1, ("hot_dog", "dog"): 1,
        ("watch", "t-shirt"): 1, ("t-shirt", "watch"): 1,
        ("ball", "t-shirt"): 1, ("t-shirt", "ball"): 1,
    }  # fmt: skip


def test_evidence_is_found_by_alias_case_and_plural(captions: Path, tmp_path: Path, capsys) -> None:
    dog = Concept(name="dog", aliases=("hound",))
    listed = ConceptVocabulary((dog, Concept(name="hot_dog"), Concept(name="watch")))
    audit(captions, listed, tmp_path / "run")
    for asked in ("dog", "Dogs", "HOUNDS"):
        main(["evidence", str(tmp_path / "run"), asked])
        assert "dog, counted as a noun" in capsys.readouterr().out
    main(["evidence", str(tmp_path / "run"), "hot dogs"])
    assert "hot_dog, counted" in capsys.readouterr().out
    assert main(["evidence", str(tmp_path / "run"), "doge"]) == 2
    assert "Did you mean 'dog'?" in capsys.readouterr().err


def test_pairs_can_be_asked_for_later_and_evidence_declined(captions: Path, tmp_path: Path) -> None:
    audit(captions, CONCEPTS, tmp_path / "run")
    assert not (tmp_path / "run/cooccurrence.parquet").exists()
    again = audit(captions, CONCEPTS, tmp_path / "run", options=AuditOptions(cooccurrence=True))
    assert again.redone["text"]["redone"] == {}
    assert (tmp_path / "run/cooccurrence.parquet").exists()
    none = AuditOptions(evidence=0)
    audit(captions, CONCEPTS, tmp_path / "run", options=none, resume=True)
    assert not (tmp_path / "run/evidence.parquet").exists()
    assert not (tmp_path / "run/cooccurrence.parquet").exists()
    with pytest.raises(ConfigError, match="'evidence' parameter of AuditOptions must be at least"):
        AuditOptions(evidence=-1)


def test_another_normaliser_is_another_run(
    captions: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    audit(captions, CONCEPTS, tmp_path / "run")
    monkeypatch.setattr(text_tagger, "NORMALIZER", "another")
    with pytest.raises(ArtifactMismatchError, match="other inputs or settings"):
        audit(captions, CONCEPTS, tmp_path / "run")
    again = audit(captions, CONCEPTS, tmp_path / "run", resume=True)
    assert again.redone["text"]["redone"] == {"made from other inputs or settings": 1}


def test_fast_counts_come_with_evidence_and_an_estimated_share(tmp_path: Path) -> None:
    captions = [f"{who} watch a gold watch {i}" for i in range(40) for who in ("they", "people")]
    captions += [f"a helmet on a shelf {i}" for i in range(10)]
    path = tmp_path / "many.parquet"
    pd.DataFrame({"url": list(map(str, range(len(captions)))), "caption": captions}).to_parquet(
        path
    )
    runs = {
        mode: audit(
            path, ["watch", "helmet"], tmp_path / mode, options=AuditOptions(text_mode=mode)
        )
        for mode in ("fast", "exact")
    }
    assert runs["fast"].table["n_text"].tolist() == runs["exact"].table["n_text"].tolist()
    assert {"n_text_rejected", "text_rejected_share"} <= set(runs["fast"].table)
    evidence = pd.read_parquet(tmp_path / "fast" / "evidence.parquet")
    watch = evidence[evidence["concept"] == "watch"]
    assert set(watch["kind"]) == {"counted", "rejected"}
    assert set(watch["matched"]) == {"watch"}
    by_kind = watch.groupby("kind")["before"].first()
    assert by_kind["counted"].endswith(" a gold ")
    assert by_kind["rejected"] in {"they ", "people "}


def test_a_list_that_no_caption_can_name_is_refused(tmp_path):
    (tmp_path / "a.csv").write_text("caption\na dog\n")
    (tmp_path / "c.txt").write_text("...\n---\n")
    with pytest.raises(ConfigError, match=r"any of the 2 concepts: '\.\.\.' has no phrase"):
        audit(tmp_path / "a.csv", tmp_path / "c.txt", tmp_path / "run")


def test_one_list_of_several_datasets(tmp_path):
    (tmp_path / "a.csv").write_text("caption\na dog\na pizza\n")
    (tmp_path / "c.json").write_text('{"pets": ["cat", "dog"], "food": ["pizza", "bread"]}')
    options = AuditOptions(dataset_key="pets")
    run = audit(tmp_path / "a.csv", tmp_path / "c.json", tmp_path / "run", options=options)
    assert dict(zip(run.table["concept"], run.table["n_text"], strict=True)) == {"cat": 0, "dog": 1}
