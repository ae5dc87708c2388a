"""Any cut into shards gives the same samples, in the same order, with the same ids."""

import csv
import io
import json
import random
import tarfile
import tempfile
from pathlib import Path

import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from conceptaudit.datasets import open_dataset

CAPTIONS = st.lists(
    st.one_of(
        st.text(max_size=12),
        st.text(alphabet='a",\t\r\n é\ufeff\u2028\x85\x1c', max_size=12),
    ),
    min_size=1,
    max_size=12,
)


def read(path, shard_rows):
    dataset = open_dataset(path, shard_rows=shard_rows, caption_column="caption")
    rows, drops = [], []
    for shard in dataset.shards():
        for batch in dataset.read(shard, frozenset({"caption"})):
            rows += zip(batch.sample_ids.tolist(), batch.keys, batch.captions, strict=True)
            drops += batch.drops
    return rows, sorted(drops, key=lambda drop: (drop.sample_id, drop.part, drop.reason))


def write(path, captions, kind):
    keys = [f"k{i}" for i in range(len(captions))]
    if kind == "csv":
        with path.open("w", newline="", encoding="utf-8", errors="surrogatepass") as stream:
            csv.writer(stream).writerows([("key", "caption"), *zip(keys, captions, strict=True)])
    elif kind == "jsonl":
        lines = [json.dumps({"key": k, "caption": c}) for k, c in zip(keys, captions, strict=True)]
        path.write_text("\n".join(lines))
    else:
        frame = pd.DataFrame({"key": keys, "caption": captions})
        frame.to_parquet(path, row_group_size=5)


@settings(max_examples=60, deadline=None)
@given(
    captions=CAPTIONS,
    shard_rows=st.integers(1, 13),
    kind=st.sampled_from(["csv", "jsonl", "parquet"]),
)
def test_any_shard_size_gives_the_same_samples(captions, shard_rows, kind):
    captions = [c.encode(errors="replace").decode() for c in captions]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"a.{kind}")
        write(path, captions, kind)
        whole, drops = read(path, 10_000)
        cut, cut_drops = read(path, shard_rows)
    assert (cut, cut_drops) == (whole, drops)
    # Nothing is lost, and a caption is what was written (CSV writes a bare CR as a blank).
    assert [key for _, key, _ in whole] == [f"k{i}" for i in range(len(captions))]
    for (_, _, found), given_caption in zip(whole, captions, strict=True):
        expected = given_caption if given_caption.strip() else None
        if kind == "csv" and expected is not None:
            expected = expected.replace("\r\n", "\n").replace("\r", " ")
        assert found == expected


@settings(max_examples=25, deadline=None)
@given(n=st.integers(1, 8), seed=st.integers(0, 99), failed=st.sets(st.integers(0, 7)))
def test_completion_order_does_not_matter(n, seed, failed):
    """Whatever the order of an img2dataset table, its rows reach the archive's by key."""
    shuffled = list(range(n))
    random.Random(seed).shuffle(shuffled)
    found = []
    for order in (range(n), shuffled):
        with tempfile.TemporaryDirectory() as folder:
            with tarfile.open(Path(folder, "0.tar"), "w") as archive:
                for i in range(n):
                    if i not in failed or i == 0:
                        info = tarfile.TarInfo(f"{i}.txt")
                        info.size = 5
                        archive.addfile(info, io.BytesIO(f"cap {i}".encode()))
            pd.DataFrame(
                {
                    "key": [str(i) for i in order],
                    "status": ["failed_to_resize" if i in failed else "success" for i in order],
                    "error_message": [f"e{i}" for i in order],
                }
            ).to_parquet(Path(folder, "0.parquet"))
            dataset = open_dataset(folder)
            batches = [b for s in dataset.shards() for b in dataset.read(s, dataset.provides)]
        found.append(
            (
                [c for b in batches for c in b.captions or ()],
                [(d.sample_id, d.key, d.reason, d.detail) for b in batches for d in b.drops],
            )
        )
    assert found[0] == found[1]
    captions, drops = found[0]
    assert captions == [f"cap {i}" for i in range(n) if i not in failed or i == 0]
    assert [key for _, key, _, _ in drops] == [str(i) for i in range(1, n) if i in failed]
    assert all(detail == f"e{key}" for _, key, _, detail in drops)
