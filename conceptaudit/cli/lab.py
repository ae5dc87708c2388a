"""``conceptaudit lab``: simulated datasets with known truth."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from conceptaudit.cli.arguments import AS_JSON
from conceptaudit.cli.console import emit_json, progress_bar, say, say_table
from conceptaudit.cli.generated import takes_options
from conceptaudit.display import quantity
from conceptaudit.options import shared
from conceptaudit.options.fields import argument, option, optional

ACTIONS = ("generate", "testset", "knobs")


@takes_options
def lab(
    action: str = argument(
        "'generate' a dataset, a balanced 'testset' (one folder of images per concept), or list "
        "the 'knobs'."
    ),
    *,
    out: Path | None = optional("Folder to write; new, or begun by a killed run.", flags=("-o",)),
    samples: int = option(10_000, "Image-caption pairs of a dataset."),
    per_concept: int = option(20, "Images per concept of a test set."),
    seed: int = option(0, "Decides every random choice."),
    layout: str = option(
        "webdataset", "'webdataset' (tars) or 'parquet' (images in tables).", name="format"
    ),
    knob: list[str] | None = optional("NAME=VALUE, any of the knobs; repeat for more."),
    workers: int | None = shared.workers(default=None),
    as_json: bool = AS_JSON,
) -> None:
    """Write simulated image-caption data whose true concept counts are known.

    The same seed and knobs give the same bytes, whatever the number of workers. truth.parquet
    says which concept is where in every image and caption.

    \u0008
    Example:
      conceptaudit lab generate -o lab --samples 5000 --knob truncated_rate=0.01
    """
    from conceptaudit.engine.base import available_cpus
    from conceptaudit.errors import ConfigError
    from conceptaudit.lab import LabConfig, generate, write_image_folder

    if action not in ACTIONS:
        raise ConfigError(f"The action must be one of {list(ACTIONS)}. Got {action!r} instead.")
    config = LabConfig.from_json(
        json.dumps({"seed": seed, "n_samples": samples, **_knobs(knob or [])})
    )
    knobs = json.loads(config.to_json())
    if action == "knobs":
        if as_json:
            emit_json(knobs)
        else:
            say_table(["knob", "value"], [[name, str(value)] for name, value in knobs.items()])
        return
    if out is None:
        raise ConfigError(f"'lab {action}' needs a folder to write: -o FOLDER.")
    with progress_bar() as progress:
        told = 0

        def tell(done: int, total: int) -> None:
            nonlocal told
            if told == 0:
                progress.start(f"lab {action}", total, unit="images")
            progress.advance(done - told)
            told = done

        if action == "generate":
            folder = generate(
                config, out, format=layout, processes=workers or available_cpus(), progress=tell
            ).folder
        else:
            folder = write_image_folder(config, out, per_concept=per_concept, progress=tell)
        progress.finish()
    if as_json:
        emit_json({"folder": str(folder), "knobs": knobs})
    else:
        what = f"{quantity(told, 'image')} in {folder}" if told else f"{folder} holds them already"
        say(f"{what}; every knob is in lab.json")


def _knobs(settings: list[str]) -> dict[str, Any]:
    from conceptaudit.errors import ConfigError

    knobs: dict[str, Any] = {}
    for setting in settings:
        name, equals, value = setting.partition("=")
        if not equals:
            raise ConfigError(f"A knob must be given as NAME=VALUE. Got {setting!r} instead.")
        try:
            knobs[name] = json.loads(value)
        except ValueError:
            knobs[name] = [part.strip() for part in value.split(",")]
    return knobs
