"""The small CLIP model that is shipped with the lab."""

import json
from dataclasses import dataclass
from pathlib import Path

from conceptaudit.lab.config import LabConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class LabTraining:
    """How the bundled model was made, as far as its use depends on it.

    Parameters
    ----------
    config : LabConfig
        The knobs of its training data; `generate` makes exactly that data from them.
    templates : tuple of str
        Prompt templates with ``{}`` for the concept, those it was evaluated with.
    threshold : float
        Cosine similarity at which, over fresh scenes and all concepts together, as many
        concepts are tagged as are shown. One threshold for all concepts is a makeshift.
    """

    config: LabConfig
    templates: tuple[str, ...]
    threshold: float


def lab_clip_path() -> Path:
    """Name the folder of the bundled model, in open_clip's ``local-dir`` format.

    Returns
    -------
    pathlib.Path
        Holds ``open_clip_config.json``, ``open_clip_model.safetensors``, ``metrics.json`` and
        ``README.md``; ``open_clip.create_model_and_transforms(f"local-dir:{path}")`` loads it.

    Examples
    --------
    >>> (lab_clip_path() / "open_clip_config.json").is_file()
    True
    """
    return Path(__file__).parent / "models" / "lab-clip"


def lab_training() -> LabTraining:
    """Read how the bundled model was made.

    Examples
    --------
    >>> training = lab_training()
    >>> 0 < training.threshold < 1, training.templates[0]
    (True, 'a photo of a {}')
    """
    metrics = json.loads((lab_clip_path() / "metrics.json").read_text(encoding="utf-8"))
    return LabTraining(
        config=LabConfig.from_json(json.dumps(metrics["training_data"])),
        templates=tuple(metrics["templates"]),
        threshold=metrics["threshold"],
    )


def lab_clip_data() -> LabConfig:
    """Return the knobs of the bundled model's training data.

    With another seed and fewer samples they describe a smaller dataset under the same
    frequency law.

    Examples
    --------
    >>> from dataclasses import replace
    >>> replace(lab_clip_data(), seed=1, n_samples=3_000).n_shards
    3
    """
    return lab_training().config
