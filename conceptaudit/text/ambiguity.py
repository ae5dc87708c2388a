"""How often a concept's words occur without being the concept: "watch", "orange", "train".

Of every phrase that reads like a concept the tagger accepts those with a noun at their head. The
share that it rejects says how far a count rests on the tagger, concept by concept.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from conceptaudit.artifacts import Json
from conceptaudit.records import ConceptVocabulary, Int64Array
from conceptaudit.text.mentions import Annotated

LOOK_ALIKES = "look_alikes"
"""Key of a shard's sums in its record."""

_SHOWN = 5
_FEW = 20
"""Fewer matches than this say little about a concept's share."""

_MOST = 0.5


@dataclass(slots=True)
class LookAlikes:
    """Mentions that were accepted and rejected, by concept; adds up over captions and shards.

    Examples
    --------
    >>> from conceptaudit.text.mentions import Mention
    >>> sums = LookAlikes()
    >>> sums.add(Annotated((Mention(0, 2, 5),), (Mention(0, 9, 12),)))
    >>> sums.as_json()
    {'accepted': [[0], [1]], 'rejected': [[0], [1]]}
    """

    accepted: Counter[int] = field(default_factory=Counter)
    rejected: Counter[int] = field(default_factory=Counter)

    def add(self, annotated: Annotated) -> None:
        """Add the mentions of one caption."""
        for mention in annotated.mentions:
            self.accepted[mention.concept_id] += 1
        for mention in annotated.rejected:
            self.rejected[mention.concept_id] += 1

    def as_json(self) -> Json:
        """Lay the sums out sparsely: ids and numbers by kind."""
        return {
            "accepted": _sparse(self.accepted),
            "rejected": _sparse(self.rejected),
        }


def _sparse(sums: Counter[int]) -> list[list[int]]:
    ids = sorted(sums)
    return [ids, [sums[i] for i in ids]]


class LookAlikeTotals:
    """Sums of mentions over the records of shards, which are gigabytes and pass by once.

    Parameters
    ----------
    n_concepts : int
    """

    def __init__(self, n_concepts: int) -> None:
        self.accepted: Int64Array = np.zeros(n_concepts, dtype=np.int64)
        self.rejected: Int64Array = np.zeros(n_concepts, dtype=np.int64)
        self.n_records = 0

    def noted(self, records: Iterable[Json]) -> Iterator[Json]:
        """Yield records as they come, adding up what those that hold sums hold."""
        for record in records:
            if LOOK_ALIKES in record:
                for kind, total in (("accepted", self.accepted), ("rejected", self.rejected)):
                    ids, numbers = record[LOOK_ALIKES][kind]
                    total[np.asarray(ids, dtype=np.int64)] += np.asarray(numbers, dtype=np.int64)
                self.n_records += 1
            yield record


def look_alike_columns(accepted: Int64Array, rejected: Int64Array) -> pd.DataFrame:
    """Return the columns ``n_text_rejected`` and ``text_rejected_share`` of a frequency table.

    Parameters
    ----------
    accepted, rejected : numpy.ndarray of int64, shape (n_concepts,)
        Mentions by concept.

    Returns
    -------
    pandas.DataFrame
        ``n_text_rejected``: mentions, not captions. ``text_rejected_share``: in [0, 1], NaN for
        a concept without any match.

    Examples
    --------
    >>> columns = look_alike_columns(np.array([3, 0]), np.array([1, 0]))
    >>> columns["text_rejected_share"].tolist()
    [0.25, nan]
    """
    matches = accepted + rejected
    share = np.full(len(matches), np.nan)
    np.divide(rejected, matches, out=share, where=matches > 0)
    return pd.DataFrame(
        {"n_text_rejected": pd.array(rejected, dtype="Int64"), "text_rejected_share": share}
    )


def look_alike_note(
    vocabulary: ConceptVocabulary, accepted: Int64Array, rejected: Int64Array
) -> str | None:
    """Name the concepts whose words are mostly no nouns, the worst first; None without any."""
    matches = accepted + rejected
    worst = [
        (-int(rejected[i]) / int(matches[i]), name, int(matches[i]))
        for i, name in enumerate(vocabulary.names)
        if matches[i] >= _FEW and rejected[i] > _MOST * matches[i]
    ]
    if not worst:
        return None
    shown = ", ".join(
        f"{name!r} {-100 * share:.0f} % of {n:,}" for share, name, n in sorted(worst)[:_SHOWN]
    )
    more = ", …" if len(worst) > _SHOWN else ""
    return (
        f"{len(worst):,} concept{' was' if len(worst) == 1 else 's were'} found mostly as another "
        f"part of speech and so not counted ({shown}{more}): such counts rest on the tagger. See "
        "the column text_rejected_share."
    )
