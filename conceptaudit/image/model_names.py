"""The models that a user can name: what open_clip calls them, and how they were trained."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from conceptaudit.errors import ConfigError

LAB = "lab"
UNTRAINED = "untrained"
HUB = "hf-hub:"
LOCAL = "local-dir:"
"""open_clip's own prefixes."""

CONFIG = "open_clip_config.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelName:
    """A model as open_clip is asked for it.

    Parameters
    ----------
    architecture : str
        open_clip's model name, ``"local-dir:FOLDER"`` or ``"hf-hub:ORG/NAME"``.
    weights : str or None
        A pretrained tag, a path, `UNTRAINED`; None where the architecture names the weights too.
    """

    architecture: str
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
    """Split a model's name into what open_clip calls model name and pretrained tag (or path).

    Raises
    ------
    ConfigError
        There is no such model or folder, or no such weights.
    """
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
        near = get_close_matches(architecture, [*models, LAB], n=2)
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

    Examples
    --------
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
