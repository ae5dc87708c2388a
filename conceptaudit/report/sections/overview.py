"""The head of the report: what was audited, and the numbers to remember."""

from __future__ import annotations

from typing import Any

import numpy as np

from conceptaudit.display import quantity
from conceptaudit.report.inputs import RunRecord
from conceptaudit.report.markup import Markup, el, join
from conceptaudit.report.sections.base import Section, folded, table
from conceptaudit.report.wording import NBSP, SIDES, count, level_name, percent, reason

SHOWN_NOTES = 8


def name_of(location: str) -> str:
    """Shorten where a dataset lies to its name.

    Examples
    --------
    >>> name_of("/mnt/laion/"), name_of("laion/{00000..00099}.tar"), name_of("*.tar")
    ('laion', 'laion/{00000..00099}.tar', '*.tar')
    """
    folder, _, name = location.rstrip("/").rpartition("/")
    if set(name) & set("*?[{"):  # a pattern names nothing without its folder
        name = f"{folder.rpartition('/')[2]}/{name}".lstrip("/")
    return name or location or "a dataset without a name"


def headline(run: RunRecord, *, titled: bool) -> Markup:
    """Say in one sentence what was looked for, and where.

    With a title of the user's own the sentence names the dataset; else the title does.
    """
    account = run.manifest["account"]
    names = {"text": "captions", "image": "images"}
    parts = [
        [el("b", count(account[side]["n_used"])), f" {names[side]}"]
        for side in ("text", "image")
        if side in account
    ]
    places = [parts[0], " and ", parts[1]] if len(parts) == 2 else parts
    return el(
        "p",
        "We looked for ",
        el("b", count(len(run.table))),
        " concepts in ",
        places,
        f" of {name_of(run.frequencies.source)}." if titled else ".",
        class_="lead",
    )


def tail_share(counts: np.ndarray, held: float) -> float:
    """Share of concepts, rarest first, that together hold at most a share of all tags.

    Examples
    --------
    >>> tail_share(np.array([90, 9, 1, 0]), 0.10)
    0.75
    """
    total = int(counts.sum())
    if not total:
        return 1.0
    running = np.cumsum(np.sort(counts))
    return float((running <= held * total).sum() / len(counts))


def overview(run: RunRecord) -> Section:
    """Build the key numbers, the account and the notes."""
    facts = [_found(run, column) for column in run.counted]
    facts.append(_tail(run))
    facts += _misaligned(run)
    partial = run.manifest.get("partial")
    if isinstance(partial, dict):
        facts.insert(0, _partial(partial))
    body = [
        el("dl", facts, class_="facts"),
        _notes(run),
        _account(run),
    ]
    return Section(identifier="overview", title="In short", short="In short", body=join(body))


def _fact(number: str, text: Any) -> Markup:
    return el("div", el("dt", number), el("dd", text))


def _partial(partial: dict[str, Any]) -> Markup:
    done, every = int(partial["n_shards"]), int(partial["n_all"])
    return _fact(
        f"Partial: {count(done)} of {quantity(every, 'shard')}",
        "are counted here, those that were done when this was written. Every number is of these.",
    )


def _found(run: RunRecord, column: str) -> Markup:
    counts = run.table[column].to_numpy(dtype=np.int64)
    found = int((counts > 0).sum())
    never = len(counts) - found
    return _fact(
        f"{count(found)} of {count(len(counts))}",
        f"concepts are {SIDES[column][1]} at least once; {count(never)} never are.",
    )


def _tail(run: RunRecord) -> Markup:
    counts = run.table[run.strictest].to_numpy(dtype=np.int64)
    tenth, hundredth = tail_share(counts, 0.10), tail_share(counts, 0.01)
    return _fact(
        percent(tenth),
        f"of the concepts, the rarest, together make up 10{NBSP}% of all finds "
        f"({SIDES[run.strictest][1]}); {percent(hundredth)} make up just 1{NBSP}%. "
        "That is the long tail.",
    )


def _misaligned(run: RunRecord) -> list[Markup]:
    numbers = run.alignment
    if numbers.get("n_misaligned") is None or not numbers.get("n_both_tagged"):
        return []
    low, high = numbers["misaligned_among_tagged_low"], numbers["misaligned_among_tagged_high"]
    level = level_name(numbers["level"])
    raw = (
        f"of the {quantity(numbers['n_both_tagged'], 'sample')} with a concept on both sides have "
        f"none in common ({level} {percent(low)} to {percent(high)})"
    )
    corrected = numbers.get("corrected") or {}
    if corrected.get("nothing_named_is_shown") is None:
        degree = percent(numbers["misalignment_degree"])
        return [
            _fact(
                percent(numbers["misaligned_among_tagged"]), f"{raw}. Over all samples: {degree}."
            )
        ]
    # tags miss much of what is shown: the share of tags that disagree is no share of pairs
    ends = [percent(corrected[f"nothing_named_is_shown_{end}"]) for end in ("low", "high")]
    return [
        _fact(
            percent(corrected["nothing_named_is_shown"]),
            f"of the captions that name concepts name none that is shown ({level} {ends[0]} to "
            f"{ends[1]}), after correcting for what tags miss. By the tags alone, "
            f"{percent(numbers['misaligned_among_tagged'])} {raw}.",
        )
    ]


def _notes(run: RunRecord) -> Markup | None:
    notes = [str(note) for note in run.manifest["notes"]]
    if not notes:
        return None
    # what limits the numbers comes before what was merely detected
    limits = ("Partial:", "not calibrated", "not audited", "can never", "Skipped", "could not")
    notes.sort(key=lambda note: not any(word in note for word in limits))
    more = notes[SHOWN_NOTES:]
    return el(
        "aside",
        el("h3", "Before you quote these numbers"),
        el("ul", [el("li", note) for note in notes[:SHOWN_NOTES]]),
        folded(f"{quantity(len(more), 'more note')}", el("ul", [el("li", note) for note in more]))
        if more
        else None,
        class_="caveat",
    )


def _account(run: RunRecord) -> Markup:
    account = run.manifest["account"]
    tables = [_side(side, account[side]) for side in ("text", "image") if side in account]
    return join(
        [
            el("h3", "Every sample is accounted for"),
            el("div", tables, class_="beside"),
        ]
    )


def _side(side: str, account: dict[str, Any]) -> Markup:
    total = max(account["n_samples"], 1)
    lines = [("read", account["n_samples"]), ("counted", account["n_used"])]
    lines += [(f"dropped: {reason(code)}", n) for code, n in account["dropped"].items()]
    lines += [(f"counted, but {reason(code)}", n) for code, n in account["noted"].items()]
    adds_up = account["n_used"] + sum(account["dropped"].values()) == account["n_samples"]
    return table(
        ["captions" if side == "text" else "images", "samples", "share"],
        [[label, count(n), percent(n / total)] for label, n in lines],
        caption="Read is counted plus dropped." if adds_up else "These numbers do not add up.",
        numeric=(1, 2),
    )
