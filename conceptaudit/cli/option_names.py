"""Errors of the library in the words of the command line: options, not parameters."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, get_args, get_type_hints

_PARAMETER = re.compile(r"(?:The )?'(?P<name>\w+)' parameter(?: of [\w.]+)?")

SYNONYMS = {
    "location": ("dataset", "images", "location"),
    "source": ("concepts", "class_names", "frequencies"),
    "target": ("target", "out"),
    "models": ("clip",),
    "model": ("clip", "model"),
    "embedding_array": ("embeddings",),
}
"""Parameters of the library whose options have other names; the first that the verb has."""


def in_options(message: str, verb: Callable[..., Any]) -> str:
    """Name the options of a verb where a message names parameters of the library.

    A parameter that the verb has no option for keeps its name.

    Parameters
    ----------
    message : str
        Of an error.
    verb : callable
        The function of a verb, annotated for typer.

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
