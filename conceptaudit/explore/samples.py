"""The samples of a concept: which are shown, in which order, and what a page says of each."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import numpy as np

from conceptaudit.datasets.identities import is_url
from conceptaudit.records import Int64Array
from conceptaudit.report.samples import mixed

if TYPE_CHECKING:
    from conceptaudit.datasets.lookup import FoundSample
    from conceptaudit.explore.media import Media
    from conceptaudit.explore.opened import ConceptTags, OpenRun, SampleTags

PER_PAGE = 24
BINS = 32
SURVEYED = 240
"""Samples that are looked at for hosts and licences, drawn at random."""

BOTH, NAMED, SHOWN, TEXT, IMAGE, COPIES = "both", "named", "shown", "text", "image", "copies"

VIEWS = {
    BOTH: "named and shown",
    NAMED: "named, not shown",
    SHOWN: "shown, not named",
    TEXT: "named in the caption",
    IMAGE: "seen in the image",
    COPIES: "copies of one image",
}
"""Groups of a concept's samples, in the order in which a page offers them."""

ORDERS = {"": "random", "high": "highest score", "low": "lowest score"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """One sample on a page."""

    id: int
    key: str
    caption: str | None = None
    # the caption in pieces, and whether each names the concept
    pieces: list[tuple[str, bool]] = field(default_factory=list)
    url: str = ""  # as text: nothing leads to a stranger's address
    license: str = ""
    score: float | None = None
    # concepts of either side, id and name, the best score first
    text: list[tuple[int, str]] = field(default_factory=list)
    image: list[tuple[int, str]] = field(default_factory=list)
    gone: bool = False  # the dataset has no such sample any more


def views_of(run: OpenRun, tags: ConceptTags) -> dict[str, int]:
    """Count the samples of each group that a run has."""
    n_both = len(tags.both)
    if run.has_text and run.has_images:
        sizes = {
            BOTH: n_both,
            NAMED: len(tags.text) - n_both,
            SHOWN: len(tags.image) - n_both,
        }
    else:
        sizes = {TEXT: len(tags.text)} if run.has_text else {IMAGE: len(tags.image)}
    if run.copies:
        sizes[COPIES] = len(_copied(run, tags))
    return sizes


def _copied(run: OpenRun, tags: ConceptTags) -> Int64Array:
    """Find samples of a concept whose image occurs more than once, copies beside each other."""
    samples = np.union1d(tags.text, tags.image)
    groups = [(run.copies[s], s) for s in samples.tolist() if s in run.copies]
    sizes = Counter(group for group, _ in groups)
    return np.array([s for group, s in sorted(groups) if sizes[group] > 1], dtype=np.int64)


def chosen(
    run: OpenRun,
    tags: ConceptTags,
    view: str,
    *,
    order: str = "",
    low: float | None = None,
    high: float | None = None,
) -> Int64Array:
    """List the samples of one group, in order, within a range of scores where one is given."""
    if view == COPIES:
        return _copied(run, tags)
    if view == NAMED:
        ids = np.setdiff1d(tags.text, tags.image, assume_unique=True)
    elif view == SHOWN:
        ids = np.setdiff1d(tags.image, tags.text, assume_unique=True)
    else:
        ids = {BOTH: tags.both, TEXT: tags.text, IMAGE: tags.image}[view]
    if view in (BOTH, SHOWN, IMAGE) and len(ids):
        scores = tags.scores[np.searchsorted(tags.image, ids)]
        keep = np.ones(len(ids), dtype=bool)
        if low is not None:
            keep &= scores >= low
        if high is not None:
            keep &= scores <= high
        ids, scores = ids[keep], scores[keep]
        if order in ("high", "low"):
            return np.asarray(
                ids[np.argsort(-scores if order == "high" else scores, kind="stable")]
            )
    return np.asarray(ids[np.argsort(mixed(ids, 0), kind="stable")])


@dataclass(frozen=True, slots=True, kw_only=True)
class Histogram:
    """Scores of a concept's images."""

    low: float
    high: float
    # ends of each bin, images of it that the caption names too, and others
    bars: list[tuple[float, float, int, int]]

    @property
    def most(self) -> int:
        """Images in the fullest bin."""
        return max((named + other for _, _, named, other in self.bars), default=1) or 1


def histogram(tags: ConceptTags) -> Histogram | None:
    """Count a concept's images by score; None where there are none or all score alike."""
    if len(tags.image) < 2:
        return None
    low, high = float(tags.scores.min()), float(tags.scores.max())
    if not np.isfinite([low, high]).all() or high - low < 1e-9:
        return None
    named = np.isin(tags.image, tags.both, assume_unique=True)
    edges = np.linspace(low, high, BINS + 1)
    inside, _ = np.histogram(tags.scores[named], edges)
    outside, _ = np.histogram(tags.scores[~named], edges)
    bars = list(
        zip(edges[:-1].tolist(), edges[1:].tolist(), inside.tolist(), outside.tolist(), strict=True)
    )
    return Histogram(low=low, high=high, bars=bars)


def cards(run: OpenRun, media: Media, samples: Sequence[int], concept: int | None) -> list[Card]:
    """Look some samples up: in the dataset, and in the tags of the run."""
    found = media.look(samples)
    tags = run.tags_of(samples)
    keys = run.keys_of([sample for sample in samples if sample not in found])
    phrases = () if concept is None else run.phrases(concept)
    return [
        _card(run, sample, found.get(sample), tags[sample], keys.get(sample, ""), phrases, concept)
        for sample in samples
    ]


def _card(
    run: OpenRun,
    sample: int,
    found: FoundSample | None,
    tags: SampleTags,
    key: str,
    phrases: Sequence[str],
    concept: int | None,
) -> Card:
    names = run.record.concepts
    text, image = (
        [(one, names[one]) for one, _ in _by_score(side)] for side in (tags.text, tags.image)
    )
    key = found.key if found is not None else key
    extra: Mapping[str, Any] = found.extra if found is not None else {}
    url = str(extra.get("url") or (key if is_url(key) else ""))
    return Card(
        id=sample,
        key=key,
        caption=None if found is None else found.caption,
        pieces=[] if found is None or not found.caption else marked(found.caption, phrases),
        url=url,
        license=str(extra.get("license") or ""),
        score=tags.image.get(concept) if concept is not None else None,
        text=text,
        image=image,
        gone=found is None,
    )


def _by_score(tags: Mapping[int, float]) -> list[tuple[int, float]]:
    return sorted(tags.items(), key=lambda pair: (-pair[1], pair[0]))


@lru_cache(maxsize=256)
def _pattern(phrases: tuple[str, ...]) -> re.Pattern[str] | None:
    words = [
        r"[\s_-]*".join(re.escape(word) for word in re.split(r"[\s_-]+", phrase) if word)
        for phrase in sorted(phrases, key=len, reverse=True)
    ]
    if not any(words):
        return None
    return re.compile(rf"(?<!\w)(?:{'|'.join(w for w in words if w)})(?:e?s)?(?!\w)", re.IGNORECASE)


def marked(caption: str, phrases: Sequence[str]) -> list[tuple[str, bool]]:
    """Cut a caption where phrases stand in it: pieces, and whether each is one.

    >>> marked("Two dogs and a hot dog", ["dog"])
    [('Two ', False), ('dogs', True), (' and a hot ', False), ('dog', True)]
    """
    pattern = _pattern(tuple(phrases))
    if pattern is None:
        return [(caption, False)]
    pieces: list[tuple[str, bool]] = []
    end = 0
    for match in pattern.finditer(caption):
        if match.start() > end:
            pieces.append((caption[end : match.start()], False))
        pieces.append((match.group(), True))
        end = match.end()
    if end < len(caption):
        pieces.append((caption[end:], False))
    return pieces


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """Where a concept's samples come from."""

    n: int
    hosts: list[tuple[str, int]]
    licenses: list[tuple[str, int]]


def survey(media: Media, tags: ConceptTags) -> Survey:
    """Look at a random part of a concept's samples for hosts and licences."""
    ids = np.union1d(tags.text, tags.image)
    drawn = ids[np.argsort(mixed(ids, 1), kind="stable")][:SURVEYED].tolist()
    found = media.look(drawn)
    hosts: Counter[str] = Counter()
    licenses: Counter[str] = Counter()
    for one in found.values():
        url = str(one.extra.get("url") or (one.key if is_url(one.key) else ""))
        if url:
            hosts[host_of(url)] += 1
        if one.extra.get("license"):
            licenses[str(one.extra["license"])] += 1
    return Survey(n=len(found), hosts=hosts.most_common(10), licenses=licenses.most_common(10))


def host_of(url: str) -> str:
    """Host of an address; the address itself where it has none.

    >>> host_of("https://img.example.org:8080/a.jpg"), host_of("http://[oops")
    ('img.example.org', 'http://[oops')
    """
    try:
        return urlsplit(url).hostname or url[:60]
    except ValueError:
        return url[:60]
