"""Grouping changes how many shards there are, and nothing else."""

import shutil

import pytest

from conceptaudit.datasets import IMAGE, open_dataset
from conceptaudit.zeroshot.evaluation_set import grouped


@pytest.mark.parametrize("size", [1, 7, 1_000])
def test_the_same_samples_in_the_same_order(image_folder, size):
    plain = open_dataset(image_folder, layout="files", shard_rows=2)

    def samples(dataset):
        batches = [b for s in dataset.shards() for b in dataset.read(s, frozenset({IMAGE}))]
        ids = [i for batch in batches for i in batch.sample_ids.tolist()]
        return ids, [key for batch in batches for key in batch.keys]

    together = grouped(plain, size)
    assert samples(together) == samples(plain)
    sizes = [sum(s.stop - s.start for s in group) for group in together.groups]
    assert all(n <= max(size, 2) for n in sizes)
    if size > 1:
        assert len(together.shards()) < len(plain.shards())


def test_a_changed_image_changes_its_group_alone(image_folder, tmp_path):

    root = shutil.copytree(image_folder, tmp_path / "set")
    opened = open_dataset(root, layout="files", shard_rows=2)
    before = grouped(opened, 10).shards()
    victim = next(iter(sorted(root.rglob("*.jpg"))))
    victim.write_bytes(victim.read_bytes() + b"0")
    after = grouped(open_dataset(root, layout="files", shard_rows=2), 10).shards()
    changed = [b.name for b, a in zip(before, after, strict=True) if b != a]
    assert changed == [before[0].name]
