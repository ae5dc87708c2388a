"""Reading lists of concepts, in whatever form the user has them."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from conceptaudit.errors import ConfigError
from conceptaudit.records import Concept, ConceptVocabulary
from conceptaudit.text.normalize import normalize
from conceptaudit.vocabulary._files import Record, read_source, records_of

_SHOWN = 5
_GAPS = re.compile(r"[\s_\u2010-\u2015-]+")
_QUALIFIER = re.compile(r"[\s_]*\([^()]*\)\s*$")
"""LVIS's "bow_(weapon)": captions hold only what stands before the brackets."""


@dataclass(frozen=True, slots=True)
class ConceptList:
    """A vocabulary and what reading it changed or found odd, one sentence each."""

    vocabulary: ConceptVocabulary
    notes: tuple[str, ...] = ()


def read_concepts(source: str | Path | Sequence[Any] | Mapping[str, Any]) -> ConceptList:
    """Read a list of concepts.

    Parameters
    ----------
    source : str, Path, sequence or mapping
        A file: CSV or TSV with a column ``concept`` (or ``name``, ``class`` …) and optionally
        ``aliases`` (``|``-separated), ``prompts``, ``synset``, ``dataset``, ``class_index``; JSON,
        YAML or TOML with a list of names, a list of such records, or a mapping of name to
        aliases or record; a text file with a name per line. A CLIP_benchmark folder
        (``classnames.txt``, ``zeroshot_classification_templates.txt``). Or the names themselves.

    Returns
    -------
    ConceptList
        The vocabulary, with names as the user wrote them, and notes. Names that differ only in
        case, accents, hyphens, spaces and underscores are one concept: the later ones are merged
        into the first.

    Raises
    ------
    ConfigError
        There is no such file, no concept in it, or no column of names.
    DataError
        The file cannot be parsed.

    Examples
    --------
    >>> concepts = read_concepts(["dog", "hot_dog", "Hot dog"])
    >>> concepts.vocabulary.names
    ('dog', 'hot_dog')
    >>> concepts.notes
    ("Names that repeat an earlier one were merged into it: 1 ('Hot dog' into 'hot_dog').",)
    """
    if isinstance(source, (str, Path)):
        where, records = str(source), read_source(Path(source).expanduser())
    elif isinstance(source, (Mapping, Sequence)) and not isinstance(source, (bytes, bytearray)):
        where, records = "the given concepts", records_of(source, "the given concepts")
    else:
        raise ConfigError(
            "The 'source' parameter of read_concepts must be a path, a list of names or a mapping. "
            f"Got {type(source).__name__} instead."
        )
    return _build(list(records), where)


def _build(records: Sequence[Record], where: str) -> ConceptList:
    named = [record.concept for record in records if record.concept is not None]
    if not named:
        raise ConfigError(
            f"The 'source' parameter of read_concepts must name at least one concept. Got "
            f"{len(records):,} entries without a name in {where} instead."
        )
    concepts: dict[str, Concept] = {}
    merged: list[str] = []
    conflicts: list[str] = []
    for given in named:
        concept = _tidy(given)
        key = spelling(concept.name)
        if key not in concepts:
            concepts[key] = concept
            continue
        first = concepts[key]
        same = concept.name == first.name
        merged.append(repr(first.name) if same else f"{concept.name!r} into {first.name!r}")
        if concept.synset and first.synset and concept.synset != first.synset:
            conflicts.append(concept.name)
        concepts[key] = _merge(first, concept)
    vocabulary = ConceptVocabulary(tuple(concepts.values()))
    nameless = [record.place for record in records if record.concept is None]
    return ConceptList(vocabulary, tuple(_notes(vocabulary, nameless, merged, conflicts)))


def spelling(name: str) -> str:
    """Fold away what does not make a concept another one: case, accents, hyphens, spaces.

    Examples
    --------
    >>> spelling(" CD_player") == spelling("cd  player") == spelling("CD-Player")
    True
    """
    return " ".join(_GAPS.split(normalize(name))).strip() or name.strip()


def _tidy(concept: Concept) -> Concept:
    """Leave out aliases that are the name again, or another alias again."""
    aliases: dict[str, str] = {}
    for alias in concept.aliases:
        aliases.setdefault(spelling(alias), alias)
    for needless in ("", spelling(concept.name)):
        aliases.pop(needless, None)
    return replace(concept, aliases=tuple(aliases.values()))


def _merge(first: Concept, later: Concept) -> Concept:
    """Add to a concept what a later one of the same name has."""
    return _tidy(
        replace(
            first,
            aliases=(*first.aliases, *later.aliases),
            prompts=tuple(dict.fromkeys((*first.prompts, *later.prompts))),
            synset=first.synset or later.synset,
            dataset=first.dataset or later.dataset,
            class_index=later.class_index if first.class_index is None else first.class_index,
        )
    )


def _notes(
    vocabulary: ConceptVocabulary,
    nameless: Sequence[str],
    merged: Sequence[str],
    conflicts: Sequence[str],
) -> Iterator[str]:
    if nameless:
        yield f"{len(nameless):,} entries have no name and were left out ({_some(nameless)})."
    if merged:
        shown = _some(merged)
        yield f"Names that repeat an earlier one were merged into it: {len(merged):,} ({shown})."
    if conflicts:
        shown = _some([repr(name) for name in conflicts])
        yield (
            f"{len(conflicts):,} of them had another synset than the concept they were merged into "
            f"({shown}); give them different names to count them apart."
        )
    owners: dict[str, list[str]] = {}
    for concept in vocabulary:
        for phrase in concept.phrases:
            bare = spelling(_QUALIFIER.sub("", phrase) or phrase)
            if concept.name not in owners.setdefault(bare, []):
                owners[bare].append(concept.name)
    shared = [
        f"{phrase!r}: {', '.join(names)}" for phrase, names in owners.items() if len(names) > 1
    ]
    if shared:
        yield f"{len(shared):,} phrases count for several concepts ({_some(shared)})."


def _some(items: Sequence[str]) -> str:
    return ", ".join(items[:_SHOWN]) + (", …" if len(items) > _SHOWN else "")
