"""The ``conceptaudit`` program: its verbs, its exit codes, its last line of defence."""

from __future__ import annotations

import errno
import functools
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module, metadata
from typing import Annotated, Any, get_args, get_type_hints

import typer
from typer.core import TyperGroup

from conceptaudit.cli.arguments import at_home, check_here, check_places
from conceptaudit.cli.console import complain, say
from conceptaudit.cli.notices import NOTICES, gathered_warnings
from conceptaudit.cli.parts import ARGUMENTS
from conceptaudit.cli.streams import ERR, OUT, STREAMS, last_words
from conceptaudit.errors import ConceptAuditError
from conceptaudit.process import EXIT_INTERRUPTED, INTERRUPTED, interruptible

EXIT_FAULTS = 1
EXIT_USER = 2

# In the order in which a user meets them; each is a module with a function of its name.
VERBS = {
    "demo": "Run everything below on simulated data, offline.",
    "embed": "Embed a dataset's images once, for all that follows.",
    "index": "Index embeddings; search them by text or image.",
    "calibrate": "Learn a threshold per concept for image tags.",
    "count": "Count any words in captions, without an audit.",
    "audit": "Count concepts in captions, in images, and in both.",
    "judge": "Draw a sample of images or captions to judge.",
    "correct": "Put a judged sample into an audit's counts.",
    "status": "Show how far a run is, and what it costs.",
    "merge": "Finish what ran as parts (--shard).",
    "evidence": "Show captions in which a concept was counted, or not.",
    "compare": "Compare what audits of different datasets counted.",
    "reference": "List published counts, to compare with and to predict from.",
    "vocab": "List all nouns and noun phrases of captions.",
    "fit": "Fit how accuracy grows with frequency.",
    "predict": "Predict accuracy concept by concept, with intervals.",
    "plan": "Say how many more examples each class needs.",
    "evaluate": "Classify an evaluation set, and count class by class.",
    "retrieval": "Measure recall of captions and images, by concept.",
    "curate": "Choose and weigh samples for a better training set.",
    "longtail": "Build a clean, balanced test set of rare concepts.",
    "explore": "Look at audits in a browser, and judge samples.",
    "figure": "Draw figures of audits and curves for a paper.",
    "report": "Write an audit and what was made of it as one page.",
    "validate": "Check a run's files, accounts and counts.",
    "cite": "Print BibTeX of what a run rests on.",
    "lab": "Write simulated data whose true counts are known.",
}


class _Verbs(Mapping[str, Any]):
    """The verbs' commands, each made when it is asked for: ``--help`` imports none of them."""

    def __init__(self) -> None:
        self._made: dict[str, Any] = {}

    def __iter__(self) -> Iterator[str]:
        return iter(VERBS)

    def __len__(self) -> int:
        return len(VERBS)

    def __getitem__(self, verb: str) -> Any:
        if verb not in self._made:
            if verb not in VERBS:
                raise KeyError(verb)
            function = getattr(import_module(f"conceptaudit.cli.{verb}"), verb)
            single = typer.Typer(add_completion=False, rich_markup_mode=None)
            single.command(verb, short_help=VERBS[verb])(_guarded(function))
            self._made[verb] = typer.main.get_command(single)
        return self._made[verb]


