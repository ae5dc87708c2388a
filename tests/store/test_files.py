"""Results are whole or absent, and valid only for what they were made from."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from conceptaudit.artifacts import (
    ShardStore,
    digest_of,
    exclusive,
    whole_file,
    write_npy,
    write_parquet,
    write_text,
)
from conceptaudit.errors import ArtifactMismatchError, DataError
from conceptaudit.store.partials import PARTIAL_SUFFIX

SHARD = "0000000-0000000000000"
OTHER = "0000000-0000000000040"


@pytest.fixture
def store(tmp_path: Path) -> ShardStore:
    made = ShardStore(folder=tmp_path / "text", digest="settings")
    table = made.path(SHARD, ".parquet")
    write_parquet(table, pd.DataFrame({"a": [1, 2]}))
    made.write(SHARD, "input", {"n": 2}, {".parquet": table})
    return made


def test_a_written_record_is_valid_and_reads_back(store: ShardStore) -> None:
    assert store.fault(SHARD, "input") is None
    assert store.read(SHARD) == {"n": 2}


def test_faults_are_named(store: ShardStore) -> None:
    assert store.fault(OTHER, "input") == "missing"
    assert store.fault(SHARD, "other input") == "made from other inputs or settings"
    other = ShardStore(folder=store.folder, digest="other settings")
    assert other.fault(SHARD, "input") == "made from other inputs or settings"


@pytest.mark.parametrize("position", [0, 4, 50, -5])
def test_one_flipped_bit_in_a_table_is_noticed(store: ShardStore, position: int) -> None:
    path = store.path(SHARD, ".parquet")
    data = bytearray(path.read_bytes())
    data[position] ^= 1
    path.write_bytes(data)
    fault = store.fault(SHARD, "input")
    assert fault is not None
    assert fault.startswith("damaged")


def test_every_flipped_byte_in_a_record_is_noticed(store: ShardStore) -> None:
    path = store.path(SHARD, ".json")
    whole = path.read_bytes()
    for position in range(len(whole) - 1):
        data = bytearray(whole)
        data[position] ^= 1
        path.write_bytes(data)
        assert store.fault(SHARD, "input") is not None, whole[position - 5 : position + 5]


def test_a_missing_table_is_noticed(store: ShardStore) -> None:
    store.path(SHARD, ".parquet").unlink()
    assert store.fault(SHARD, "input") == f"damaged: {SHARD}.parquet is missing"


def test_records_of_other_shards_go_with_their_files_and_nothing_else(store: ShardStore) -> None:
    table = store.path(OTHER, ".parquet")
    write_parquet(table, pd.DataFrame({"a": [1]}))
    store.write(OTHER, "input", {"n": 1}, {".parquet": table})
    unfinished = store.folder / f".{OTHER}.parquet{PARTIAL_SUFFIX}"
    unfinished.touch()
    theirs = ["notes.txt", "notes.json", "mine.parquet", ".film.partial", "film.partial"]
    theirs += ["0000000-0000000000080.parquet", "0000000-0000000000120.json"]
    for name in theirs:
        (store.folder / name).write_text("{}")
    (store.folder / "deep").mkdir()
    assert store.discard_others(frozenset({SHARD})) == 3
    left = {path.name for path in store.folder.iterdir()}
    assert left == {*theirs, "deep", f"{SHARD}.json", f"{SHARD}.parquet"}
    assert store.fault(SHARD, "input") is None


def test_records_in_a_folder_that_is_a_link_are_left_alone(
    store: ShardStore, tmp_path: Path
) -> None:
    link = tmp_path / "link"
    link.symlink_to(store.folder)
    with pytest.raises(ArtifactMismatchError, match="is a link"):
        ShardStore(folder=link, digest="settings").discard_others(frozenset())
    assert store.fault(SHARD, "input") is None


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "old")
    with (
        pytest.raises(UnicodeEncodeError),
        whole_file(path) as partial,
        partial.open("w", encoding="ascii") as stream,
    ):
        stream.write("half of the n" + chr(0xE9))
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_cannot_be_made_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="Cannot write"):
        write_text(tmp_path / "file" / "a.txt", "text")


def test_objects_are_never_pickled(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="pickle"):
        write_npy(tmp_path / "a.npy", np.array([{}], dtype=object))
    assert list(tmp_path.iterdir()) == []


def test_equal_tables_give_equal_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_parquet(tmp_path / name, pd.DataFrame({"x": ["é", None], "y": [1.5, 2.0]}))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@given(st.dictionaries(st.text(), st.integers() | st.text() | st.lists(st.floats(-1, 1))))
def test_digests_do_not_depend_on_key_order(value: dict[str, object]) -> None:
    backwards = dict(reversed(value.items()))
    assert digest_of(value) == digest_of(backwards)


def test_two_runs_on_one_folder_and_a_dead_one(tmp_path: Path) -> None:
    hold = (
        "import sys, time, pathlib\n"
        "from conceptaudit.artifacts import exclusive\n"
        "with exclusive(pathlib.Path(sys.argv[1])):\n"
        "    print('held', flush=True)\n"
        "    time.sleep(60)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", hold, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with pytest.raises(ArtifactMismatchError, match="Another run"), exclusive(tmp_path):
            pass
        other.kill()
    with exclusive(tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_record_that_is_no_record_is_damaged(store: ShardStore) -> None:
    for text in ("", "[]", "{}", "nul", json.dumps({"digest": 1, "files": {}, "result": 0})):
        store.path(SHARD, ".json").write_text(text)
        fault = store.fault(SHARD, "input")
        assert fault is not None
        assert fault.startswith("damaged")
