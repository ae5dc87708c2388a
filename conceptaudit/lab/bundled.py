"""The small CLIP model that is shipped with the lab."""

import json
from pathlib import Path

from conceptaudit.lab.config import LabConfig


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


def lab_clip_data() -> LabConfig:
    """Return the knobs of the bundled model's training data.

    `generate` makes exactly that data from them. With another seed and fewer samples they
    describe a smaller dataset under the same frequency law.

    Examples
    --------
    >>> from dataclasses import replace
    >>> replace(lab_clip_data(), seed=1, n_samples=3_000).n_shards
    3
    """
    metrics = json.loads((lab_clip_path() / "metrics.json").read_text(encoding="utf-8"))
    return LabConfig.from_json(json.dumps(metrics["training_data"]))
