"""Many small shards read as fewer: an image folder has a shard per class, often of few images."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from conceptaudit.artifacts import digest_of
from conceptaudit.datasets.base import Dataset, Shard
from conceptaudit.records import SampleBatch


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupedDataset:
    """A dataset whose consecutive shards are read together; samples and their ids stay the same.

    Parameters
    ----------
    dataset : Dataset
    groups : tuple of tuple of Shard
        Shards of `dataset`, in reading order.
    """

    dataset: Dataset
    groups: tuple[tuple[Shard, ...], ...]

    @property
    def layout(self) -> str:
        """As of the dataset."""
        return self.dataset.layout

    @property
    def location(self) -> str:
        """As of the dataset."""
        return self.dataset.location

    @property
    def provides(self) -> frozenset[str]:
        """As of the dataset."""
        return self.dataset.provides

    @property
    def notes(self) -> tuple[str, ...]:
        """As of the dataset."""
        return self.dataset.notes

    @property
    def settings(self) -> dict[str, str]:
        """As of the dataset."""
        return self.dataset.settings

    def shards(self) -> tuple[Shard, ...]:
        """One shard per group, named after its first."""
        return tuple(
            replace(group[0], fingerprint=digest_of([shard.fingerprint for shard in group]))
            for group in self.groups
        )

    def read(self, shard: Shard, parts: frozenset[str]) -> Iterator[SampleBatch]:
        """Read the shards of a group one after the other."""
        [group] = [group for group in self.groups if group[0].name == shard.name]
        for one in group:
            yield from self.dataset.read(one, parts)


def grouped(dataset: Dataset, n_samples: int) -> GroupedDataset:
    """Group a dataset's shards to about `n_samples` each.

    Parameters
    ----------
    dataset : Dataset
        Whose shards know their number of rows; one that does not stays alone.
    n_samples : int
        At least 1.
    """
    groups: list[list[Shard]] = []
    room = 0
    for shard in dataset.shards():
        size = shard.stop - shard.start if shard.stop >= 0 else n_samples
        if groups and size <= room:
            groups[-1].append(shard)
            room -= size
        else:
            groups.append([shard])
            room = n_samples - size
    return GroupedDataset(dataset=dataset, groups=tuple(tuple(group) for group in groups))
