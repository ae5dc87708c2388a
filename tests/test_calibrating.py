"""Audits that calibrate their image tags: from captions, from files, from labels."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from conceptaudit.auditing import AuditOptions, audit, calibrate, calibrating
from conceptaudit.auditing.calibrating import CALIBRATION
from conceptaudit.auditing.calibration_data import sampled
from conceptaudit.cli.main import main
from conceptaudit.errors import ArtifactMismatchError, ConfigError, DataError
from conceptaudit.image.calibration import Calibration

THINGS = (
    "dog", "cat", "horse", "table", "car", "tree", "boat", "lamp", "spoon", "apple", "bottle",
    "bridge",
)  # fmt: skip
DIMENSION = 24
N = 1_000


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Embeddings of pictures of up to two things; captions that leave out a quarter of them."""
    folder = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    common = rng.standard_normal(DIMENSION)
    concepts = np.linalg.qr(rng.standard_normal((DIMENSION, DIMENSION)))[0][: len(THINGS)]
    law = np.arange(1, len(THINGS) + 1) ** -0.8
    shown = rng.random((N, len(THINGS))) < 0.3 * law
    images = shown @ concepts + 0.22 * rng.standard_normal((N, DIMENSION)) + 0.5 * common
    said = shown & (rng.random(shown.shape) < 0.75)
    captions = [" and ".join(f"a {THINGS[c]}" for c in np.flatnonzero(row)) for row in said]
    for name in ("img_emb", "metadata"):
        (folder / "set" / name).mkdir(parents=True)
    np.save(folder / "set/img_emb/img_emb_0.npy", images.astype(np.float16))
    pd.DataFrame(
        {
            "image_path": [f"k{i:05d}" for i in range(N)],
            "caption": [text or "nice" for text in captions],
        }
    ).to_parquet(folder / "set/metadata/metadata_0.parquet")
    np.save(folder / "vectors.npy", (concepts + 0.3 * common).astype(np.float32))
    np.save(folder / "shown.npy", shown)
    (folder / "things.txt").write_text("\n".join(THINGS))
    return folder


def options(data: Path, **more: object) -> AuditOptions:
    return AuditOptions(concept_vectors=str(data / "vectors.npy"), **more)  # type: ignore[arg-type] # any option


def count_error(counted: pd.Series, true: np.ndarray) -> float:
    return float(np.median(np.abs(np.log(counted.to_numpy(float) / true))))


