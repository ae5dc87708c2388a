"""The size and the shape of the code, as a table: lines, modules, circles, how far a call walks.

    python scripts/house.py            # the table
    python scripts/house.py --no-walk  # without the two audits (two seconds)

Module and function counts of an audit are those of the main process, on four captions and on
four drawn images with a calibration.
"""

from __future__ import annotations

import argparse
import ast
import io
import statistics
import sys
import tempfile
import tokenize
from collections.abc import Callable, Iterator
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "conceptaudit"
TESTS = ROOT / "tests"

Graph = dict[str, set[str]]


def sources(folder: Path) -> dict[str, Path]:
    """Modules of a folder by dotted name."""
    return {
        ".".join(path.relative_to(folder.parent).with_suffix("").parts).removesuffix(
            ".__init__"
        ): path
        for path in sorted(folder.rglob("*.py"))
    }


def import_graph(folder: Path = PACKAGE) -> Graph:
    """Which module imports which, wherever in it: inside functions and for types included."""
    modules = sources(folder)
    graph: Graph = {}
    for name, path in modules.items():
        imported: set[str] = set()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                imported |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                for alias in node.names:
                    inner = f"{node.module}.{alias.name}"
                    imported.add(inner if inner in modules else node.module)
        graph[name] = (imported & set(modules)) - {name}
    return graph


def circles(graph: Graph) -> list[list[str]]:
    """Find groups of modules that reach one another.

    Examples
    --------
    >>> circles({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"a"}})
    [['b', 'c']]
    """
    reached = {name: _reachable(graph, name) for name in graph}
    groups = {
        tuple(sorted({other for other in reached[name] if name in reached[other]}))
        for name in graph
        if name in reached[name]
    }
    return [list(group) for group in sorted(groups)]


def _reachable(graph: Graph, start: str) -> set[str]:
    """Modules that a chain of imports leads to."""
    seen: set[str] = set()
    ahead = list(graph[start])
    while ahead:
        name = ahead.pop()
        if name not in seen:
            seen.add(name)
            ahead += graph[name]
    return seen


def comment_share(paths: list[Path]) -> float:
    """Lines with a comment per 100 lines of code; docstrings and blank lines are no code.

    Directives to tools (``noqa``, ``type:``, ``fmt:``) count as comments only with a reason.
    """
    comments = code = 0
    for path in paths:
        text = path.read_text(encoding="utf-8")
        lines = set()
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            if token.type == tokenize.COMMENT:
                words = token.string.lstrip("# ")
                directive = words.startswith(("noqa", "type:", "fmt:", "pragma"))
                comments += not directive or " -- " in words
            elif token.type not in _NO_CODE:
                lines |= set(range(token.start[0], token.end[0] + 1))
        code += len(lines) - len(_docstring_lines(text))
    return 100 * comments / code


_NO_CODE = frozenset(
    {tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}
)


def _docstring_lines(text: str) -> set[int]:
    """Lines of strings that stand alone, as docstrings do."""
    lines: set[int] = set()
    for node in ast.walk(ast.parse(text)):
        if (
            isinstance(node, ast.Expr)
            and isinstance(node.value, ast.Constant)
            and isinstance(node.value.value, str)
        ):
            lines |= set(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    return lines


def walk(call: Callable[[], object]) -> tuple[int, int]:
    """Modules and named functions of the package that a call enters, in any thread."""
    import threading

    entered: set[CodeType] = set()

    def enter(frame: FrameType, event: str, _: Any) -> None:
        if event == "call":
            entered.add(frame.f_code)

    threading.setprofile(enter)
    sys.setprofile(enter)
    try:
        call()
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
    inside = [
        code
        for code in entered
        if Path(code.co_filename).is_relative_to(PACKAGE)
        and not code.co_name.startswith("<")
        and code.co_flags & _OPTIMIZED  # class bodies are no functions
    ]
    return len({code.co_filename for code in inside}), len(inside)


_OPTIMIZED = 1
"""`inspect.CO_OPTIMIZED`: set of functions, and not of modules or class bodies."""


def text_audit(folder: Path) -> None:
    """Audit four captions."""
    from conceptaudit import AuditOptions, audit

    captions = ["a dog on a sofa", "two dogs and a hot dog", "a cat", "a red car by a tree"]
    audit(captions, ["dog", "cat", "car"], folder / "text", options=AuditOptions(engine="serial"))


def image_audit(folder: Path) -> None:
    """Audit four drawn images with their captions; thresholds are learned where they can be."""
    from PIL import Image, ImageDraw

    from conceptaudit import AuditOptions, audit

    data = folder / "data"
    data.mkdir()
    for i, (colour, name) in enumerate(
        [("red", "dog"), ("blue", "cat"), ("green", "car"), ("white", "dog")]
    ):
        image = Image.new("RGB", (64, 64), colour)
        ImageDraw.Draw(image).ellipse((8 * i, 8, 8 * i + 20, 40), fill="black")
        image.save(data / f"{i}.jpg")
        (data / f"{i}.txt").write_text(f"a {name} in a field", encoding="utf-8")
    options = AuditOptions(engine="serial", clip="lab")
    audit(data, ["dog", "cat", "car"], folder / "image", options=options)


def rows(*, walks: bool) -> Iterator[tuple[str, str, str]]:
    """Rows of the table: what, today's figure, what we aim for."""
    modules = sources(PACKAGE)
    lengths = [len(path.read_text(encoding="utf-8").splitlines()) for path in modules.values()]
    yield "package lines", f"{sum(lengths):,}", "42,000"
    yield "modules", f"{len(lengths)}", "240"
    yield "median lines of a module", f"{statistics.median(lengths):.0f}", "150 to 300"
    yield "import circles", f"{len(circles(import_graph()))}", "0"
    if walks:
        for name, work, aim in (
            ("text audit of 4 captions", text_audit, "40 / 250"),
            ("audit of 4 images, calibrated", image_audit, "65 / 400"),
        ):
            with tempfile.TemporaryDirectory() as folder:
                entered, functions = walk(lambda w=work, f=folder: w(Path(f)))  # type: ignore[misc]
            yield f"modules / functions entered: {name}", f"{entered} / {functions}", aim
    share = comment_share(list(modules.values()))
    yield "comment lines per 100 of code", f"{share:.1f}", "3"
    tests = sum(len(p.read_text(encoding="utf-8").splitlines()) for p in sources(TESTS).values())
    yield "test lines", f"{tests:,}", ""


def room_sizes() -> dict[str, int]:
    """Lines of every room."""
    sizes: dict[str, int] = {}
    for path in sources(PACKAGE).values():
        parts = path.relative_to(PACKAGE).parts
        room = parts[0] if len(parts) > 1 else "top level"
        sizes[room] = sizes.get(room, 0) + len(path.read_text(encoding="utf-8").splitlines())
    return sizes


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--no-walk", action="store_true", help="leave the two audits out")
    options = parser.parse_args()
    for what, today, aim in rows(walks=not options.no_walk):
        print(f"{what:<60} {today:>12}  aim {aim}" if aim else f"{what:<60} {today:>12}")
    print()
    for room, size in sorted(room_sizes().items(), key=lambda pair: -pair[1]):
        print(f"{room:<20} {size:>7,}")
    for group in circles(import_graph()):
        print("circle:", ", ".join(group))


if __name__ == "__main__":
    main()
