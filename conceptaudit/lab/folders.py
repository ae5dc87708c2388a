"""Balanced test sets: one folder per concept, one main thing per picture."""

import hashlib
from pathlib import Path

from conceptaudit.artifacts import write_text
from conceptaudit.errors import ConfigError
from conceptaudit.lab.config import LabConfig
from conceptaudit.lab.generate import Progress, new_folder
from conceptaudit.lab.pictures import draw_scene, encode
from conceptaudit.lab.rng import Purpose, SampleRng
from conceptaudit.lab.zipf import ranked_concepts
from conceptaudit.store.places import output_path

MAX_PER_CONCEPT = 1_000_000


def write_image_folder(
    config: LabConfig,
    out: Path | str,
    *,
    per_concept: int = 20,
    progress: Progress | None = None,
) -> Path:
    """Write a balanced test set as an ImageFolder: ``out/{concept}/{number}.jpg``.

    Every concept in use gets equally many images, those that never occur included. Images
    are drawn as scenes are, one thing each, from a random stream that no dataset shares.

    Parameters
    ----------
    config : LabConfig
        Its seed, image size and concepts are used.
    out : path
        A folder that is new or empty, or that a killed process has begun to write this to.
    per_concept : int
        Images per concept, at least 1.
    progress : callable or None
        Called with the images done and the images in all, after every concept.

    Returns
    -------
    pathlib.Path
        The folder. It also holds ``classnames.txt`` (one name per line, in the order in which
        an ImageFolder numbers its classes) and ``lab.json``.

    Raises
    ------
    ConfigError
        `per_concept` is impossible.
    ArtifactMismatchError
        The folder holds something else.
    """
    if not 1 <= per_concept <= MAX_PER_CONCEPT:
        raise ConfigError(
            f"The 'per_concept' parameter of write_image_folder must be between 1 and "
            f"{MAX_PER_CONCEPT:,}. Got {per_concept} instead."
        )
    names = sorted(concept.name for concept in ranked_concepts(config))
    with new_folder(out, config, {"per_concept": per_concept}) as folder:
        if folder is None:
            return output_path(out)
        for position, name in enumerate(names):
            of_concept = folder / name
            of_concept.mkdir(exist_ok=True)
            for number in range(per_concept):
                picture = draw_test_picture(config, name, number)
                (of_concept / f"{number:05d}.jpg").write_bytes(picture)
            if progress is not None:
                progress((position + 1) * per_concept, len(names) * per_concept)
        write_text(folder / "classnames.txt", "\n".join(names) + "\n")
    return folder


def draw_test_picture(config: LabConfig, name: str, number: int) -> bytes:
    """Draw the `number`-th test image of a concept, as a JPEG file."""
    # The name, not its rank, decides: another frequency law gets the same pictures.
    spread = int.from_bytes(hashlib.sha256(name.encode()).digest()[:5])
    index = spread * 2**20 + number
    quality = 60 + SampleRng(seed=config.seed, index=index, purpose=Purpose.METADATA).below(36)
    return encode(draw_scene(config, index, [name], Purpose.TEST_SET), quality)
