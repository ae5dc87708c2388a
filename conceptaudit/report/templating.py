"""The templates that the report and the explorer share.

Captions, names and notes come from strangers: every value is escaped, and what would not show or
would move other text is replaced (`shown`).
"""

from __future__ import annotations

import json
import math
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from conceptaudit.display import quantity
from conceptaudit.report import formatting
from conceptaudit.report.formatting import SIDES

if TYPE_CHECKING:
    from jinja2 import Environment

_SCRIPT_ESCAPES = {
    ord("<"): "\\u003c",
    ord(">"): "\\u003e",
    ord("&"): "\\u0026",
    0x2028: "\\u2028",
    0x2029: "\\u2029",
    **{code: f"\\u{code:04x}" for code in (0x61C, 0x200E, 0x200F, *range(0x202A, 0x202F))},
    **{code: f"\\u{code:04x}" for code in range(0x2066, 0x206A)},
}
"""Makes ``</script>`` and ``<!--`` impossible inside a script element, whatever the data hold, and
takes characters that turn the direction of text out of the page's source."""

_SHOWN = {"Cc": "\ufffd", "Cf": "\ufffd", "Cs": "\ufffd", "Zl": " ", "Zp": " "}
"""What stands for characters of these categories that would not show, or would move others."""

_KEPT = frozenset("\n\t\u200c\u200d")
"""Line ends, and the joiners that Persian, Hindi and emoji are written with."""

LONGEST_CAPTION = 180


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """One part of the page: a template with its values, or one sentence on why it is missing."""

    identifier: str
    title: str
    short: str
    values: Mapping[str, Any] = field(default_factory=dict)
    missing: str = ""

    @property
    def body(self) -> Markup:
        """What stands below the heading; text between backticks of `missing` is shown as code."""
        if self.missing:
            return render("_missing.html", pieces=self.missing.split("`"))
        return render(f"sections/{self.identifier}.html", **self.values)


@cache
def environment() -> Environment:
    """Set the templates up: everything is escaped, and what is not defined is an error."""
    from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

    rooms = ("conceptaudit.report", "conceptaudit.explore")
    made = Environment(
        loader=ChoiceLoader([PackageLoader(room, "templates") for room in rooms]),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_plain,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "count": lambda value: "–" if value is None else formatting.count(value),
        "percent": formatting.percent,
        "decimal": formatting.decimal,
        "ratio": lambda value: "∞" if math.isinf(value) else f"{value:.3g}",
        "quantity": quantity,
        "listed": formatting.listed,
        "level_name": formatting.level_name,
        "dataset_name": formatting.dataset_name,
        "caption": short_caption,
    }
    made.tests["finite"] = math.isfinite
    made.globals |= {"SIDES": SIDES, "data_script": data_script}
    return made


def _plain(value: Any) -> Any:
    if value is None:
        return ""
    return value if hasattr(value, "__html__") or not isinstance(value, str) else shown(value)


def shown(text: str) -> str:
    r"""Make a stranger's text safe to show: no control and no bidirectional characters.

    A caption that ends in a right-to-left override would turn round what follows it on the page.
    Line and paragraph separators become spaces.

    >>> shown("photo\u202egnp.exe\x00")
    'photo�gnp.exe�'
    """
    return "".join(
        _SHOWN.get(unicodedata.category(char), char) if char not in _KEPT else char for char in text
    )


def render(name: str, /, **values: Any) -> Markup:
    """Fill a template."""
    return Markup(environment().get_template(name).render(values))  # noqa: S704 -- escaped by it


def asset(name: str) -> Markup:
    """Read one of our own style sheets or scripts."""
    text = resources.files("conceptaudit.report").joinpath("assets", name).read_text("utf-8")
    return Markup(text)  # noqa: S704 -- ours


def data_script(identifier: str, value: Any) -> Markup:
    r"""Embed a value as JSON that a script can read and that nothing executes.

    >>> print(data_script("d", ["</script>"]))
    <script type="application/json" id="d">["\u003c/script\u003e"]</script>
    """
    body = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    body = body.encode("utf-8", "replace").decode("utf-8").translate(_SCRIPT_ESCAPES)
    opened = Markup('<script type="application/json" id="{}">').format(identifier)
    return Markup(f"{opened}{body}</script>")  # noqa: S704 -- no "<" is left in it


def short_caption(text: str | None, longest: int = LONGEST_CAPTION) -> str:
    """Cut a caption to one short line; say where there is none."""
    if not text:
        return "no caption"
    line = " ".join(text.split())
    return line if len(line) <= longest else f"{line[: longest - 1]}…"
