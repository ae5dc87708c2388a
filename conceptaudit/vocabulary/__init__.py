"""Reading lists of concepts, in whatever form the user has them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from conceptaudit.display import quantity
from conceptaudit.errors import ConfigError
from conceptaudit.records import Concept, ConceptVocabulary
from conceptaudit.text.normalize import normalize
from conceptaudit.vocabulary._entries import Record, records_of
from conceptaudit.vocabulary._files import read_source
from conceptaudit.vocabulary.lines import ENTITY, SYNSET_NAME

SHIPPED = ("imagenet", "lvis")
"""ImageNet-1k with open_clip's names (1,000 classes), and LVIS v1 with its synonyms (1,203)."""

_FOLDER = Path(__file__).parent / "lists"


def shipped_list(name: object) -> Path | None:
    """Return the file of a list that ships; None for every other name or path.

    A file of the user's that is called like one is reached as ``./imagenet``.

    >>> shipped_list("imagenet").name, shipped_list("classes.txt")
    ('imagenet.csv', None)
    """
    return _FOLDER / f"{name}.csv" if isinstance(name, str) and name in SHIPPED else None


_SHOWN = 5
_GAPS = re.compile(r"[\s_\u2010-\u2015-]+")
_QUALIFIER = re.compile(r"[\s_]*\([^()]*\)\s*$")
"""LVIS's "bow_(weapon)": captions hold only what stands before the brackets."""


@dataclass(frozen=True, slots=True)
class ConceptList:
    """A vocabulary and what reading it changed or found odd, one sentence each."""

    vocabulary: ConceptVocabulary
    notes: tuple[str, ...] = ()


def read_concepts(
    source: str | Path | Sequence[Any] | Mapping[str, Any], *, dataset_key: str | None = None
) -> ConceptList:
    """Read a list of concepts.

    Parameters
    ----------
    source : str, Path, sequence or mapping
        A file: CSV or TSV with a column ``concept`` (or ``name``, ``class`` …) and optionally
        ``aliases`` (``|``-separated), ``prompts``, ``synset``, ``dataset``, ``class_index``; JSON,
        YAML or TOML with a list of names, a list of such records, or a mapping of name to
        aliases, prompts or record; parquet; a text file with a name per line. A CLIP_benchmark
        folder (``classnames.txt``, ``zeroshot_classification_templates.txt``). ``"imagenet"`` or
        ``"lvis"``, the lists that ship. Or the names themselves. docs/formats.md lists the
        published files that are known.
    dataset_key : str or None
        Which list to read of a file with the class names of several datasets.

    Returns
    -------
    ConceptList
        The vocabulary, with names as the user wrote them, and notes. Names that differ only in
        case, accents, hyphens, spaces and underscores are one concept: the later ones are merged
        into the first.

    Raises
    ------
    ConfigError
        There is no such file, no concept in it, no column of names, nothing but ids, or lists of
        several datasets of which none is chosen.
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
    if hasattr(source, "tolist"):  # a NumPy array or a pandas column
        source = source.tolist()
    shipped = shipped_list(source)
    if shipped is not None:
        where, read = str(source), read_source(shipped, None)
    elif isinstance(source, (str, Path)):
        where, read = str(source), read_source(Path(source).expanduser(), dataset_key)
    elif isinstance(source, (Mapping, Sequence)) and not isinstance(source, (bytes, bytearray)):
        where = "the given concepts"
        read = records_of(source, where, dataset_key=dataset_key)
    else:
        raise ConfigError(
            "The 'source' parameter of read_concepts must be a path, a list of names or a mapping. "
            f"Got {type(source).__name__} instead."
        )
    return _build(read.records, where, read.notes)


def _build(records: Sequence[Record], where: str, remarks: Sequence[str]) -> ConceptList:
    named = _spelled_out([record.concept for record in records if record.concept is not None])
    if not named:
        raise ConfigError(
            "The 'source' parameter of read_concepts must name at least one concept. Got "
            f"{quantity(len(records), 'entry')} without a name in {where} instead."
        )
    if all(ENTITY.fullmatch(phrase) for concept in named for phrase in concept.phrases):
        raise ConfigError(
            f"The concept list {where} holds ids ({named[0].name}) and no names, which no caption "
            "holds. Give a file that has names beside them, such as ILSVRC's "
            "LOC_synset_mapping.txt or OpenImages' class-descriptions.csv."
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
    notes = (*remarks, *_notes(vocabulary, nameless, merged, conflicts))
    return ConceptList(vocabulary, notes)


def _spelled_out(concepts: Sequence[Concept]) -> list[Concept]:
    """Take the names out of synsets (``hot_dog.n.02``), where every name is one."""
    matches = [SYNSET_NAME.fullmatch(concept.name) for concept in concepts]
    # one dotted name is a name; a list of nothing else is of synsets
    if not all(matches):
        return list(concepts)
    return [
        replace(concept, name=match["name"], synset=concept.synset or concept.name)
        for concept, match in zip(concepts, matches, strict=True)
        if match
    ]


def spelling(name: str) -> str:
    """Fold away what does not make a concept another one: case, accents, hyphens, spaces.

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
        yield (f"Left out, having no name: {quantity(len(nameless), 'entry')} ({_some(nameless)}).")
    if merged:
        shown = _some(merged)
        yield f"Names that repeat an earlier one were merged into it: {len(merged):,} ({shown})."
    if conflicts:
        shown = _some([repr(name) for name in conflicts])
        yield (
            f"{len(conflicts):,} of them had another synset than the concept they were merged into "
            f"({shown}); give them different names to count them apart."
        )
    # a phrase of two concepts counts for both, which the sum of counts must not hide
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
        yield (
            f"{quantity(len(shared), 'phrase counts', 'phrases count')} for several concepts "
            f"({_some(shared)})."
        )


def _some(items: Sequence[str]) -> str:
    return ", ".join(items[:_SHOWN]) + (", …" if len(items) > _SHOWN else "")
