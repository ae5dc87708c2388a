"""What every table format yields: blocks of rows and places to cut; rows of several captions."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from conceptaudit.display import quantity


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """Rows [start, stop) of a file (stop -1: to the end), beginning at byte `offset`."""

    start: int
    stop: int
    offset: int = 0


WHOLE = Cut(start=0, stop=-1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """A row that could not be parsed; part ``"note"`` says one that could, with a remark."""

    row: int
    reason: str
    detail: str
    part: str = "sample"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """Some rows of a table: their numbers in the file and the columns asked for."""

    numbers: Sequence[int]  # row numbers within the file; rows that could not be parsed are missing
    columns: Mapping[str, list[Any]]
    faults: tuple[Fault, ...] = ()  # the rows that could not be parsed


def even_cuts(n_rows: int, shard_rows: int) -> list[Cut]:
    """Ranges of `shard_rows` rows; an empty file is one empty range.

    Examples
    --------
    >>> [(cut.start, cut.stop) for cut in even_cuts(5, 2)]
    [(0, 2), (2, 4), (4, 5)]
    """
    starts = range(0, max(n_rows, 1), shard_rows)
    return [Cut(start=start, stop=min(start + shard_rows, n_rows)) for start in starts]


# Sample ids that a row with a list of captions takes up, so that no cut of the file changes one.
#
# Visual Genome has some 300 regions to an image; a row beyond that loses captions, and says so.
CAPTIONS_PER_ROW = 1 << 10

SEVERAL_NOTE = (
    "A row may hold several captions: each is a sample, and an image counts once per caption. "
    "Intervals of counts take samples as independent and are too narrow here; --near-duplicates "
    "exact adds counts of images."
)

# Where a record has its text: COCO's `caption`, Karpathy's `raw`, Visual Genome's `phrase`, LLaVA's
# `value`, OpenAI's `content`, IDEFICS' `assistant`.
_TEXT_FIELDS = (
    "caption", "raw", "text", "sentence", "phrase", "value", "content", "caption_str", "assistant",
    "description", "answer",
)  # fmt: skip

_SPEAKERS = ("from", "role")
# Who does not answer in LLaVA's, ShareGPT's and OpenAI's conversations.
_ASKING = frozenset({"human", "user", "system", "tool", "function", "question"})


def captions_of(value: Any) -> list[Any]:
    """Find the captions in a value: one, a list of them, or the answers of a conversation.

    Examples
    --------
    >>> captions_of("a dog"), captions_of(["a dog", {"raw": "a cat"}])
    (['a dog'], ['a dog', 'a cat'])
    >>> captions_of([{"from": "human", "value": "<image>"}, {"from": "gpt", "value": "a dog"}])
    ['a dog']
    """
    if isinstance(value, Mapping):
        return _of_record(value)
    if not isinstance(value, (list, tuple)):
        return [value]
    return [text for item in value for text in captions_of(item)]


def _of_record(record: Mapping[str, Any]) -> list[Any]:
    lower = {str(name).lower(): value for name, value in record.items()}
    speaker = next((lower[name] for name in _SPEAKERS if name in lower), None)
    if isinstance(speaker, str) and speaker.lower() in _ASKING:
        return []
    found = next((lower[name] for name in _TEXT_FIELDS if lower.get(name) is not None), record)
    if found is record or (isinstance(found, Mapping) and found):
        return [record]  # which is no text, and is reported as that
    if isinstance(found, list) and any(isinstance(part, Mapping) for part in found):
        parts = [p for p in found if isinstance(p, Mapping) and p.get("type", "text") == "text"]
        return [text for part in parts for text in captions_of(part)]
    return captions_of(found)


def holds_captions(items: Sequence[Any]) -> bool:
    """Whether a list's first items are texts, or records with one."""
    return all(
        item is None
        or isinstance(item, (str, bytes))
        or (isinstance(item, list) and holds_captions(item[:9]))
        or (isinstance(item, Mapping) and _has_text({str(name) for name in item}))
        for item in items
    )


def _has_text(names: set[str]) -> bool:
    return not {name.lower() for name in names}.isdisjoint(_TEXT_FIELDS)


def struct_has_text(names: Sequence[str]) -> bool:
    """Whether records with these fields have a text."""
    return _has_text(set(names))


def spread(blocks: Iterator[Rows], caption: str) -> Iterator[Rows]:
    """Make a row of each caption of every row; a row without captions stays one, without."""
    for block in blocks:
        places: list[int] = []
        numbers: list[int] = []
        captions: list[Any] = []
        faults = [
            Fault(
                row=fault.row * CAPTIONS_PER_ROW,
                reason=fault.reason,
                detail=fault.detail,
                part=fault.part,
            )
            for fault in block.faults
        ]
        for i, (number, value) in enumerate(
            zip(block.numbers, block.columns[caption], strict=True)
        ):
            found = captions_of(value) or [None]
            first = number * CAPTIONS_PER_ROW
            if len(found) > CAPTIONS_PER_ROW:
                detail = (
                    f"{quantity(len(found), 'caption')}, of which {CAPTIONS_PER_ROW:,} are read"
                )
                faults.append(
                    Fault(row=first, reason="captions_cut_off", detail=detail, part="note")
                )
                found = found[:CAPTIONS_PER_ROW]
            places += [i] * len(found)
            numbers += range(first, first + len(found))
            captions += found
        columns = {
            name: captions if name == caption else [values[i] for i in places]
            for name, values in block.columns.items()
        }
        yield Rows(numbers=numbers, columns=columns, faults=tuple(faults))
