"""The pictures behind search results, fetched from the dataset that holds them."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from conceptaudit.datasets import open_dataset
from conceptaudit.datasets.base import IMAGE
from conceptaudit.errors import ConfigError


def fetch_pictures(location: str | Path, keys: Collection[str]) -> dict[str, bytes]:
    """Read the encoded images of some samples, by key, in one pass that stops at the last.

    Parameters
    ----------
    location : str or Path
        A dataset with images.
    keys : collection of str
        External keys.

    Returns
    -------
    dict of str to bytes
        Keys that the dataset lacks are left out.

    Raises
    ------
    ConfigError
        The dataset holds no images.
    """
    dataset = open_dataset(location)
    if IMAGE not in dataset.provides:
        raise ConfigError(
            f"{location} ({dataset.layout}) holds no images to show, only "
            f"{', '.join(sorted(dataset.provides)) or 'nothing'}. Name the dataset whose pictures "
            "were embedded with --images."
        )
    wanted = set(keys)
    found: dict[str, bytes] = {}
    for shard in dataset.shards():
        if not wanted:
            break
        for batch in dataset.read(shard, frozenset({IMAGE})):
            for key, data in zip(batch.keys, batch.images or (), strict=True):
                if key in wanted and data is not None:
                    found[key] = data
                    wanted.discard(key)
            if not wanted:
                break
    return found
