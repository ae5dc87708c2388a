"""Datasets on disk: the same bytes every time, in agreement with their truth."""

import hashlib
import io
import json
import tarfile
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest
from PIL import Image, UnidentifiedImageError

from conceptaudit.errors import ArtifactMismatchError, ConfigError, DataError
from conceptaudit.lab import (
    CORRUPTIONS,
    LabConfig,
    LabTruth,
    generate,
    read_settings,
    read_truth,
    true_frequencies,
    write_image_folder,
)
from conceptaudit.lab.sample_faults import faults_of
from conceptaudit.lab.samples import make_sample

SMALL = LabConfig(seed=9, n_samples=230, shard_size=100, link_rot_rate=0.1)
DAMAGED = LabConfig(
    seed=3,
    n_samples=400,
    shard_size=400,
    image_size=48,
    exact_duplicate_rate=0.1,
    near_duplicate_rate=0.1,
    link_rot_rate=0.1,
    **{f"{kind}_rate": 0.07 for kind in CORRUPTIONS},
)


def digests(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
    }


def tar_groups(path: Path) -> dict[str, list[tuple[str, bytes]]]:
    groups: dict[str, list[tuple[str, bytes]]] = {}
    with tarfile.open(path) as tar:
        for member in tar:
            key, _, ending = member.name.partition(".")
            content = tar.extractfile(member)
            assert content is not None
            assert (member.mtime, member.uid, member.uname) == (0, 0, "")
            groups.setdefault(key, []).append((ending, content.read()))
    return groups


@pytest.fixture(scope="module")
def damaged(tmp_path_factory: pytest.TempPathFactory) -> LabTruth:
    return generate(DAMAGED, tmp_path_factory.mktemp("damaged"))


@pytest.fixture(scope="module")
def damaged_rows(damaged: LabTruth) -> pd.DataFrame:
    return damaged.read().set_index("key")


@pytest.mark.parametrize("layout", ["webdataset", "parquet"])
def test_bytes_do_not_depend_on_the_number_of_processes(tmp_path: Path, layout: str) -> None:
    config = replace(SMALL, image_size=32, max_objects=1)
    done: list[tuple[int, int]] = []
    generate(config, tmp_path / "one", format=layout)
    generate(
        config,
        tmp_path / "two",
        format=layout,
        processes=2,
        progress=lambda n, total: done.append((n, total)),
    )
    assert digests(tmp_path / "one") == digests(tmp_path / "two")
    assert done == [(100, 230), (200, 230), (230, 230)]


def test_another_seed_gives_other_samples() -> None:
    assert make_sample(SMALL, 0)[0] != make_sample(replace(SMALL, seed=10), 0)[0]


def test_knobs_do_not_disturb_each_other() -> None:
    """Damage changes no scene, and the number of samples changes no sample."""
    other = replace(SMALL, n_samples=10, shard_size=3, truncated_rate=0.5, link_rot_rate=0.0)
    for index in range(10):
        assert make_sample(SMALL, index)[0] == make_sample(other, index)[0]


def test_webdataset_agrees_with_truth(tmp_path: Path) -> None:
    truth = generate(SMALL, tmp_path / "d")
    rows = truth.read()
    assert rows["index"].tolist() == list(range(230))
    assert [path.name for path in truth.shards] == ["00000.tar", "00001.tar", "00002.tar"]
    assert rows["key"].iloc[123] == "0000123"
    stored = {key: group for shard in truth.shards for key, group in tar_groups(shard).items()}
    assert set(stored) == set(rows.loc[~rows["link_rot"], "key"])
    sidecars = [pd.read_parquet(shard.with_suffix(".parquet")) for shard in truth.shards]
    assert sidecars[0]["key"].tolist() != sorted(sidecars[0]["key"])
    sidecar = pd.concat(sidecars).set_index("key").loc[rows["key"]]
    assert (sidecar["caption"].to_numpy() == rows["caption"].to_numpy()).all()
    assert ((sidecar["status"] == "failed_to_download").to_numpy() == rows["link_rot"]).all()
    for row in rows.loc[~rows["link_rot"]].itertuples():
        members = dict(stored[str(row.key)])
        assert members["txt"].decode() == row.caption
        assert json.loads(members["json"])["key"] == row.key
        with Image.open(io.BytesIO(members["jpg"])) as picture:
            assert picture.size == (96, 96)
    stats = json.loads((tmp_path / "d" / "00000_stats.json").read_text())
    assert stats["count"] == 100
    assert stats["failed_to_download"] == int(rows["link_rot"].iloc[:100].sum())
    assert sum(stats["status_dict"].values()) == 100