def digests(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_an_audit_calibrates_itself(data: Path, tmp_path: Path) -> None:
    run = audit(data / "set", list(THINGS), tmp_path / "run", options=options(data))
    true = np.load(data / "shown.npy").sum(axis=0)
    assert count_error(run.table["n_text"], true) > 0.2
    assert count_error(run.table["n_image"], true) < 0.12
    known = run.table["n_image_corrected"].notna()
    assert 4 <= known.sum() < len(THINGS)
    assert set(run.table.loc[~known, "n_image_reason"]) == {"recall_unknown"}
    assert run.table.loc[known, "n_image_reason"].isna().all()
    table, true = run.table[known], true[known]
    assert count_error(table["n_image_corrected"], true) < 0.12
    inside = (table["n_image_corrected_low"] <= true) & (true <= table["n_image_corrected_high"])
    assert inside.mean() > 0.8
    assert any("calibrated per concept from captions" in note for note in run.notes)
    assert Calibration.load(tmp_path / "run" / CALIBRATION).n_images == N
    said = json.loads((tmp_path / "run/alignment.json").read_text())["corrected"]
    assert 0 <= said["nothing_named_is_shown"] < 0.1
    written = np.load(tmp_path / "run/concept_vectors.npy")
    plain = np.load(data / "vectors.npy")
    plain /= np.linalg.norm(plain, axis=1, keepdims=True)
    np.testing.assert_allclose(written, plain, atol=1e-6)


def test_cutting_shards_and_running_again_change_nothing(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calibrating, "MAX_CAPTIONS", 300)  # of 1,000: not the first ones
    tables = {}
    for rows in (400, 1_000):
        folder = tmp_path / str(rows)
        run = audit(data / "set", list(THINGS), folder, options=options(data, shard_rows=rows))
        tables[rows] = run.table.assign(**run.misalignment)
    assert 150 < tables[400]["n_captions"][0] < 300  # those of the sample that name something
    pd.testing.assert_frame_equal(tables[400], tables[1_000])
    before = digests(tmp_path / "400")
    again = audit(
        data / "set", list(THINGS), tmp_path / "400", options=options(data, shard_rows=400)
    )
    assert all(not work["redone"] for work in again.redone.values())
    assert digests(tmp_path / "400") == before


def test_open_pairs_are_decided_by_their_shares() -> None:
    """Captions that were counted fast list what they may name; not all of it is named."""
    pairs = pd.DataFrame({"sample_id": np.arange(4_000), "concept_id": np.arange(4_000) % 2})
    pairs["share"] = np.where(pairs["concept_id"] == 0, 1.0, 0.3)
    kept = calibrating._decided(pairs)["concept_id"].value_counts()
    assert kept[0] == 2_000
    assert abs(kept[1] - 600) < 4 * np.sqrt(2_000 * 0.3 * 0.7)


def test_a_threshold_or_none_leaves_it_fixed(data: Path, tmp_path: Path) -> None:
    fixed = audit(data / "set", list(THINGS), tmp_path / "a", options=options(data, threshold=0.4))
    none = audit(
        data / "set", list(THINGS), tmp_path / "b", options=options(data, calibration="none")
    )
    for run in (fixed, none):
        assert not (run.folder / CALIBRATION).exists()
        assert "n_image_corrected" not in run.table
        assert any("not calibrated" in note for note in run.notes)


def test_a_file_serves_another_audit_and_no_other_model(data: Path, tmp_path: Path) -> None:
    file = tmp_path / "cal.json"
    found = calibrate(data / "set", list(THINGS), file, options=options(data))
    settings = options(data, calibration=str(file))
    run = audit(data / "set", list(THINGS), tmp_path / "run", options=settings)
    own = audit(data / "set", list(THINGS), tmp_path / "own", options=options(data))
    assert found.method == "captions"
    assert run.table["n_image"].tolist() == own.table["n_image"].tolist()
    with pytest.raises(ArtifactMismatchError, match="concepts that are not these"):
        audit(data / "set", [*THINGS[:-1], "zebra"], tmp_path / "x", options=settings)
    with pytest.raises(ConfigError, match="threshold per concept"):
        options(data, calibration=str(file), threshold=0.3)
    settings = options(data, calibration=str(tmp_path / "none.json"))
    with pytest.raises(DataError, match="as JSON"):
        audit(data / "set", list(THINGS), tmp_path / "y", options=settings)


def test_labels_from_the_command_line(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = np.load(data / "shown.npy")
    rows = [
        {"key": f"k{i:05d}", "concept": THINGS[c], "present": int(shown[i, c])}
        for i in range(300)
        for c in range(len(THINGS))
    ]
    labels = tmp_path / "labels.csv"
    pd.DataFrame(rows).to_csv(labels, index=False)
    call = [
        "calibrate", str(data / "set"), "-c", str(data / "things.txt"),
        "--concept-vectors", str(data / "vectors.npy"), "--workers", "1",
        "-o", str(tmp_path / "cal.json"),
    ]  # fmt: skip
    assert main([*call, "--labels", str(labels), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["method"] == "labels"
    assert said["n_concepts_with_evidence"] == len(THINGS)
    found = Calibration.load(tmp_path / "cal.json")
    assert count_error(pd.Series(found.prevalence * N), shown.sum(axis=0)) < 0.2
    assert main(call) == 0
    assert "from captions of 1,000 images" in capsys.readouterr().out
    assert main([*call, "--scores-only", "--labels", str(labels)]) == 2
    assert "exclude each other" in capsys.readouterr().err
    labels.write_text("key,concept\nelsewhere,dog\n")
    assert main([*call, "--labels", str(labels)]) == 2
    assert "None of the 1 labelled key" in capsys.readouterr().err


def test_folders_of_pictures_are_labels(tiny_clip: Path, tmp_path: Path) -> None:
    from PIL import Image

    rng = np.random.default_rng(0)
    for name in ("red", "green"):
        (tmp_path / "test" / name).mkdir(parents=True)
        for i in range(3):
            pixels = rng.integers(0, 90, (32, 32, 3), dtype=np.uint8)
            pixels[..., 0 if name == "red" else 1] += 150
            Image.fromarray(pixels).save(tmp_path / "test" / name / f"{i}.png")
    for part in ("img_emb", "metadata"):
        (tmp_path / "set" / part).mkdir(parents=True)
    vectors = rng.standard_normal((250, 16)).astype(np.float32)
    np.save(tmp_path / "set/img_emb/img_emb_0.npy", vectors)
    keys = pd.DataFrame({"image_path": [str(i) for i in range(250)]})
    keys.to_parquet(tmp_path / "set/metadata/metadata_0.parquet")
    settings = AuditOptions(clip=str(tiny_clip), device="cpu")
    (tmp_path / "test" / "red" / "broken.jpg").write_bytes(b"no picture")
    found = calibrate(
        tmp_path / "set",
        ["red", "green", "blue"],
        tmp_path / "cal.json",
        options=settings,
        image_folder=tmp_path / "test",
    )
    assert found.evidence.tolist() == [3, 3, 0]
    assert any("1 image" in n and n.endswith("left out: not_an_image.") for n in found.notes)
    (tmp_path / "test" / "purple").mkdir()
    with pytest.raises(DataError, match="purple"):
        calibrate(
            tmp_path / "set",
            ["red", "green", "blue"],
            tmp_path / "cal.json",
            options=settings,
            image_folder=tmp_path / "test",
        )


def test_without_images_there_is_nothing_to_calibrate(tmp_path: Path) -> None:
    table = tmp_path / "captions.csv"
    table.write_text("key,caption\n1,a dog\n")
    with pytest.raises(ConfigError, match="Calibration needs images"):
        calibrate(table, ["dog"], tmp_path / "cal.json")


def test_samples_do_not_depend_on_shards() -> None:
    ids = np.arange(20_000, dtype=np.int64)
    whole = sampled(ids, 0.25)
    assert whole.mean() == pytest.approx(0.25, abs=0.01)
    assert np.array_equal(whole[5_000:], sampled(ids[5_000:], 0.25))
    assert sampled(ids, 1.0).all()
    assert not sampled(ids, 0.0).any()
    assert not np.array_equal(whole, sampled(ids, 0.25, seed=1))
