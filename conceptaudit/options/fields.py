"""Fields of option records: help, range and command-line name beside the default."""

from __future__ import annotations

import dataclasses
import math
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass
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
    """What is known of an option beside its type and default.

    Parameters
    ----------
    help : str
        For ``--help`` and for the record's docstring.
    name : str or None
        Of the command line's option, where it differs from the field's.
    flags : tuple of str
        Spellings on the command line beside the long one.
    within : Interval or None
        Numbers that are allowed.
    choices : tuple of str
        Texts that are allowed; none for any.
    default : object
        The command line's, where it differs from the field's.
    hidden : bool
        Whether the command line leaves it out.
    """

    help: str
    name: str | None
    flags: tuple[str, ...]
    within: Interval | None
    choices: tuple[str, ...]
    default: Any
    hidden: bool

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
    name: str | None = None,
    flags: tuple[str, ...] = (),
    within: str | None = None,
    choices: tuple[str, ...] = (),
    cli_default: Any = dataclasses.MISSING,
    hidden: bool = False,
) -> Any:
    """Make a field of an option record; parameters are those of `Option`."""
    about = Option(
        help=help,
        name=name,
        flags=flags,
        within=None if within is None else Interval.parse(within),
        choices=choices,
        default=cli_default,
        hidden=hidden,
    )
    if callable(default):
        return dataclasses.field(default_factory=default, metadata={_KEY: about})
    return dataclasses.field(default=default, metadata={_KEY: about})


def options_of(record: object) -> Iterator[tuple[dataclasses.Field[Any], Option]]:
    """Yield the fields of a record, or of its class, that `option` made."""
    for field in dataclasses.fields(record):  # type: ignore[arg-type] # an object or its class
        if _KEY in field.metadata:
            yield field, field.metadata[_KEY]


def help_of(make: Callable[..., Any], **more: Any) -> str:
    """Return the help of a shared option, for a verb that has no record."""
    about: Option = make(**more).metadata[_KEY]
    return about.help


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