def test_parquet_layout_holds_the_same_samples(tmp_path: Path) -> None:
    config = replace(SMALL, image_size=32, max_objects=1)
    tars = generate(config, tmp_path / "tar")
    tables = generate(config, tmp_path / "parquet", format="parquet")
    pd.testing.assert_frame_equal(tars.read(), tables.read())
    stored = {key: dict(group) for path in tars.shards for key, group in tar_groups(path).items()}
    rows = pd.concat([pd.read_parquet(path) for path in tables.shards])
    assert len(rows) == 230
    for row in rows.itertuples():
        assert (stored[str(row.key)]["jpg"] if row.key in stored else None) == row.jpg


def test_every_kind_of_damage_is_really_done(damaged: LabTruth, damaged_rows: pd.DataFrame) -> None:
    stored = tar_groups(damaged.shards[0])
    seen = Counter()
    for row in damaged_rows.loc[~damaged_rows["link_rot"]].itertuples():
        group = stored[str(row.Index)]
        members, kind = dict(group), row.corrupt
        seen[kind] += 1
        assert len(group) == (6 if kind == "duplicate_key" else 3 - kind.startswith("missing"))
        assert row.image_ok is (readable(members.get("jpg")) is None), kind
        expected = {"truncated": OSError, "wrong_magic": UnidentifiedImageError}
        if kind in expected:
            assert isinstance(readable(members["jpg"]), expected[kind])
        if kind == "bomb":
            assert isinstance(readable(members["jpg"]), Image.DecompressionBombError)
        if kind == "bad_utf8":
            with pytest.raises(UnicodeDecodeError):
                members["txt"].decode()
        elif "txt" in members:
            assert members["txt"].decode() == ("" if kind == "empty_caption" else row.caption)
        assert ("jpg" in members) is (kind != "missing_image")
        assert ("txt" in members) is (kind != "missing_caption")
        assert row.text_ok is (kind not in ("bad_utf8", "empty_caption", "missing_caption"))
    wanted = {*CORRUPTIONS, "missing_image", "missing_caption", ""} - {"missing_member"}
    assert wanted <= seen.keys()


def readable(content: bytes | None) -> Exception | None:
    try:
        with Image.open(io.BytesIO(content or b"")) as picture:
            picture.convert("RGB")
    except (OSError, Image.DecompressionBombError) as error:
        return error
    return None


def test_damage_in_tables(tmp_path: Path, damaged_rows: pd.DataFrame) -> None:
    tables = generate(DAMAGED, tmp_path / "d", format="parquet")
    table = pq.read_table(tables.shards[0])
    with pytest.raises(UnicodeDecodeError):
        table["caption"].to_pylist()
    keys = Counter(table["key"].to_pylist())
    twice = damaged_rows.index[
        (damaged_rows["corrupt"] == "duplicate_key") & ~damaged_rows["link_rot"]
    ]
    assert {key for key, times in keys.items() if times == 2} == set(twice)


def test_copies_are_copies(damaged: LabTruth, damaged_rows: pd.DataFrame) -> None:
    copies = damaged_rows.loc[damaged_rows["duplicate_kind"] != ""]
    assert {*copies["duplicate_kind"]} == {"exact", "near"}
    for row in copies.itertuples():
        source = damaged_rows.loc[row.duplicate_of]
        assert source["duplicate_kind"] == ""
        assert source["index"] < row.index
        assert list(source["image"]) == list(row.image)
        assert list(source["text"]) == list(row.text)
        mine, its = (make_sample(DAMAGED, int(i))[0] for i in (row.index, source["index"]))
        assert (mine == its) is (row.duplicate_kind == "exact")
        assert row.duplicate_kind != "exact" or row.caption == source["caption"]
    assert damaged.read()["duplicate_of"].notna().sum() == len(copies)


RATES = {
    "exact_duplicate_rate": lambda faults: faults.copy_kind == "exact",
    "near_duplicate_rate": lambda faults: faults.copy_kind == "near",
    "unrelated_rate": lambda faults: faults.unrelated,
    "link_rot_rate": lambda faults: faults.link_rot,
    "bomb_rate": lambda faults: faults.corrupt == "bomb",
    "missing_member_rate": lambda faults: faults.corrupt.startswith("missing"),
}


