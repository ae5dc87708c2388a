"""Which models a user can name, which files they need, and which of these may be opened."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import TypeVar

from conceptaudit.errors import ConfigError, DataError

LAB = "lab"
UNTRAINED = "untrained"
HUB, LOCAL = "hf-hub:", "local-dir:"  # open_clip's own prefixes

CONFIG = "open_clip_config.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelName:
    """A model as open_clip is asked for it."""

    architecture: str  # open_clip's model name, ``"local-dir:FOLDER"`` or ``"hf-hub:ORG/NAME"``
    # a pretrained tag, a path, `UNTRAINED`; None where the architecture names the weights too
    weights: str | None = None

    @property
    def untrained(self) -> bool:
        """Whether random weights were asked for."""
        return self.weights == UNTRAINED

    @property
    def forces_quick_gelu(self) -> bool:
        """Whether the weights were trained with QuickGELU where open_clip would build GELU.

        The tag decides; a tag without an entry leaves the model's configuration as it is.
        open_clip itself only warns of it since version 3.
        """
        import open_clip

        if self.weights is None:
            return False
        tag = open_clip.get_pretrained_cfg(self.architecture, self.weights)
        configuration = open_clip.get_model_config(self.architecture) or {}
        return bool(tag.get("quick_gelu")) and not configuration.get("quick_gelu", False)

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader of the results has to know of the model."""
        notes = []
        if self.forces_quick_gelu:
            notes.append(
                f"{self.architecture}/{self.weights} was trained with QuickGELU and runs with it; "
                f"open_clip's configuration of {self.architecture} alone has GELU."
            )
        if self.untrained:
            notes.append(
                f"{self.architecture}/{UNTRAINED} has random weights: its numbers mean nothing."
            )
        return tuple(notes)


def parse_name(name: str) -> ModelName:
    """Split a model's name into what open_clip calls model name and pretrained tag (or path)."""
    import open_clip

    if name == LAB:
        from conceptaudit.lab.bundled import lab_clip_path

        return ModelName(architecture=f"{LOCAL}{lab_clip_path()}")
    if name.startswith(HUB):
        if not all(name.removeprefix(HUB).partition("/")):
            raise ConfigError(
                f"A model of the Hugging Face hub is named {HUB}ORGANISATION/NAME (--clip). "
                f"Got {name!r} instead."
            )
        return ModelName(architecture=name)
    if name.startswith(LOCAL) or (Path(name) / CONFIG).is_file():
        return _folder(Path(name.removeprefix(LOCAL)).expanduser())
    architecture, _, weights = name.partition("/")
    models = open_clip.list_models()
    if architecture not in models:
        folded = {known.casefold(): known for known in [*models, LAB]}
        near = [folded[match] for match in get_close_matches(architecture.casefold(), folded, n=2)]
        raise ConfigError(
            "The model (--clip) must be 'lab', MODEL/WEIGHTS with a model that open_clip knows, "
            f"{HUB}ORGANISATION/NAME, or a folder with {CONFIG}. Got {name!r} instead."
            + (f" Did you mean {' or '.join(near)}?" if near else "")
        )
    known = open_clip.list_pretrained_tags_by_model(architecture)
    if weights != UNTRAINED and weights not in known and not Path(weights).is_file():
        near = get_close_matches(weights, known, n=1)
        raise ConfigError(
            f"open_clip has no weights {weights!r} for {architecture} and there is no such file."
            f"{f' Did you mean {near[0]}?' if near else ''} It knows: {', '.join(known) or 'none'}."
            if weights
            else f"The model (--clip) must name weights as well. Got {name!r} instead of "
            f"{architecture}/ and one of: {', '.join(known) or 'none that open_clip knows'}."
        )
    return ModelName(architecture=architecture, weights=weights)


def _folder(folder: Path) -> ModelName:
    if not (folder / CONFIG).is_file():
        lack = f"holds no {CONFIG}" if folder.is_dir() else "does not exist"
        raise ConfigError(
            f"The model's folder {folder} (--clip) {lack}. Give one with {CONFIG} and "
            "open_clip_model.safetensors."
        )
    return ModelName(architecture=f"{LOCAL}{folder}")


def label_of(name: str) -> tuple[str, str]:
    """Split a model's name into architecture and pretraining, as result tables carry them.

    >>> label_of("ViT-B-32/laion2b_s34b_b79k"), label_of("hf-hub:timm/ViT-B-16-SigLIP")
    (('ViT-B-32', 'laion2b_s34b_b79k'), ('timm/ViT-B-16-SigLIP', ''))
    """
    if name.startswith(HUB):
        return name.removeprefix(HUB), ""
    folder = Path(name.removeprefix(LOCAL))
    if name.startswith(LOCAL) or folder.is_dir():
        return folder.name, ""
    architecture, _, weights = name.partition("/")
    return architecture, weights


T = TypeVar("T")

SAFE = frozenset({".safetensors", ".npz", ".npy"})
"""Endings that open_clip reads without unpickling; it hands every other file to torch.load."""

_log = logging.getLogger(__name__)


def check_weights(asked: ModelName, *, allow_pickle: bool) -> None:
    """Refuse a user's file of weights that is a pickle, unless that was allowed."""
    pickled = _pickled_file(asked)
    if pickled is None:
        return
    if not allow_pickle:
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


def _pickled_file(asked: ModelName) -> Path | None:
    if asked.architecture.startswith(LOCAL):
        folder = Path(asked.architecture.removeprefix(LOCAL))
        if any(folder.glob("*.safetensors")):  # open_clip takes these first
            return None
        return min([*folder.glob("*.bin"), *folder.glob("*.pth")], default=None)
    # what open_clip downloads under a tag of its own goes through the restricted unpickler anyway
    weights = Path(asked.weights or "")
    return weights if weights.is_file() and weights.suffix not in SAFE else None


def load_failures() -> tuple[type[Exception], ...]:
    """Name what open_clip, torch and safetensors raise for weights that cannot be used."""
    from importlib import import_module

    import safetensors

    # the class is needed and nothing else of that module, which this package does not use
    unpickling: type[Exception] = import_module("pickle").UnpicklingError
    usual = (RuntimeError, OSError, ValueError, KeyError, TypeError, EOFError, AttributeError)
    return *usual, unpickling, safetensors.SafetensorError


def needs(asked: ModelName) -> str:
    """Say which files a model needs, in a sentence."""
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


def cached_or_fetched(load: Callable[[], T], what: str, needs: str) -> T:
    """Load a part of a model from what lies on this machine, and only else from the network."""
    # Asked plainly, huggingface_hub looks for a newer version first, and tries that for half a
    # minute where there is no network, although the weights are there; every worker would wait so.
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
            f"answer. {needs} Try again with a network; or load them once on a "
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
