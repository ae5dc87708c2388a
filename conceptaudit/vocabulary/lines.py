"""Lists with a name per line, and the habits of their authors: quotes, ids, numbers, synonyms."""

import ast
import re
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

_ID = r"[nvars]\d{8}|/[mg]/[0-9a-z_]+"
ENTITY = re.compile(_ID)
"""Ids that stand for a name: WordNet's (``n02084071``) and Freebase's (``/m/011k07``)."""

SYNSET_NAME = re.compile(r"(?P<name>.+)\.[nvars]\.\d{2}")
"""A synset as NLTK writes it: ``hot_dog.n.02``."""

_WITH_ID = re.compile(rf"(?P<id>{_ID})[\s,;:]+(?:(?P<index>\d+)[\s,;:]+)?(?P<names>\S.*)")
"""ILSVRC's ``LOC_synset_mapping.txt``, ``synset_words.txt``, ``map_clsloc.txt``; timm's lemmas."""

_PLACE = re.compile(r"/[a-z]/(?P<name>[^\s/]+)(?:/(?P<kind>[^\s]+))?(?:\s+(?P<index>\d+))?")
"""Places365's ``/a/airfield 0`` and ``/b/bakery/shop 31``."""

_INDEX_FIRST = re.compile(r"(?P<index>\d+)(?:\s*[:,;.)\t]\s*|\s+(?:-\s+)?)(?P<names>\S.*)")
_INDEX_LAST = re.compile(r"(?P<names>\S.*?)(?:\s*[:,;\t]\s*|\s+)(?P<index>\d+)")
_NUMBERED = re.compile(r"\d{3}[._](?P<name>\S.*)")
"""CUB-200's ``001.Black_footed_Albatross``, Stanford Dogs' and Caltech's folders."""

_BULLET = re.compile(r"[-*+\u2022]\s+(?P<name>\S.*)")
_COUNTED = re.compile(r"(?P<name>\S.*?)\s*[\t,;:]\s*\d+(?:\.\d+)?")
"""A name and how often it occurs, where the numbers are no index."""

_SYNONYMS = re.compile(r",\s+")
_QUOTED = tuple(
    re.compile(rf"{mark}(?:[^{mark}\\]|\\.|{mark}{mark})*{mark}") for mark in ('"', "'")
)
"""A text in quotation marks; those within it are doubled, as CSV has it, or escaped."""


def entries_of_lines(lines: Sequence[str]) -> list[Any]:
    """Make entries, as `_entries.records_of` takes them, of the lines of a list.

    A habit counts only where every line has it, so that a name is never taken apart for looking
    like one. An empty line stays an entry without a name: the index of later names rests on it.

    >>> entries_of_lines(['"dog"', '"hot_dog"'])
    [{'concept': 'dog', 'class_index': 0}, {'concept': 'hot_dog', 'class_index': 1}]
    >>> [entry] = entries_of_lines(["n02084071 dog, domestic dog"])
    >>> entry["concept"], entry["aliases"], entry["synset"]
    ('dog', ['domestic dog'], 'n02084071')
    """
    plain = bare_lines(lines)
    entries = indexed_entries(plain)
    if entries is not None:
        return entries
    # a single line that ends in a number is a name: "boeing 747"
    for habit in (_NUMBERED, _COUNTED):
        matches = _all(habit, plain)
        if matches is not None and (habit is _NUMBERED or len(plain) > 1):
            plain = [match["name"] if match else "" for match in matches]
    split = synonymous(plain)
    return [_named(line, number, split=split) for number, line in enumerate(plain)]


def bare_lines(lines: Sequence[str]) -> list[str]:
    """Take off the bullets and quotation marks that every line has."""
    plain = [line.strip() for line in lines]
    bulleted = _all(_BULLET, plain)
    if bulleted is not None:
        plain = [match["name"] if match else "" for match in bulleted]
    return unquoted(plain)


def indexed_entries(lines: Sequence[str]) -> list[Any] | None:
    """Make entries of lines that all have an id or a class index beside the name; else None."""
    for parse in (_with_ids, _places, _indexed(_INDEX_FIRST), _indexed(_INDEX_LAST)):
        entries = parse(lines)
        if entries is not None:
            return entries
    return None


