"""Fields of option records: help, range and command-line name beside the default."""

from __future__ import annotations

import dataclasses
import math
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from conceptaudit.errors import ConfigError

_KEY = "option"
Record = TypeVar("Record")


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """The numbers that an option may take.

    Examples
    --------
    >>> str(Interval.parse("[1, inf)")), str(Interval.parse("(0, 1]"))
    ('at least 1', 'in (0, 1]')
    >>> 0 in Interval.parse("(0, 1]"), 1 in Interval.parse("(0, 1]")
    (False, True)
    """

    text: str
    low: float
    high: float

    @classmethod
    def parse(cls, text: str) -> Interval:
        """Read an interval as mathematics writes it."""
        low, high = map(float, text[1:-1].split(","))
        return cls(text=text, low=low, high=high)

    def __contains__(self, value: float) -> bool:
        above = value >= self.low if self.text[0] == "[" else value > self.low
        return above and (value <= self.high if self.text[-1] == "]" else value < self.high)

    def __str__(self) -> str:
        if math.isinf(self.high) and not math.isinf(self.low):
            return f"{'at least' if self.text[0] == '[' else 'above'} {self.low:g}"
        if math.isinf(self.low):
            return f"{'at most' if self.text[-1] == ']' else 'below'} {self.high:g}"
        return f"in {self.text}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """Everything known of an option beside its type and default."""

    help: str  # for --help and for the record's docstring
    name: str | None = None  # on the command line, where it differs from the field's
    flags: tuple[str, ...] = ()  # spellings on the command line beside the long one
    within: Interval | None = None  # numbers that are allowed
    choices: tuple[str, ...] = ()  # texts that are allowed; none for any
    default: Any = dataclasses.MISSING  # the command line's, where it differs from the field's
    hidden: bool = False  # whether the command line leaves it out
    metavar: str | None = None  # the value's name in --help
    is_argument: bool = False  # whether its place names it, and no option

    def allows(self, value: Any) -> bool:
        """Whether a value lies in the range; None always does."""
        if value is None:
            return True
        if self.choices:
            return value in self.choices
        return self.within is None or isinstance(value, str) or value in self.within

    @property
    def allowed(self) -> str:
        """The range in words."""
        return f"one of {list(self.choices)}" if self.choices else str(self.within or "")


def option(
    default: Any,
    help: str,  # noqa: A002 -- as typer calls it
    *,
    within: str | None = None,
    cli_default: Any = dataclasses.MISSING,
    **about: Any,
) -> Any:
    """Make a field of an option record, or the default of a verb's parameter.

    Other keywords are those of `Option`.
    """
    interval = None if within is None else Interval.parse(within)
    metadata = {_KEY: Option(help=help, within=interval, default=cli_default, **about)}
    if callable(default):
        return dataclasses.field(default_factory=default, metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


optional = partial(option, None)  # an option that need not be given, and then is None

flag = partial(option, False)  # an option that is off unless it is given

required = partial(option, dataclasses.MISSING)  # an option that must be given


def argument(help: str, *, default: Any = dataclasses.MISSING, **about: Any) -> Any:  # noqa: A002
    """Make the default of a verb's parameter that its place on the command line names."""
    return option(default, help, is_argument=True, **about)


def options_of(record: object) -> Iterator[tuple[dataclasses.Field[Any], Option]]:
    """Yield the fields of a record, or of its class, that `option` made."""
    for field in dataclasses.fields(record):  # type: ignore[arg-type] # an object or its class
        if (about := option_of(field)) is not None:
            yield field, about


def option_of(default: object) -> Option | None:
    """Return what `option` noted, if it made this field or default."""
    return default.metadata.get(_KEY) if isinstance(default, dataclasses.Field) else None


def check_options(record: object) -> None:
    """Check that every option of a record lies in its range.

    Raises
    ------
    ConfigError
        One does not.
    """
    for field, about in options_of(record):
        value = getattr(record, field.name)
        if not about.allows(value):
            raise ConfigError(
                f"The '{field.name}' parameter of {type(record).__name__} must be "
                f"{about.allowed}. Got {value!r} instead."
            )


def documented(record: type[Record]) -> type[Record]:
    """Add the ``Parameters`` section to the docstring of an option record.

    Examples
    --------
    >>> @documented
    ... @dataclass(frozen=True)
    ... class Options:
    ...     '''Options.'''
    ...
    ...     level: float = option(0.9, "Coverage of the intervals.", within="(0, 1)")
    >>> Options.__doc__.splitlines()[-2:]
    ['level : float, default 0.9', '    Coverage of the intervals. In (0, 1).']
    """
    lines = ["Parameters", "----------"]
    for field, about in options_of(record):
        kind = field.type if isinstance(field.type, str) else getattr(field.type, "__name__", "")
        if about.choices:
            kind = "{" + ", ".join(map(repr, about.choices)) + "}"
        default = "" if field.default is dataclasses.MISSING else f", default {field.default!r}"
        lines.append(f"{field.name} : {kind}{default}")
        allowed = f" {str(about.within).capitalize()}." if about.within else ""
        text = about.help + allowed
        lines += textwrap.wrap(text, 96, initial_indent=" " * 4, subsequent_indent=" " * 4)
    doc = textwrap.dedent("    " + (record.__doc__ or "")).strip()
    head, marker, rest = _split(doc)
    record.__doc__ = "\n\n".join(filter(None, [head, "\n".join(lines), marker + rest]))
    return record


def _split(doc: str) -> tuple[str, str, str]:
    """Split a docstring before the sections that come after its parameters."""
    starts = [at for at in (doc.find(f"\n\n{name}\n---") for name in _LATER) if at >= 0]
    if not starts:
        return doc, "", ""
    first = min(starts)
    return doc[:first], "", doc[first:].strip()


_LATER = ("Raises", "Examples", "Notes", "References")
