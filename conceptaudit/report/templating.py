"""The templates that the report and the explorer share.

Captions, names and notes come from strangers: every value is escaped, and what would not show or
would move other text is replaced (`markup.shown`).
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any

from conceptaudit.display import quantity
from conceptaudit.report.markup import Markup, data_script, shown
from conceptaudit.report.wording import (
    SIDES,
    count,
    decimal,
    level_name,
    listed,
    percent,
    reason,
)

if TYPE_CHECKING:
    from jinja2 import Environment


@cache
def environment() -> Environment:
    """Set the templates up: everything is escaped, and what is not defined is an error."""
    from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

    made = Environment(
        loader=ChoiceLoader(
            [
                PackageLoader("conceptaudit.report", "templates"),
                PackageLoader("conceptaudit.explore", "templates"),
            ]
        ),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_plain,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "count": lambda value: "–" if value is None else count(value),
        "percent": percent,
        "decimal": decimal,
        "ratio": lambda value: "∞" if math.isinf(value) else f"{value:.3g}",
        "quantity": quantity,
        "listed": listed,
        "reason": reason,
        "level_name": level_name,
        "caption": short_caption,
    }
    made.globals |= {"SIDES": SIDES, "data_script": data_script}
    return made


def _plain(value: Any) -> Any:
    if value is None:
        return ""
    return value if hasattr(value, "__html__") or not isinstance(value, str) else shown(value)


def render(name: str, /, **context: Any) -> Markup:
    """Fill a template."""
    return Markup(environment().get_template(name).render(context))


def asset(name: str) -> Markup:
    """Read one of our own style sheets or scripts."""
    return Markup(
        resources.files("conceptaudit.report").joinpath("assets", name).read_text("utf-8")
    )


def as_json(value: Mapping[str, Any]) -> str:
    """Lay a manifest out for a reader."""
    return json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False)


LONGEST_CAPTION = 180


def short_caption(text: str | None, longest: int = LONGEST_CAPTION) -> str:
    """Cut a caption to one short line; say where there is none."""
    if not text:
        return "no caption"
    line = " ".join(text.split())
    return line if len(line) <= longest else f"{line[: longest - 1]}…"