def unquoted(lines: Sequence[str]) -> list[str]:
    """Take off quotation marks, and the comma of a pasted list, where every line has them."""
    bare = [line.removesuffix(",").rstrip() for line in lines]
    filled = [line for line in bare if line]
    for quoted in _QUOTED:
        if filled and all(map(quoted.fullmatch, filled)):
            mark = filled[0][0]
            return [
                line[1:-1].replace(mark * 2, mark).replace(f"\\{mark}", mark).strip()
                for line in bare
            ]
    return list(lines)


def synonymous(names: Sequence[str]) -> bool:
    """Whether names are lists of synonyms, as ImageNet's ``tench, Tinca tinca``.

    One name with a comma is "Washington, D.C."; where half of them have one, they are lists.
    """
    filled = [name for name in names if name]
    return 2 * sum(bool(_SYNONYMS.search(name)) for name in filled) >= len(filled) > 1


def synonyms(names: str) -> list[str]:
    """Split a list of synonyms at its commas."""
    return [part for part in _SYNONYMS.split(names.strip().strip("\"'")) if part]


def printed_list(text: str) -> str | list[str]:
    """Read a list of texts as Python prints it; any other text stays as it is."""
    try:
        items = ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, RecursionError, MemoryError, TypeError):
        return text
    is_list = isinstance(items, list) and all(isinstance(item, str) for item in items)
    return items if is_list else text


def _all(pattern: re.Pattern[str], lines: Sequence[str]) -> list[re.Match[str] | None] | None:
    """Match every line that is not empty, or none at all."""
    matches = [pattern.fullmatch(line) if line else None for line in lines]
    fits = any(matches) and all(
        match or not line for match, line in zip(matches, lines, strict=True)
    )
    return matches if fits else None


def _with_ids(lines: Sequence[str]) -> list[Any] | None:
    matches = _all(_WITH_ID, lines)
    if matches is None:
        return None
    entries = [
        _named(match["names"] if match else "", n, split=True) for n, match in enumerate(matches)
    ]
    for entry, match in zip(entries, matches, strict=True):
        if entry is not None and match:
            entry["synset"] = match["id"]
    return entries


def _places(lines: Sequence[str]) -> list[Any] | None:
    matches = _all(_PLACE, lines)
    if matches is None or any(match and ENTITY.fullmatch(match[0]) for match in matches):
        return None
    return [
        {
            # brackets at the end tell names apart and are no part of the phrase that is matched
            "concept": f"{match['name']} ({match['kind']})" if match["kind"] else match["name"],
            "class_index": int(match["index"] or number),
        }
        if match
        else None
        for number, match in enumerate(matches)
    ]


def _indexed(pattern: re.Pattern[str]) -> Callable[[Sequence[str]], list[Any] | None]:
    """Read names with their class index, if they are one: each once from 0 or 1, or rising."""

    def parse(lines: Sequence[str]) -> list[Any] | None:
        matches = _all(pattern, lines)
        if matches is None or len(lines) < 2:
            return None
        # counts of occurrences are numbers, too; an index has no gap and no repetition
        numbers = sorted(int(match["index"]) for match in matches if match)
        counts = numbers == list(range(numbers[0], numbers[0] + len(numbers))) and numbers[0] < 2
        if not counts and not (pattern is _INDEX_FIRST and _some_of_a_list(matches)):
            return None
        names = unquoted([match["names"].strip().rstrip(",") if match else "" for match in matches])
        names = [found["name"] if (found := _NUMBERED.fullmatch(name)) else name for name in names]
        if len(set(names)) == 1:  # "class 0", "class 1": the number is the name
            return None
        split = synonymous(names)
        return [
            _named(name, int(match["index"]), split=split) if match else None
            for match, name in zip(matches, names, strict=True)
        ]

    return parse


def _some_of_a_list(matches: Sequence[re.Match[str] | None]) -> bool:
    """Whether numbers in front of names rise as indices of some classes do, and are no years."""
    numbers = [int(match["index"]) for match in matches if match]
    rising = len(numbers) > 2 and all(a < b for a, b in pairwise(numbers))
    return rising and not all(1800 <= number <= 2100 for number in numbers)


def _named(names: str, number: int, *, split: bool) -> dict[str, Any] | None:
    first, *others = (synonyms(names) if split else [names]) or [""]
    if not first:
        return None
    return {
        "concept": first,
        **({"aliases": others} if others else {}),
        "class_index": number,
    }
