"""Which files of weights may be opened: a pickle can run code while it is read."""

from __future__ import annotations

import logging
from pathlib import Path

from conceptaudit.errors import ConfigError

SAFE = frozenset({".safetensors", ".npz", ".npy"})
"""Endings that open_clip reads without unpickling; it hands every other file to torch.load."""

LOCAL = "local-dir:"

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
