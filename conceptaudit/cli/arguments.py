"""Options that several verbs have, each said once."""

import os
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import typer

Layout = Annotated[
    str,
    typer.Option(
        help="'table', 'webdataset', 'files', 'embeddings', 'coco' or one that a package adds "
        "(docs/formats.md); 'auto' finds out which."
    ),
]
CaptionColumn = Annotated[
    str | None,
    typer.Option(
        help="Caption column, where its name is not a known one; of archives the ending of the "
        "members (outputs.txt)."
    ),
]
ImageColumn = Annotated[
    str | None,
    typer.Option(
        help="Column of images, where its name is not a known one; of archives the ending of the "
        "members (input.jpg)."
    ),
]
KeyColumn = Annotated[
    str | None, typer.Option(help="Key column, where its name is not a known one.")
]
UrlColumn = Annotated[
    str | None, typer.Option(help="URL column, where its name is not a known one.")
]
DatasetKey = Annotated[
    str | None,
    typer.Option(
        help="Which list to read of a --concepts file with the class names of several datasets."
    ),
]
SpacyModel = Annotated[
    str, typer.Option(help="spaCy pipeline by name or path; 'bundled' is English.")
]
BackgroundVectors = Annotated[
    str | None,
    typer.Option(
        help=".npy with vectors of common nouns by the model of --concept-vectors, on which "
        "concepts are centred; known models and --clip need none."
    ),
]
Templates = Annotated[
    list[str] | None, typer.Option(help="Prompt template with {}; repeat for an ensemble.")
]
AliasPrompts = Annotated[
    bool, typer.Option("--alias-prompts", help="Prompt with aliases too, and average.")
]
AllowPickle = Annotated[
    bool,
    typer.Option(
        "--allow-pickle-weights",
        help="Open weights that are a pickle (with torch's restricted unpickler).",
    ),
]
Device = Annotated[str, typer.Option(help="'auto', 'cpu' or 'cuda:0'.")]
Workers = Annotated[
    int | None, typer.Option(help="Worker processes; one per processor by default.")
]
EngineKind = Annotated[
    str,
    typer.Option(
        "--engine",
        help="Who works: 'serial', 'processes', 'ray', or 'auto': processes. Changes no result.",
    ),
]
RayAddress = Annotated[
    str | None,
    typer.Option(help="Address of a running Ray cluster; 'auto' finds this machine's."),
]
ShardOfRun = Annotated[
    str | None,
    typer.Option(
        "--shard",
        metavar="I/N",
        help="Do one part of N, I from 0: an array job. 'conceptaudit merge' finishes.",
    ),
]
SkipUnreadable = Annotated[
    bool, typer.Option("--skip-unreadable", help="List files that cannot be read, and go on.")
]
Level = Annotated[float, typer.Option(help="Coverage of the intervals.")]
SampledFrom = Annotated[
    int | None,
    typer.Option(
        help="Samples of the whole dataset, before drops, where a random sample of it was read."
    ),
]
Share = Annotated[
    float | None,
    typer.Option(help="The same as the share that was read, in (0, 1]: 0.01 is one in a hundred."),
]
Drawn = Annotated[
    int | None,
    typer.Option(help="Audit about this many samples, drawn at random: shards, then rows."),
]
Resume = Annotated[
    bool, typer.Option("--resume", help="Redo in OUT only what other inputs or settings change.")
]
OverwriteRun = Annotated[bool, typer.Option("--overwrite", help="Remove the run that OUT holds.")]
Pretraining = Annotated[
    str | None,
    typer.Option(help="Name of the pretraining set in the results; the weights' by default."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


WRITTEN = frozenset(
    {
        "out", "pairs", "figure", "steps", "work", "save_embeddings", "as_concepts", "review_out",
        "download_list", "contact_sheet",
    }
)  # fmt: skip
"""Parameters of verbs that name what is written; `tests/cli` holds that there is no other."""

NOT_READ = frozenset({"template", "templates", "clip", "text", "pin", "exclude", "under", "mean"})
"""Parameters that are text, or names of models more often than folders."""


def check_here() -> None:
    """Refuse to work in a folder that was deleted meanwhile: no relative path leads anywhere.

    Raises
    ------
    ConfigError
        It was.
    """
    from conceptaudit.errors import ConfigError

    try:
        os.getcwd()  # noqa: PTH109 -- Path.cwd() is the same with a detour
    except FileNotFoundError:
        raise ConfigError(
            "The current folder has been deleted. Change to another one (cd), and try again."
        ) from None


def check_places(values: dict[str, Any]) -> None:
    """Refuse outputs that are no places to write to, or overlap with what a verb reads.

    Parameters
    ----------
    values : dict
        The verb's parameters by name.

    Raises
    ------
    ConfigError, ArtifactMismatchError
        As `conceptaudit.store.places.output_path` and `check_apart`.
    """
    from conceptaudit.store.places import check_apart, output_path

    written = [value for name, value in values.items() if name in WRITTEN and value is not None]
    for place in written:
        output_path(place)
    read = [value for name, value in values.items() if name not in WRITTEN | NOT_READ]
    flat = [one for value in read for one in (value if isinstance(value, list) else [value])]
    check_apart(written, [one for one in flat if isinstance(one, str | Path)])


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
