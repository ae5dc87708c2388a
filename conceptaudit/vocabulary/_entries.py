"""Parsed content of a concept list, in any of the shapes that people keep, as plain records."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from conceptaudit.display import quantity
from conceptaudit.errors import ConfigError, DataError
from conceptaudit.records import Concept
from conceptaudit.vocabulary.lines import ENTITY, printed_list, synonymous, synonyms

COLUMNS = {
    "name": (
        "concept", "name", "class", "classname", "class_name", "label", "category", "term",
        "display_name", "displayname", "class name", "category_name", "concepts", "classes",
        "names", "tag", "text",
    ),
    "aliases": ("aliases", "alias", "synonyms", "alternates"),
    "prompts": ("prompts", "prompt", "templates", "descriptors"),
    "synset": ("synset", "wnid", "labelname", "mid", "synset_id"),
    "dataset": ("dataset",),
    "class_index": ("class_index", "class_idx", "index", "cid"),
}  # fmt: skip
"""Accepted names of each field; ``name`` and ``synonyms`` are LVIS's, ``cid`` ImageNetV2's,
``text`` that of ``conceptaudit vocab``, ``LabelName`` and ``DisplayName`` OpenImages'."""

_LISTS = (
    "concepts", "classes", "classnames", "class_names", "categories", "names", "metadata",
    "id2label", "labels",
)  # fmt: skip
"""Where a list lies in a larger file; ``categories`` is COCO's and LVIS's."""

_WRAPPERS = ("data", "items", "list", "words", "nouns", "objects", "vocabulary", "vocab", "tags")
"""Where a list lies in a file that holds nothing else: anywhere else these are names."""

DATASET_NAMES = re.compile(
    r"image_?net|cifar|food|pets?\b|cars?\b|flowers?|aircrafts?|birds?nap|\bbirds?\b|sun_?\d+"
    r"|places|dtd|textures?|euro_?sat|caltech|mnist|svhn|gtsrb|resisc|country_?211|ucf|kinetics"
    r"|hateful|sst\d?|stl|voc\d*|coco|lvis|objects_?365|open_?images|cub|inat|fer_?(2013)?\b"
    r"|clevr|kitti|pcam|patch_?camelyon|vtab|wds/|fmow|iwildcam|object_?net|rendered",
    re.IGNORECASE,
)
"""Names of evaluation sets in CLIP_benchmark's, SLIP's and DataComp's files."""

_LONG_LIST = 8
"""Items beyond which a name's list holds no synonyms: LVIS has 7 at most, ImageNet 9 once."""

