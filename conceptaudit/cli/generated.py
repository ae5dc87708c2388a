"""Command-line parameters from options, written in a verb's signature or in the records it names.

Both are written alike, with `conceptaudit.options.fields`; only this module knows of typer.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import typer

from conceptaudit.options.fields import Interval, Option, option_of, options_of


@dataclasses.dataclass(frozen=True, slots=True)
class Only:
    """Which of a record's options a verb has; others keep their defaults."""

    names: tuple[str, ...]


def takes_options(verb: Callable[..., None]) -> Callable[..., None]:
    """Give a verb the signature that typer reads: its own options, and those of its records.

    The verb is called with the records made from what the user gave; what was not given keeps the
    record's default. A parameter may be ``Annotated[Record, Only((…))]``.
    """
    hints = get_type_hints(verb, include_extras=True)
    records: dict[str, tuple[type, dict[str, str]]] = {}
    parameters: list[inspect.Parameter] = []
    for parameter in inspect.signature(verb).parameters.values():
        name, hint = parameter.name, hints[parameter.name]
        record, only = _record(hint)
        if record is not None:
            expanded = dict(_parameters(record, only))
            parameters += expanded.values()
            records[name] = (record, {given.name: field for field, given in expanded.items()})
        elif (about := option_of(parameter.default)) is not None:
            default = parameter.default.default
            parameters.append(_parameter(name, hint, default, about, within=about.within))
        else:
            parameters.append(parameter.replace(annotation=hint, kind=parameter.KEYWORD_ONLY))

    @functools.wraps(verb)
    def call(**given: Any) -> None:
        for name, (record, names) in records.items():
            values = {field: given.pop(option) for option, field in names.items()}
            given[name] = made(record, values)
        verb(**given)

    # typer reads the signature from here; mypy knows no such attributes of functions
    call.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    call.__annotations__ = {one.name: one.annotation for one in parameters}
    # messages of the library name the records' fields, those of the command line its options
    call.renamed = {  # type: ignore[attr-defined]
        field: option for _, names in records.values() for option, field in names.items()
    }
    return call


def made(record: type, values: dict[str, Any]) -> Any:
    """Make a record from what the command line gave; lists that are empty were not given."""
    kinds = _kinds(record)
    given: dict[str, Any] = {}
    for field, value in values.items():
        if isinstance(value, list) or (value is None and _element(kinds[field]) is not None):
            if value:
                given[field] = tuple(value)
        elif isinstance(value, str) and float in get_args(kinds[field]):
            given[field] = _number_or_word(value)
        else:
            given[field] = value
    return record(**given)


def _kinds(record: type) -> dict[str, Any]:
    """Types of the options that the command line may have.

    Hidden ones may be of types that are heavy to import, so they are not looked at.
    """
    shown = {field.name: field.type for field, about in options_of(record) if not about.hidden}
    probe = type(record.__name__, (), {"__annotations__": shown, "__module__": record.__module__})
    return get_type_hints(probe)


def _record(hint: Any) -> tuple[type | None, Only | None]:
    """Return the option record that a hint names, if it is one, and which options of it."""
    only = next((one for one in get_args(hint)[1:] if isinstance(one, Only)), None)
    kind = get_args(hint)[0] if get_origin(hint) is Annotated else hint
    is_record = isinstance(kind, type) and dataclasses.is_dataclass(kind)
    return (kind, only) if is_record else (None, None)


def _parameters(record: type, only: Only | None) -> Iterator[tuple[str, inspect.Parameter]]:
    """Yield a record's fields, each with the parameter that typer is to see."""
    kinds = _kinds(record)
    for field, about in options_of(record):
        if about.hidden or (only is not None and field.name not in only.names):
            continue
        kind = _shown_kind(kinds[field.name])
        default = field.default if about.default is dataclasses.MISSING else about.default
        if get_origin(kind) is list:
            kind, default = kind | None, None
        # the record checks its ranges itself, and names the field as a Python caller does
        name = about.name or field.name
        yield field.name, _parameter(name, kind, default, about, within=None)


def _parameter(
    name: str, kind: Any, default: Any, about: Option, *, within: Interval | None
) -> inspect.Parameter:
    """Make the parameter that typer is to see."""
    limits: dict[str, Any] = {}
    if within is not None:
        number = int if kind in (int, int | None) else float
        ends = {"min": within.low, "max": within.high}
        limits = {end: number(value) for end, value in ends.items() if math.isfinite(value)}
    shown: Any
    if about.is_argument:
        shown = typer.Argument(help=about.help, metavar=about.metavar, **limits)
    else:
        is_switch = kind is bool and default is True
        long = f"--{(about.name or name).replace('_', '-')}"
        long = f"{long}/--no-{long[2:]}" if is_switch else long
        shown = typer.Option(long, *about.flags, help=about.help, metavar=about.metavar, **limits)
    return inspect.Parameter(
        name,
        inspect.Parameter.KEYWORD_ONLY,
        default=inspect.Parameter.empty if default is dataclasses.MISSING else default,
        annotation=Annotated[kind, shown],
    )


def _element(kind: Any) -> Any:
    """Return what a field holds several of, if it does."""
    origin = get_origin(kind)
    return get_args(kind)[0] if origin is tuple or origin is Sequence else None


def _shown_kind(kind: Any) -> Any:
    """Return the type by which typer reads a field: one type, or it and None, or a list."""
    element = _element(kind)
    if element is not None:
        return list[int] if element is int else list[str]
    kinds = get_args(kind)
    if not kinds:
        return kind
    # a path may be text, and a number a word: the wider type reads both
    plain = next(one for one in (Path, str, *kinds) if one in kinds)
    return plain | None if type(None) in kinds else plain


def _number_or_word(text: str) -> float | str:
    """Read a number where there is one."""
    try:
        return float(text)
    except ValueError:
        return text
