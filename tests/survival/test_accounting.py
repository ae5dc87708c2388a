"""Samples in = used + dropped by reason, held against what was read when results are written."""

import json
from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from conceptaudit.datasets import open_dataset
from conceptaudit.datasets._samples import make_batch
from conceptaudit.engine import ShardResult, open_engine, run_stage
from conceptaudit.engine.stage import CountedBatches
from conceptaudit.errors import AccountError, ConceptAuditError
from conceptaudit.progress import SilentProgress
from conceptaudit.records import Drop


@dataclass(frozen=True)
class Liar:
    """A stage that reports what it is told to."""

    lie: str = ""
    name: str = "text"
    settings: str = "s"
    parts: frozenset = frozenset({"caption"})

    def __call__(self, shard, batches):
        if self.lie == "stops reading":
            first = next(batches)
            return ShardResult(summary=account(len(first), len(first)))
        n = sum(len(batch) for batch in batches)
        told = {
            "": account(n, n),
            "loses one": account(n, n - 1),
            "invents one": account(n + 1, n + 1),
            "forgets one": account(n - 1, n - 1),
            "drops less than none": account(n, n + 2, {"caption:x": -2}),
        }
        return ShardResult(summary=told[self.lie])


def account(n_samples, n_used, dropped=None):
    return {"n_samples": n_samples, "n_used": n_used, "dropped": dropped or {}, "noted": {}}


def run(corpus, folder, lie):
    dataset = open_dataset(corpus / "captions.jsonl", shard_rows=300)
    return run_stage(
        Liar(lie),
        dataset,
        dataset.shards(),
        folder=folder,
        engine=open_engine(1),
        progress=SilentProgress(),
        skip_unreadable=True,
    )


def test_an_honest_stage_is_believed(corpus, tmp_path):
    assert run(corpus, tmp_path, "").failed == {}


@pytest.mark.parametrize(
    ("lie", "found"),
    [
        ("loses one", "300 samples, but 299 used and 0 dropped"),
        ("invents one", "300 samples were read, but 301 accounted for"),
        ("forgets one", "300 samples were read, but 299 accounted for"),
        ("drops less than none", "300 samples, but 302 used and -2 dropped"),
    ],
)
def test_a_lie_stops_the_run_and_names_the_shard(corpus, tmp_path, lie, found):
    # not even --skip-unreadable lets it pass
    with pytest.raises(AccountError, match=rf"shard 0000000-0000000000000 .* {found}"):
        run(corpus, tmp_path, lie)
    assert not list(tmp_path.rglob("*.json"))
    assert issubclass(AccountError, ConceptAuditError)


def test_a_stage_that_does_not_read_to_the_end_is_caught(tmp_path):
    path = tmp_path / "captions.jsonl"
    path.write_text("".join(json.dumps({"caption": "a dog"}) + "\n" for _ in range(5_000)))
    dataset = open_dataset(path)
    with pytest.raises(AccountError, match="stopped reading after 2,048 samples"):
        run_stage(
            Liar("stops reading"),
            dataset,
            dataset.shards(),
            folder=tmp_path / "run",
            engine=open_engine(1),
            progress=SilentProgress(),
        )


def batch(ids):
    return make_batch(np.array(ids, dtype=np.int64), [str(i) for i in ids])


@given(st.lists(st.lists(st.integers(0, 30), unique=True), max_size=6))
def test_no_sample_passes_twice(rows):
    flat = [i for ids in rows for i in ids]
    counted = CountedBatches(iter([batch(ids) for ids in rows]), "s")
    if len(set(flat)) == len(flat):
        assert sum(len(one) for one in counted) == counted.n_samples == len(flat)
    else:
        with pytest.raises(AccountError, match="is read twice"):
            list(counted)


def test_samples_that_are_dropped_whole_are_counted():
    drop = Drop(sample_id=9, key="9", part="sample", reason="r")
    note = replace(drop, part="note")
    whole = make_batch(np.array([1], dtype=np.int64), ["1"], drops=[drop, note])
    counted = CountedBatches(iter([whole]), "s")
    list(counted)
    assert counted.n_samples == 2
    counted.check(account(2, 1, {"sample:r": 1}))