class _Program(TyperGroup):
    """The program, whose verbs are loaded when they run."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**{**attributes, "commands": None})
        self.commands = _Verbs()  # type: ignore[assignment] # read, never written to

    def list_commands(self, _: Any) -> list[str]:
        return list(VERBS)

    def format_commands(self, _: Any, formatter: Any) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(VERBS.items()))


app = typer.Typer(
    name="conceptaudit",
    cls=_Program,
    help="Audit concept frequency in image-caption data, predict zero-shot accuracy from it, and "
    "build long-tail test sets.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


class _State:
    """What the options before the verb set."""

    debug = False


_state = _State()


def _version(wanted: bool) -> None:
    if wanted:
        say(f"conceptaudit {metadata.version('conceptaudit')}")
        raise typer.Exit


@app.callback()
def options(
    debug: Annotated[
        bool,
        typer.Option(
            "--debug", help="Show the traceback of an error, and where warnings come from."
        ),
    ] = False,
    version: Annotated[  # noqa: ARG001 -- its callback acts before this function
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    """Hold the options that stand before the verb."""
    _state.debug = debug
    NOTICES.debug = debug


def _guarded(verb: Callable[..., None]) -> Callable[..., None]:
    """Wrap a verb: an error of ours is one line and exit code 2, an interruption is 130."""

    @functools.wraps(verb)
    def run_verb(*args: Any, **kwargs: Any) -> None:
        try:
            with interruptible():
                check_here()
                values = {name: at_home(value) for name, value in kwargs.items()}
                if verb.__name__ != "merge":  # it finishes what it reads, and checks by itself
                    check_places(values)
                verb(*args, **values)
        except KeyboardInterrupt:
            complain(INTERRUPTED)
            sys.exit(EXIT_INTERRUPTED)
        except ConceptAuditError as error:
            if _state.debug:
                raise
            complain(f"error: {in_options(str(error), verb)}")
            sys.exit(EXIT_USER)
        except OSError as error:  # a disk, a file system, a limit of this machine
            if _state.debug or error.errno is None:
                raise
            where = f": {error.filename}" if error.filename else ""
            complain(f"error: {error.strerror}{where}. --debug shows where it happened.")
            sys.exit(EXIT_USER)

    return run_verb


def run() -> None:
    """Run the program with the arguments of the command line, and exit."""
    # torch's threads spin while they wait, which on a shared machine slowed encoding fivefold
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    STREAMS.install()
    code = main(sys.argv[1:])
    for place, words in last_words():
        if place == ERR or "--json" not in sys.argv:
            (sys.stderr if place == ERR else sys.stdout).write(f"{words}\n")
    sys.exit(EXIT_USER if not code and _answer_is_lost(sys.argv[1:]) else code)


def _answer_is_lost(arguments: list[str]) -> bool:
    """Whether what was asked for was to be printed, and a disk did not take it.

    A reader that has gone away has read what it wanted; and where results are files, what is
    printed is commentary.
    """
    error = STREAMS.failure(OUT)
    if error is None or error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return False
    files = any(word in ("-o", "--out") or word.startswith("--out=") for word in arguments)
    return "--json" in arguments or not files


def main(arguments: list[str]) -> int:
    """Run the program with these arguments and return its exit code."""
    ARGUMENTS.set(tuple(arguments))
    try:
        with gathered_warnings(complain):
            app(arguments)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0


_PARAMETER = re.compile(r"(?:The )?'(?P<name>\w+)' parameter(?: of [\w.]+)?")

# Parameters of the library whose options have other names; the first that the verb has.
SYNONYMS = {
    "location": ("dataset", "images", "location"),
    "source": ("concepts", "class_names", "frequencies"),
    "target": ("target", "out"),
    "models": ("clip",),
    "model": ("clip", "model"),
    "embedding_array": ("embeddings",),
}


def in_options(message: str, verb: Callable[..., Any]) -> str:
    """Name the options of a verb where a message names parameters of the library.

    A parameter that the verb has no option for keeps its name.

    Examples
    --------
    >>> from typing import Annotated
    >>> import typer
    >>> def verb(level: Annotated[float, typer.Option("--level", "-l")] = 0.9): ...
    >>> in_options("The 'level' parameter of fit_curve must lie in (0, 1).", verb)
    '--level must lie in (0, 1).'
    """
    names = _option_names(verb)
    renamed: dict[str, str] = getattr(verb, "renamed", {})

    def option(match: re.Match[str]) -> str:
        name = match["name"]
        known = (names[n] for n in (renamed.get(name), *SYNONYMS.get(name, ()), name) if n in names)
        return next(known, match[0])

    return _PARAMETER.sub(option, message)


def _option_names(verb: Callable[..., Any]) -> dict[str, str]:
    """Map each parameter of a verb to its long option, or to the argument as ``--help`` has it."""
    from typer.models import ArgumentInfo, OptionInfo

    names = {}
    for name, hint in get_type_hints(verb, include_extras=True).items():
        for info in get_args(hint)[1:]:
            if isinstance(info, OptionInfo):
                declared = [one for one in info.param_decls or () if one.startswith("--")]
                long = declared[0] if declared else f"--{name.replace('_', '-')}"
                names[name] = long.split("/", maxsplit=1)[0]
            elif isinstance(info, ArgumentInfo):
                metavar = info.metavar if isinstance(info.metavar, str) else None
                names[name] = metavar or name.upper()
    return names