_SENTENCE = re.compile(
    r"^(?:an?|the|its?|which|that|has|have|with|used|often|usually|typically|made)\s|[.!?]$",
    re.IGNORECASE,
)
PLACEHOLDER = re.compile(r"\{[a-z]*\}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One entry of a list: the concept, or None where it has no name, and where it stands."""

    place: str
    concept: Concept | None


MAX_NAME_CHARS = 1_000
"""Class names have some tens, and definitions that stand for them some hundreds."""

_SHOWN_CHARS = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """The records of a list, and what was made of its shape, a sentence each."""

    records: Sequence[Record]
    notes: tuple[str, ...] = ()


def records_of(
    content: Any,
    where: str,
    *,
    first: int = 1,
    unit: str = "entry",
    dataset_key: str | None = None,
) -> Source:
    """Make records of parsed content."""
    if isinstance(content, Mapping):
        content = {str(key): value for key, value in content.items()}
        _refuse_templates(content, where)
        known = _LISTS + _WRAPPERS * (len(content) == 1)
        listed = next((key for key in content if key.lower() in known), None)
        if dataset_key is None and listed and isinstance(content[listed], (list, Mapping)):
            return records_of(content[listed], where)
        if dataset_key is not None or _is_by_dataset(content):
            return records_of(_of_dataset(content, where, dataset_key), where, first=first)
        return _of_mapping(content, where)
    if dataset_key is not None:
        raise ConfigError(
            f"--dataset-key {dataset_key!r} chooses among the lists of several datasets, and "
            f"{where} holds one list. Leave it out."
        )
    if isinstance(content, Sequence) and not isinstance(content, (str, bytes)):
        return Source(records=list(_numbered(content, where, first, unit)))
    raise ConfigError(
        "A concept list must be a list of names or a mapping. Got "
        f"{type(content).__name__} in {where} instead."
    )


def _is_by_dataset(content: Mapping[str, Any]) -> bool:
    """Whether a mapping holds the class names of datasets, and not the synonyms of names.

    Both are a mapping of text to lists of text: the keys decide where they are names of known
    datasets or plurals with several names each, or else the length of the lists.
    """
    lists = {
        key: value
        for key, value in content.items()
        if (isinstance(value, list) and len(value) > 1)
        or (isinstance(value, Mapping) and value and not _is_record(value))
    }
    # names of known evaluation sets as keys decide, unless what they hold are sentences
    if lists and all(map(_texts, content.values())) and all(map(DATASET_NAMES.search, content)):
        return not _are_sentences(content)  # a set of one class, or of two, is a set still
    if not lists or len(lists) < len(content):
        return False
    if any(isinstance(value, Mapping) for value in lists.values()):
        return True
    if any(ENTITY.fullmatch(key) or key.isdigit() for key in lists):
        return False
    if _are_sentences(lists):
        return False
    named = sum(bool(DATASET_NAMES.search(key)) for key in lists)
    plural = sum(key.lower().endswith("s") and not key.lower().endswith("ss") for key in lists)
    # half of the lists longer than any list of synonyms
    long = sorted(map(len, lists.values()))[len(lists) // 2] > _LONG_LIST
    return 2 * named >= len(lists) or 2 * plural > len(lists) or long


def _is_record(value: Mapping[Any, Any]) -> bool:
    if any(isinstance(value.get(key), list) for key in _LISTS if key in value):
        return False  # a dataset with its list of classes, and perhaps its templates
    return any(column(list(value), field) is not None for field in COLUMNS)


def _of_dataset(content: Mapping[str, Any], where: str, dataset_key: str | None) -> Any:
    if dataset_key is None or dataset_key not in content:
        found = f"{dataset_key!r}" if dataset_key is not None else "none"
        shown = ", ".join(repr(key) for key in list(content)[:12])
        raise ConfigError(
            f"{where} has lists by dataset ({shown}{', …' if len(content) > 12 else ''}): say "
            f"which one to read with --dataset-key. Got {found} instead. If these are names with "
            'other names for them, write records: {"concept": …, "aliases": [...]}.'
        )
    return content[dataset_key]


def _refuse_templates(content: Mapping[str, Any], where: str) -> None:
    texts = [item for value in content.values() if _texts(value) for item in value]
    if texts and all(PLACEHOLDER.search(text) for text in texts):
        raise templates_for_names(where, texts[0])


def templates_for_names(where: str, template: str) -> ConfigError:
    """Refuse prompt templates that were given as concepts."""
    return ConfigError(
        f"{where} holds prompt templates ({template!r}) and no names. Give it to --template "
        "or --templates where there is such an option, and the file with the names here."
    )


def _of_mapping(content: Mapping[str, Any], where: str) -> Source:
    lists = {key: _as_list(value) for key, value in content.items()}
    lists = {key: value for key, value in lists.items() if _texts(value)}
    described = {key for key in lists if not key.isdigit() and not ENTITY.fullmatch(key)}
    as_prompts = _are_sentences({key: lists[key] for key in described})
    # an index or an id is no name: the names are what stands under it
    numbered = all(key.isdigit() or ENTITY.fullmatch(key) for key in content)
    texts = [value for value in content.values() if isinstance(value, str)]
    split = numbered and synonymous(texts)
    entries = [
        _named_by_id(key, value, split=split)
        if numbered
        else _from_pair(key, value, as_prompts=as_prompts)
        for key, value in content.items()
    ]
    notes: list[str] = []
    if described:
        name = next(iter(sorted(described, key=list(content).index)))
        sample = f"{lists[name][0][:60]!r} for {name!r}"
        notes.append(
            f"The texts given for {quantity(len(described), 'name was', 'names were')} taken as "
            + (f"prompts, not as names ({sample})." if as_prompts else f"other names ({sample}).")
        )
    return Source(records=list(_numbered(entries, where)), notes=tuple(notes))


def _as_list(value: Any) -> Any:
    """Make a list of one text that stands for a list: an id and a number do not."""
    is_text = isinstance(value, str) and not ENTITY.fullmatch(value) and not _is_number(value)
    return [value] if is_text else value


def _texts(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(v, str) for v in value)


def _are_sentences(lists: Mapping[str, Any]) -> bool:
    """Whether lists of text describe their names (descriptors, CuPL) and are no names themselves.

    Sentences begin with an article or a verb, end with a mark, run over several words; and one
    description fits many names, while one synonym fits one.
    """
    items = [str(item).strip() for value in lists.values() for item in value]
    if not items:
        return False
    sentences = sum(bool(_SENTENCE.search(item)) or len(item.split()) > 4 for item in items)
    times = Counter(item.casefold() for item in items)
    shared = sum(n for n in times.values() if n > 1)
    return 5 * sentences >= len(items) or 5 * shared >= len(items)


def as_prompt(name: str, text: str) -> str:
    """Write a description of a name as a prompt; a sentence that names it is one already.

    The wording of "Visual Classification via Description from Large Language Models".

    >>> as_prompt("ramen", "a bowl"), as_prompt("ramen", "noodles in broth")
    ('ramen, which is a bowl', 'ramen, which has noodles in broth')
    >>> as_prompt("ramen", "A photo of ramen.")
    'A photo of ramen.'
    """
    if name.replace("_", " ").casefold() in text.casefold() or len(text.split()) > 12:
        return text
    word = text.partition(" ")[0].casefold()
    if word in ("a", "an", "the", "used", "made", "served", "found", "known"):
        return f"{name}, which is {text}"
    if word in ("which", "that", "with"):
        return f"{name}, {text}"
    if word in ("has", "have", "often", "usually", "typically", "may", "can", "is", "are"):
        return f"{name}, which {text}"
    return f"{name}, which has {text}"


def _from_pair(key: str, value: Any, *, as_prompts: bool) -> Any:
    if isinstance(value, Mapping):
        return {"concept": key, **value} if column(list(value), "name") is None else value
    if isinstance(value, str) and ENTITY.fullmatch(value):
        return {"concept": key, "synset": value}
    if as_prompts and _texts(_as_list(value)):
        return {"concept": key, "prompts": [as_prompt(key, text) for text in _as_list(value)]}
    # counts, as in the paper's files, are no other names; some formats write them as text
    is_other = isinstance(value, (list, tuple, str)) and not _is_number(value)
    return {"concept": key, "aliases": value} if is_other else {"concept": key}


def _named_by_id(key: str, value: Any, *, split: bool) -> Any:
    """Read the names that stand under a class index or an id."""
    if isinstance(value, Mapping):
        return {"concept": key, **value} if column(list(value), "name") is None else value
    place: dict[str, Any] = {"class_index": int(key)} if key.isdigit() else {"synset": key}
    if isinstance(value, str):
        names = (synonyms(value) if split else [value]) or [""]
    elif _texts(value):
        names = list(value)
    else:
        return {"concept": key}  # a number that is a name, and its count
    if len(names) > 1 and ENTITY.fullmatch(names[0]):
        # Keras's imagenet_class_index.json: index → [synset, name]
        place["synset"] = names.pop(0)
    return {"concept": names[0], "aliases": names[1:], **place}


def _is_number(value: Any) -> bool:
    try:
        float(value)
    except (TypeError, ValueError):
        return False
    return True


def _numbered(
    entries: Sequence[Any], where: str, first: int = 1, unit: str = "entry"
) -> Iterator[Record]:
    names = [entry for entry in entries if isinstance(entry, list) and _texts(entry)]
    synonymous_lists = bool(names) and len(names) == len(entries)
    for number, entry in enumerate(entries, start=first):
        given = {"concept": entry[0], "aliases": entry[1:]} if synonymous_lists else entry
        yield Record(place=f"{unit} {number}", concept=_concept(given, where, number))


def _concept(entry: Any, where: str, number: int) -> Concept | None:
    if isinstance(entry, Concept):
        return entry
    if isinstance(entry, Mapping):
        entry = _with_names_of_synset(entry)
        fields = _fields(tuple(map(str, entry)))
        if fields["name"] is None:
            raise ConfigError(
                f"Entry {number} of {where} must have a field called one of "
                f"{list(COLUMNS['name'])}. Got {[str(name) for name in entry][:8]} instead."
            )
        values = {str(name): value for name, value in entry.items()}
        found = {field: values[name] if name else None for field, name in fields.items()}
    elif entry is None or isinstance(entry, (str, int, float)):
        found = {**dict.fromkeys(COLUMNS), "name": entry}
    else:
        raise ConfigError(
            f"Entry {number} of {where} must be a name or a record. Got "
            f"{type(entry).__name__} instead."
        )
    # an entry without a name keeps its place: later class indexes rest on it
    name = _plain(found["name"])
    if not name:
        return None
    aliases = _several(found["aliases"])
    for text in (name, *aliases):
        if len(text) > MAX_NAME_CHARS:
            raise DataError(
                f"Entry {number} of {where} has a name of {len(text):,} characters, which begins "
                f"{text[:_SHOWN_CHARS]!r}; a concept's may have {MAX_NAME_CHARS:,}. The file may "
                "be no list of concepts, or one with other separators than expected."
            )
    return Concept(
        name=name,
        aliases=aliases,
        prompts=_several(found["prompts"]),
        synset=_plain(found["synset"]) or None,
        dataset=_plain(found["dataset"]) or None,
        class_index=_index(found["class_index"], where, number),
    )


@lru_cache(maxsize=64)
def _fields(names: tuple[str, ...]) -> Mapping[str, str | None]:
    """Find the column of each field; the records of a list have the same few sets of names."""
    return {field: column(names, field) for field in COLUMNS}


def _with_names_of_synset(entry: Mapping[Any, Any]) -> Mapping[Any, Any]:
    """Take the names out of ImageNetV2's records, whose ``synset`` is the list of its lemmas."""
    lemmas = entry.get("synset")
    if "wnid" not in entry or column(list(entry), "name") is not None:
        return entry
    names = synonyms(lemmas) if isinstance(lemmas, str) else lemmas
    if not isinstance(names, list) or not _texts(names):
        return entry
    rest = {key: value for key, value in entry.items() if key != "synset"}
    return {**rest, "concept": names[0], "aliases": names[1:]}


def column(names: Sequence[Any], field: str) -> str | None:
    """Find the column or key that holds a field, in any case; its own spelling."""
    # reversed, so that of two columns that differ in case the first counts
    lower = {str(name).strip().lower(): str(name) for name in reversed(names)}
    return next((lower[name] for name in COLUMNS[field] if name in lower), None)


def _plain(value: Any) -> str:
    """Text without lone surrogates, which JSON escapes can make and no file can hold."""
    # their text can be of any size: YAML's references make lists of lists out of a few lines
    if isinstance(value, (list, tuple, set, Mapping)):
        raise DataError(
            "Names, aliases and prompts of a concept list must be text. Got a "
            f"{type(value).__name__} within one instead."
        )
    return "" if value is None else str(value).strip().encode(errors="replace").decode()


def _several(value: Any) -> tuple[str, ...]:
    """Split at ``|``, or take the list (or the names of a mapping) as it is.

    A table written with pandas has lists as Python prints them.
    """
    if isinstance(value, str) and value.strip()[:1] == "[":
        value = printed_list(value)
    items = value.split("|") if isinstance(value, str) else value if value is not None else ()
    if not isinstance(items, (list, tuple, Mapping)):
        items = (items,)
    return tuple(text for item in items if (text := _plain(item)))


def _index(value: Any, where: str, number: int) -> int | None:
    if value is None or value == "":
        return None
    try:
        return int(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise DataError(
            f"The class_index of entry {number} of {where} must be a whole number. "
            f"Got {repr(value)[:40] if isinstance(value, (str, float)) else type(value).__name__} "
            "instead."
        ) from error
