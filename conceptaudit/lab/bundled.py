"""The small CLIP model that is shipped with the lab."""

from pathlib import Path


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
