"""Which files of weights may be opened: a pickle can run code while it is read."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from conceptaudit.errors import ConfigError, DataError
from conceptaudit.image.model_names import CONFIG, HUB, LOCAL, ModelName

T = TypeVar("T")

SAFE = frozenset({".safetensors", ".npz", ".npy"})
"""Endings that open_clip reads without unpickling; it hands every other file to torch.load."""

_log = logging.getLogger(__name__)


def check_weights(architecture: str, weights: str | None, allow_pickle_weights: bool) -> None:
    """Refuse a user's file of weights that is a pickle, unless that was allowed.

    Weights that open_clip downloads under a tag of its own are read by torch's restricted
    unpickler in any case.

    Parameters
    ----------
    architecture : str
        open_clip's model name, or ``"local-dir:FOLDER"``.
    weights : str or None
        A path or a pretrained tag.
    allow_pickle_weights : bool
        Whether the user accepts a pickle; a warning is then logged.

    Raises
    ------
    ConfigError
        The file is a pickle and that was not allowed.
    """
    pickled = _pickled_file(architecture, weights)
    if pickled is None:
        return
    if not allow_pickle_weights:
        raise ConfigError(
            f"{pickled} is a pickled checkpoint, which can run code when it is opened. Convert it "
            "to .safetensors (safetensors.torch.save_file on its state dict) and name that, or, "
            "if you trust where it comes from, add --allow-pickle-weights."
        )
    _log.warning(
        "%s is a pickled checkpoint. It is read by torch's restricted unpickler (tensors only); "
        "open only files whose origin you trust.",
        pickled,
    )


def _pickled_file(architecture: str, weights: str | None) -> Path | None:
    if architecture.startswith(LOCAL):
        folder = Path(architecture.removeprefix(LOCAL))
        if any(folder.glob("*.safetensors")):  # open_clip takes these first
            return None
        return next(iter(sorted([*folder.glob("*.bin"), *folder.glob("*.pth")])), None)
    if weights is None or not Path(weights).is_file() or Path(weights).suffix in SAFE:
        return None
    return Path(weights)


def load_failures() -> tuple[type[Exception], ...]:
    """Name what open_clip, torch and safetensors raise for weights that cannot be used."""
    from importlib import import_module

    import safetensors

    # the class is needed and nothing else of that module, which this package does not use
    unpickling: type[Exception] = import_module("pickle").UnpicklingError
    usual = (RuntimeError, OSError, ValueError, KeyError, TypeError, EOFError, AttributeError)
    return *usual, unpickling, safetensors.SafetensorError


def needs(asked: ModelName) -> str:
    """Say which files a model needs, in a sentence.

    Parameters
    ----------
    asked : ModelName
    """
    import open_clip

    if asked.architecture.startswith(LOCAL):
        return (
            f"A folder needs {CONFIG}, open_clip_model.safetensors and, where the configuration "
            "has hf_tokenizer_name, the tokenizer's files (tokenizer.json, tokenizer_config.json)."
        )
    if asked.architecture.startswith(HUB):
        return f"{asked.architecture.removeprefix(HUB)} on huggingface.co has to have {CONFIG}."
    text = (open_clip.get_model_config(asked.architecture) or {}).get("text_cfg", {})
    parts = [
        f"{what} {text[name]!r}"
        for what, name in (("the tokenizer", "hf_tokenizer_name"), ("the text", "hf_model_name"))
        if text.get(name)
    ]
    if not asked.untrained:
        parts.append(f"the weights {asked.weights!r}")
    listed = " and ".join(parts) or "nothing"
    return f"{asked.architecture} needs {listed} from huggingface.co."


def cached_or_fetched(load: Callable[[], T], what: str, needs: str = "") -> T:
    """Load a model from what lies on this machine, and only else from the network.

    Asked plainly, huggingface_hub looks for a newer version first, and tries that for half a
    minute where there is no network, although the weights are there; every worker would wait so.

    Parameters
    ----------
    load : callable
        Loads it; called once, or twice where something has to be fetched.
    what : str
        What is loaded, as the subject of a sentence.
    needs : str
        Which files it needs, as a sentence.

    Raises
    ------
    DataError
        It is not here and cannot be fetched.
    """
    try:
        with _asking_the_hub(online=False):
            return load()
    except load_failures() as error:
        if not _is_not_here(error):
            raise
    _log.warning("%s is not on this machine: fetching it.", what)
    try:
        with _asking_the_hub(online=True):
            return load()
    except load_failures() as error:
        if not _is_not_here(error):
            raise
        raise DataError(
            f"{what} is not on this machine and cannot be downloaded: huggingface.co does not "
            f"answer. {needs}{' ' * bool(needs)}Try again with a network; or load them once on a "
            "machine that has one, bring its cache (~/.cache/huggingface, or HF_HOME) here; or "
            f"give a folder with {CONFIG} and open_clip_model.safetensors to --clip."
        ) from error


def _is_not_here(error: BaseException) -> bool:
    """Whether a file was missing and could not be fetched, somewhere down an error's causes."""
    from urllib.error import URLError

    from huggingface_hub.errors import LocalEntryNotFoundError, OfflineModeIsEnabled

    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, LocalEntryNotFoundError | OfflineModeIsEnabled | URLError):
            return True
        cause = cause.__cause__ or cause.__context__
    return False


@contextmanager
def _asking_the_hub(*, online: bool) -> Iterator[None]:
    """Let huggingface_hub use the network or not, and keep what it says of every try to itself."""
    from huggingface_hub import constants

    talkers = (logging.getLogger("huggingface_hub"), logging.getLogger())
    before, level = constants.HF_HUB_OFFLINE, talkers[0].level
    constants.HF_HUB_OFFLINE = before or not online
    talkers[0].setLevel(logging.ERROR)
    talkers[1].addFilter(_is_news)
    try:
        yield
    finally:
        talkers[1].removeFilter(_is_news)
        talkers[0].setLevel(level)
        constants.HF_HUB_OFFLINE = before


def _is_news(record: logging.LogRecord) -> bool:
    """Whether a log line says what our own error does not."""
    return not record.getMessage().startswith("Failed to download weights")
