"""HTML and SVG that are safe by construction: text is escaped unless it is already `Markup`.

Captions, names and notes come from strangers. The only way into a page is `el`, which escapes
every text and attribute it is given, so a forgotten escape cannot happen.
"""

import html
import json
import unicodedata
from typing import Any

Node = "Markup | str | Iterable[Node] | None"

_VOID = frozenset({"meta", "img", "input", "br", "hr"})

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


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()

    def __html__(self) -> str:
        """Return itself: templates take it as it is."""
        return str(self)


def shown(text: str) -> str:
    r"""Make a stranger's text safe to show: no control and no bidirectional characters.

    A caption that ends in a right-to-left override would turn round what follows it on the page.
    Line and paragraph separators become spaces.

    Examples
    --------
    >>> shown("photo\u202egnp.exe\x00")
    'photo�gnp.exe�'
    """
    return "".join(
        _SHOWN.get(unicodedata.category(char), char) if char not in _KEPT else char for char in text
    )


def el(name: str, /, *children: Any, **attributes: Any) -> Markup:
    """Build an element.

    Parameters
    ----------
    name : str
        Tag name.
    *children : Markup, str, number, None or iterable of these
        Strings are escaped, None is nothing.
    **attributes : str, number, bool or None
        ``class_`` is ``class``, ``data_x`` is ``data-x``; True is an attribute without a value,
        None and False are left out.

    Examples
    --------
    >>> el("p", "1 < 2 ", el("b", "yes"), class_="note")
    '<p class="note">1 &lt; 2 <b>yes</b></p>'
    """
    opened = "".join(_attribute(key, value) for key, value in attributes.items())
    if name in _VOID:
        return Markup(f"<{name}{opened}>")
    return Markup(f"<{name}{opened}>{join(children)}</{name}>")


def join(nodes: Any) -> Markup:
    """Flatten nodes into HTML."""
    if nodes is None:
        return Markup("")
    if isinstance(nodes, Markup):
        return nodes
    if hasattr(nodes, "__html__"):
        return Markup(nodes.__html__())
    if isinstance(nodes, str):
        return Markup(html.escape(shown(nodes)))
    if isinstance(nodes, int | float):
        return Markup(html.escape(str(nodes)))
    return Markup("".join(join(node) for node in nodes))


def _attribute(key: str, value: Any) -> str:
    if value is None or value is False:
        return ""
    name = key.rstrip("_").replace("_", "-")
    if value is True:
        return f" {name}"
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    return f' {name}="{html.escape(shown(text))}"'


def data_script(identifier: str, value: Any) -> Markup:
    r"""Embed a value as JSON that a script can read and that nothing executes.

    Examples
    --------
    >>> print(data_script("d", ["</script>"]))
    <script type="application/json" id="d">["\u003c/script\u003e"]</script>
    """
    body = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    body = body.encode("utf-8", "replace").decode("utf-8").translate(_SCRIPT_ESCAPES)
    opened = f'<script type="application/json" id="{html.escape(identifier)}">'
    return Markup(f"{opened}{body}</script>")


def raw(text: str) -> Markup:
    """Take our own style sheet or script as it is; never for text from outside."""
    return Markup(text)
