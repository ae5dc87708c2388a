"""The lab's concepts: their names, plurals and pictures."""

import csv
import math
from dataclasses import dataclass
from functools import cache
from pathlib import Path

DATA = Path(__file__).parent / "data"


@dataclass(frozen=True, slots=True, kw_only=True)
class LabConcept:
    """One row of ``data/concepts.csv``: a thing that can be drawn and named.

    Parameters
    ----------
    name : str
        The English name, singular, as results carry it.
    plural : str
        Its plural; empty for a mass noun.
    kind : str
        ``"count"`` (a mouse, two mice), ``"mass"`` (bread) or ``"plural"`` (scissors).
    aliases : tuple of (str, str)
        Other names for the same thing, each with its plural.
    sprite : str
        The emoji that pictures it.
    de, es, fr : str
        Its name in German, Spanish and French, with the indefinite article.
    common_rank : float
        1 for the most everyday thing, 2 for the next …; infinite where the table has none.
    """

    name: str
    plural: str
    kind: str
    aliases: tuple[tuple[str, str], ...]
    sprite: str
    de: str
    es: str
    fr: str
    common_rank: float = math.inf

    @property
    def phrases(self) -> tuple[str, ...]:
        """Every form under which a caption can name the concept, singular and plural."""
        forms = [self.name, self.plural, *(form for alias in self.aliases for form in alias)]
        return tuple(dict.fromkeys(form for form in forms if form))


@cache
def load_concepts() -> tuple[LabConcept, ...]:
    """Read the concept table, sorted by name.

    Examples
    --------
    >>> [concept.plural for concept in load_concepts() if concept.name in ("goose", "mouse")]
    ['geese', 'mice']
    """
    with (DATA / "concepts.csv").open(encoding="utf-8", newline="") as file:
        return tuple(
            LabConcept(
                name=row["name"],
                plural=row["plural"],
                kind=row["kind"],
                aliases=tuple(
                    (alias.partition("/")[0], alias.partition("/")[2])
                    for alias in row["aliases"].split("|")
                    if alias
                ),
                sprite=row["sprite"],
                de=row["de"],
                es=row["es"],
                fr=row["fr"],
                common_rank=float(row["common"] or math.inf),
            )
            for row in csv.DictReader(file)
        )
