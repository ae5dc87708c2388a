"""Options that several verbs have, and checks of the places that they name."""

import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from conceptaudit.options.fields import flag, optional

SHARD = optional(
    "Do one part of N, I from 0: an array job. 'conceptaudit merge' finishes.", metavar="I/N"
)
RESUME = flag("Redo in OUT only what other inputs or settings change.")
OVERWRITE = flag("Remove the run that OUT holds.")
CROISSANT = optional("JSON file to write Croissant metadata of the result to (JSON-LD).")
AS_JSON = flag("Print JSON.", name="json")


# Parameters of verbs that name what is written; `tests/cli` holds that there is no other.
WRITTEN = frozenset(
    {
        "out", "pairs", "figure", "steps", "work", "save_embeddings", "as_concepts", "review_out",
        "download_list", "contact_sheet", "croissant",
    }
)  # fmt: skip

# Parameters that are text, or names of models more often than folders.
NOT_READ = frozenset({"template", "templates", "clip", "text", "pin", "exclude", "under", "mean"})


def check_here() -> None:
    """Refuse to work in a folder that was deleted meanwhile: no relative path leads anywhere."""
    from conceptaudit.errors import ConfigError

    try:
        os.getcwd()  # noqa: PTH109 -- Path.cwd() is the same with a detour
    except FileNotFoundError:
        raise ConfigError(
            "The current folder has been deleted. Change to another one (cd), and try again."
        ) from None


def check_places(values: dict[str, Any]) -> None:
    """Refuse outputs that are no places to write to, or overlap with what a verb reads."""
    from conceptaudit.store.places import check_apart, output_path

    written = [value for name, value in values.items() if name in WRITTEN and value is not None]
    for place in written:
        output_path(place)
    read = [value for name, value in values.items() if name not in WRITTEN | NOT_READ]
    flat = [one for value in read for one in (value if isinstance(value, list) else [value])]
    check_apart(written, [one for one in flat if isinstance(one, str | Path)])


def check_croissant(path: Path | None) -> None:
    """Refuse a place for Croissant metadata that is somebody's file, before any work is done."""
    from conceptaudit.store.outputs import output_files

    for output in output_files("croissant", [path]):
        output.check()


def put_croissant(folder: Path, path: Path | None) -> None:
    """Write a finished run's Croissant metadata, where that is asked for."""
    if path is None:
        return
    from conceptaudit.publication import write_croissant
    from conceptaudit.store.outputs import output_files, staged

    with staged(output_files("croissant", [path])) as files:
        for place in files.places.values():
            write_croissant(folder, place, near=path.parent)


def at_home(value: Any) -> Any:
    """Write ``~`` in a path out, or in a list of paths; shells leave it in ``--out=~/runs``.

    Examples
    --------
    >>> at_home("dogs ~ cats"), at_home(Path("~/runs")) == Path.home() / "runs"
    ('dogs ~ cats', True)
    """
    if isinstance(value, list):
        return [at_home(one) for one in value]
    if isinstance(value, str | Path) and str(value).startswith("~"):
        with suppress(RuntimeError):  # the name of no user: then it is a name of a file
            return type(value)(Path(value).expanduser())
    return value