@pytest.mark.parametrize("rate", [0.0, 0.03, 0.2])
def test_rates_are_within_binomial_bounds(rate: float) -> None:
    config = LabConfig(seed=2, **dict.fromkeys(RATES, rate))
    faults = [faults_of(config, index) for index in range(4_000)]
    for knob, holds in RATES.items():
        share = sum(map(holds, faults)) / len(faults)
        # Five standard errors; mismatches are inherited by copies and so vary a little more.
        assert abs(share - rate) <= 6 * (rate * (1 - rate) / len(faults)) ** 0.5, knob


def test_caption_rates_are_within_binomial_bounds() -> None:
    config = LabConfig(
        seed=5,
        zipf_exponent=0.5,
        omission_rate=0.3,
        hallucination_rate=0.2,
        unrelated_rate=0.0,
        non_english_share=0.0,
        verb_use_share=0.25,
        exact_duplicate_rate=0.0,
        near_duplicate_rate=0.0,
    )
    truths = [make_sample(config, index, picture=False)[1] for index in range(3_000)]
    shown = sum(len(truth.image) for truth in truths)
    named = sum(len(truth.joint) for truth in truths)
    assert abs(1 - named / shown - 0.3) < 5 * (0.21 / shown) ** 0.5
    made_up = sum(len(truth.text) - len(truth.joint) for truth in truths)
    assert abs(made_up / 3_000 - 0.2) < 5 * (0.16 / 3_000) ** 0.5


@pytest.mark.parametrize("options", [{}, {"lost": True}, {"damaged": True}, {"copies": False}])
def test_true_frequencies_agree_with_a_plain_count(
    damaged: LabTruth, damaged_rows: pd.DataFrame, options: dict[str, bool]
) -> None:
    table = true_frequencies(damaged.folder, **options).table.set_index("concept")
    for side in ("text", "image", "joint"):
        counts: Counter[str] = Counter()
        groups = set()
        for row in damaged_rows.itertuples():
            needed = ("text", "image") if side == "joint" else (side,)
            whole = all(getattr(row, f"{part}_ok") for part in needed)
            if row.link_rot:
                whole = options.get("lost", False)
            elif options.get("damaged", False):
                whole = True
            group = (
                row.duplicate_of or row.Index if isinstance(row.duplicate_of, str) else row.Index
            )
            if not whole or (not options.get("copies", True) and group in groups):
                continue
            groups.add(group)
            counts.update(getattr(row, side))
        assert table[f"n_{side}"].to_dict() == {name: counts[name] for name in table.index}


def test_settings_are_recorded(damaged: LabTruth) -> None:
    assert read_settings(damaged.folder) == DAMAGED
    assert read_settings(damaged.path) == DAMAGED


def test_bad_calls_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="'format' parameter of generate"):
        generate(SMALL, tmp_path / "a", format="zip")
    with pytest.raises(ConfigError, match="'processes' parameter of generate"):
        generate(SMALL, tmp_path / "b", processes=0)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    with pytest.raises(ArtifactMismatchError, match="new or empty folder"):
        generate(SMALL, tmp_path / "full")
    with pytest.raises(ConfigError, match="'per_concept' parameter"):
        write_image_folder(SMALL, tmp_path / "c", per_concept=0)
    with pytest.raises(DataError, match="no lab truth"):
        read_truth(tmp_path)
    with pytest.raises(DataError, match="not a lab dataset"):
        read_settings(tmp_path)


def test_image_folder(tmp_path: Path) -> None:
    config = LabConfig(n_concepts=12, image_size=32, max_objects=1, zero_concepts=3)
    folder = write_image_folder(config, tmp_path / "test", per_concept=3)
    names = (folder / "classnames.txt").read_text(encoding="utf-8").splitlines()
    assert names == sorted(path.name for path in folder.iterdir() if path.is_dir())
    assert len(names) == 12
    files = sorted(folder.glob("*/*.jpg"))
    assert len(files) == 36
    assert len({path.read_bytes() for path in files}) == 36
    again = write_image_folder(
        replace(config, zipf_exponent=0.5), tmp_path / "again", per_concept=3
    )
    assert [path.read_bytes() for path in sorted(again.glob("*/*.jpg"))] == [
        path.read_bytes() for path in files
    ]
