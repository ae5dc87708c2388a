"""The lab's concepts: their names, plurals and pictures."""

import csv
import math
from dataclasses import dataclass
from functools import cache
from pathlib import Path

DATA = Path(__file__).parent / "data"


@dataclass(frozen=True, slots=True, kw_only=True)
class LabConcept:
    """One row of ``data/concepts.csv``: a thing that can be drawn and named."""

    name: str
    plural: str  # empty for a mass noun
    kind: str  # "count" (a mouse, two mice), "mass" (bread) or "plural" (scissors)
    # other names for the same thing, each with its plural
    aliases: tuple[tuple[str, str], ...]
    sprite: str
    de: str
    es: str
    fr: str
    # 1 for the most everyday thing, infinite where the table has none
    common_rank: float = math.inf

    @property
    def phrases(self) -> tuple[str, ...]:
        """Every form under which a caption can name the concept, singular and plural."""
        forms = [self.name, self.plural, *(form for alias in self.aliases for form in alias)]
        return tuple(dict.fromkeys(form for form in forms if form))


@cache
def load_concepts() -> tuple[LabConcept, ...]:
    """Read the concept table, sorted by name.

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
