"""Which rows of a table are samples at all: those in a language asked for, those with a URL."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from conceptaudit.datasets._columns import Columns
from conceptaudit.datasets.base import CAPTION_UNIT, DOCUMENT_UNIT
from conceptaudit.errors import ConfigError

NO_LANGUAGE = "unknown"
"""Stands for a language that a row leaves empty."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RowRules:
    """What a row must have to be a sample, and how long its text may be."""

    # codes as the table writes them, in any case; none lets every language in
    languages: tuple[str, ...] = ()
    # whether a row whose URL is empty is left out, where the table has URLs
    require_url: bool = False
    # whether a text is a caption, cut where it is too long, or a document, which is not
    unit: str = CAPTION_UNIT

    def __post_init__(self) -> None:
        if self.unit not in (CAPTION_UNIT, DOCUMENT_UNIT):
            raise ConfigError(
                f"The 'unit' parameter of open_dataset must be {CAPTION_UNIT!r} or "
                f"{DOCUMENT_UNIT!r}. Got {self.unit!r} instead."
            )
        if any(not language.strip() for language in self.languages):
            raise ConfigError(
                "The 'languages' parameter of open_dataset must hold language codes such as "
                f"'en'. Got {list(self.languages)} instead."
            )

    @property
    def settings(self) -> dict[str, str]:
        """What changes the reading; nothing for a table that is read as it stands."""
        given = {
            "languages": " ".join(sorted(map(language_code, self.languages))),
            "require_url": "yes" if self.require_url else "",
            "unit": "" if self.unit == CAPTION_UNIT else self.unit,
        }
        return {name: value for name, value in given.items() if value}

    def columns(self, columns: Columns) -> list[str | None]:
        """Name the columns that must be read to apply the rules."""
        return [
            columns.language if self.languages else None,
            columns.url if self.require_url else None,
        ]

    def excluded(
        self, columns: Columns, values: Mapping[str, Sequence[Any]]
    ) -> Iterator[tuple[int, str, str]]:
        """Find the rows that are left out: position, reason, what was found."""
        if self.languages and columns.language is not None:
            wanted = frozenset(map(language_code, self.languages))
            for i, value in enumerate(values[columns.language]):
                code = language_code(value)
                if code not in wanted:
                    yield i, f"language_{_slug(code)}", code
        if self.require_url and columns.url is not None:
            for i, value in enumerate(values[columns.url]):
                if not isinstance(value, str) or not value:
                    yield i, "missing_url", ""


def language_code(value: Any) -> str:
    """Fold a language's code: case and the separator of its region do not matter.

    Examples
    --------
    >>> language_code("EN"), language_code("zh_CN "), language_code(None)
    ('en', 'zh-cn', 'unknown')
    """
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    code = value.strip().casefold().replace("_", "-") if isinstance(value, str) else ""
    return code or NO_LANGUAGE


def _slug(code: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", code)[:40]
