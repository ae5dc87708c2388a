"""Models that cannot be had: what is fetched, what is said, and that names are helped along."""

import logging

import pytest
from huggingface_hub import constants
from huggingface_hub.errors import LocalEntryNotFoundError

from conceptaudit.errors import ConfigError, DataError
from conceptaudit.image.clip import find_clip
from conceptaudit.image.clip_models import cached_or_fetched


class Hub:
    """A model that is loaded from the cache, from the network, or not at all."""

    def __init__(self, *, cached: bool, network: bool) -> None:
        self.cached, self.network = cached, network
        self.asked: list[str] = []

    def load(self) -> str:
        self.asked.append("cache" if constants.HF_HUB_OFFLINE else "network")
        if self.cached or (self.network and not constants.HF_HUB_OFFLINE):
            return "model"
        # as open_clip does
        logging.getLogger().error("Failed to download weights for tag 'openai'")
        try:
            raise LocalEntryNotFoundError("not here")
        except LocalEntryNotFoundError as error:
            raise RuntimeError("Failed to download weights") from error


def test_cached_weights_ask_no_network():
    hub = Hub(cached=True, network=True)
    assert cached_or_fetched(hub.load, "ViT-B-32/openai", "") == "model"
    assert hub.asked == ["cache"]
    assert not constants.HF_HUB_OFFLINE


def test_weights_that_are_not_here_are_fetched_and_that_is_said(caplog):
    hub = Hub(cached=False, network=True)
    assert cached_or_fetched(hub.load, "ViT-B-32/openai", "") == "model"
    assert hub.asked == ["cache", "network"]
    assert caplog.messages == ["ViT-B-32/openai is not on this machine: fetching it."]


def test_without_network_the_error_says_what_to_do():
    hub = Hub(cached=False, network=False)
    with pytest.raises(DataError, match=r"ViT-B-32/openai .*cannot be downloaded.*HF_HOME"):
        cached_or_fetched(hub.load, "ViT-B-32/openai", "")
    assert not constants.HF_HUB_OFFLINE


def test_other_failures_are_not_tried_twice():
    asked = []

    def load():
        asked.append(1)
        raise RuntimeError("size mismatch")

    with pytest.raises(RuntimeError, match="size mismatch"):
        cached_or_fetched(load, "x", "")
    assert len(asked) == 1


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("ViT-B32/openai", r"Did you mean ViT-B-32"),
        ("lba", r"Did you mean lab\?"),
        ("ViT-B-32", r"weights as well.*of ViT-B-32/ and one of: openai"),
        ("ViT-B-32/opnai", r"no weights 'opnai'.*Did you mean openai\?"),
    ],
)
def test_a_misspelt_model_is_helped_along(name, message):
    with pytest.raises(ConfigError, match=message):
        find_clip(name, device="cpu")
