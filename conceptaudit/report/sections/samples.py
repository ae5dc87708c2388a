"""Pictures with their captions: contact sheets by frequency, agreeing and misaligned pairs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from conceptaudit.counts import Rarest, rarest
from conceptaudit.display import quantity
from conceptaudit.report.inputs import RunRecord
from conceptaudit.report.markup import Markup, el, join
from conceptaudit.report.pictures import Seen
from conceptaudit.report.samples import PER_CONCEPT, Choice, Shown
from conceptaudit.report.sections.base import Section, absent
from conceptaudit.report.wording import SIDES, count

PER_BAND = 4
"""Concepts shown from the head, the middle and the tail."""

LONGEST_CAPTION = 180

BANDS = (
    ("Head", "the most frequent concepts"),
    ("Middle", "concepts in the middle of the ranking"),
    ("Tail", "the rarest concepts that occur at all"),
)


def bands(run: RunRecord) -> tuple[tuple[int, ...], ...]:
    """Choose the concepts (by id) of head, middle and tail among those that occur.

    Returns
    -------
    tuple of three tuples of int
        In order of frequency; no concept twice.
    """
    counts = run.table[run.strictest].to_numpy(dtype=np.int64)
    order = np.lexsort((np.arange(len(counts)), -counts))
    occurring = order[counts[order] > 0].tolist()
    head = occurring[:PER_BAND]
    tail = _tail(run, head)
    between = [row for row in occurring[PER_BAND:] if row not in tail.rows]
    start = max(0, (len(between) - PER_BAND) // 2)
    return (tuple(head), tuple(between[start : start + PER_BAND]), tail.rows)


def _tail(run: RunRecord, head: Sequence[int]) -> Rarest:
    """Choose the rarest concepts beside those of the head."""
    counts = np.array(run.table[run.strictest], dtype=np.int64)
    counts[np.array(head, dtype=np.intp)] = 0
    return rarest(counts, run.table["concept"].astype("str").tolist(), PER_BAND)


def contact_section(
    run: RunRecord, choice: Choice, seen: Mapping[int, Seen] | None, n_refused: int
) -> Section:
    """Build the contact sheets."""
    title, short = "What the concepts look like", "Samples"
    if seen is None:
        return absent("samples", title, short, _no_dataset("sample pictures"))
    what = SIDES[run.strictest][1]
    pictured = any(one.picture for one in seen.values())
    groups = []
    tail = _tail(run, bands(run)[0])
    tied = tail.n_tied > len(tail.rows)
    ties = f" (a sample of {tail.n_tied:,} with equal counts)" if tied else ""
    for (name, meaning), members in zip(BANDS, bands(run), strict=True):
        if members:
            rows = [_concept(run, one, choice.by_concept.get(one, []), seen) for one in members]
            groups.append(
                el(
                    "div",
                    el("h3", f"{name}: {meaning}{ties if name == 'Tail' else ''}"),
                    rows,
                    class_="group",
                )
            )
    refused = (
        f" {quantity(n_refused, 'picture')} did not fit into the page and {_is(n_refused)} left "
        "out."
        if n_refused
        else ""
    )
    body = [
        el(
            "p",
            f"A seeded draw of the samples that were counted for each concept, {what}. It shows "
            "what the tagger took for the concept, right or wrong."
            + ("" if pictured else " This dataset has no pictures here, so captions stand alone.")
            + refused,
        ),
        groups,
    ]
    return Section(identifier="samples", title=title, short=short, body=join(body))


def _concept(
    run: RunRecord, concept: int, samples: Sequence[Shown], seen: Mapping[int, Seen]
) -> Markup:
    n = int(run.table[run.strictest].iloc[concept])
    looks = [seen[one.sample_id] for one in samples if one.sample_id in seen]
    items = [_thumbnail(look) for look in _distinct(looks)]
    pictured = any(look.picture for look in looks)
    kind = "strip" if pictured else "strip captions"
    return el(
        "div",
        el("h4", run.concepts[concept], el("span", f" {count(n)}")),
        el("ul", [el("li", item) for item in items], class_=kind),
        class_=f"concept span-{min(max(len(items), 1), PER_CONCEPT)}",
    )


def _distinct(looks: Sequence[Seen]) -> list[Seen]:
    """Show an image once, with all its captions: copies under other keys look the same."""
    captions: dict[str, list[str]] = {}
    for look in looks:
        if look.picture:
            captions.setdefault(look.picture, []).extend([look.caption] if look.caption else [])
    images = [
        Seen(caption=" / ".join(dict.fromkeys(texts)) or None, picture=picture)
        for picture, texts in captions.items()
    ]
    return [*images, *(look for look in looks if not look.picture)]


def _thumbnail(one: Seen) -> Markup:
    caption = _cut(one.caption)
    if one.picture is None:
        return el("q", caption, dir="auto")
    return el("img", src=one.picture, alt=caption, title=caption, loading="lazy")


def pairs_section(run: RunRecord, choice: Choice, seen: Mapping[int, Seen] | None) -> Section:
    """Build the agreeing and the misaligned pairs."""
    title, short = "Where caption and picture agree, and where not", "Agreement"
    if run.alignment.get("n_misaligned") is None:
        why = "This audit counted one side only, so captions and pictures cannot be compared."
        return absent("agreement", title, short, why)
    if seen is None:
        return absent("agreement", title, short, _no_dataset("pairs"))
    numbers = run.alignment
    body = [
        el(
            "p",
            f"In {quantity(numbers['n_both_tagged'], 'sample')} something was found on both "
            f"sides. In {count(numbers['n_agreeing'])} of them caption and picture share a "
            f"concept; in {count(numbers['n_misaligned'])} they share none. A misaligned pair can "
            "be the data's fault (a caption about something else) or the tagger's: judge for "
            "yourself.",
        ),
        el("h3", "Agreeing"),
        _pairs(run, choice.agreeing, seen),
        el("h3", "Misaligned"),
        _pairs(run, choice.misaligned, seen),
    ]
    return Section(identifier="agreement", title=title, short=short, body=join(body))


def _pairs(run: RunRecord, samples: Sequence[Shown], seen: Mapping[int, Seen]) -> Markup:
    if not samples:
        return el("p", "There are none.")
    return el(
        "ul",
        [_pair(run, one, seen[one.sample_id]) for one in samples if one.sample_id in seen],
        class_="pairs",
    )


def _pair(run: RunRecord, one: Shown, look: Seen) -> Markup:
    caption = _cut(look.caption)
    common = {concept for concept, _ in one.text} & {concept for concept, _ in one.image}

    def found(pairs: Sequence[tuple[int, float]]) -> list[Markup]:
        tags = [
            el("span", run.concepts[c], class_="tag shared" if c in common else "tag")
            for c, _ in pairs[:5]
        ]
        more = len(pairs) - 5
        return [*tags, el("span", f"and {more} more", class_="more")] if more > 0 else tags

    picture = (
        el("img", src=look.picture, alt=f"Picture of the sample {one.key}", loading="lazy")
        if look.picture
        else None
    )
    return el(
        "li",
        picture,
        el(
            "div",
            el("q", caption, dir="auto"),
            el(
                "dl",
                el("dt", "caption"),
                el("dd", found(one.text)),
                el("dt", "picture"),
                el("dd", found(one.image)),
            ),
        ),
    )


def _cut(caption: str | None) -> str:
    if not caption:
        return "no caption"
    line = " ".join(caption.split())
    return line if len(line) <= LONGEST_CAPTION else f"{line[: LONGEST_CAPTION - 1]}…"


def _no_dataset(what: str) -> str:
    return (
        f"There are no {what} here because the dataset was not given; "
        "`conceptaudit report … --dataset DATASET` adds them."
    )


def _is(n: int) -> str:
    return "is" if n == 1 else "are"
