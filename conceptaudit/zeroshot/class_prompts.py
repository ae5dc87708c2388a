"""Prompt templates of an evaluation set, and prompts that single classes have of their own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from conceptaudit.display import quantity
from conceptaudit.errors import ConfigError, DataError
from conceptaudit.image.concept_vectors import DEFAULT_TEMPLATES
from conceptaudit.zeroshot.class_names import (
    NO_KEY,
    SHOWN,
    DatasetKey,
    folded,
    parsed_json,
    some,
    text_of,
)

TEMPLATES = "zeroshot_classification_templates.txt"
"""File name of CLIP_benchmark's WebDataset folders."""

IMAGENET = "imagenet"
"""Asks for open_clip's templates of ImageNet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompts:
    """Templates for all classes, or prompts by class."""

    templates: tuple[str, ...] = ()  # with ``{}``; none where only classes have prompts
    # prompts by class name, with or without ``{}``
    of_class: Mapping[str, tuple[str, ...]] | None = None


def own_templates(root: Path) -> tuple[str, ...]:
    """Templates that lie beside a set, else the default."""
    file = root / TEMPLATES
    return with_braces(_lines(file)) if file.is_file() else DEFAULT_TEMPLATES


def named_prompts(
    templates: str | Path | Sequence[str], class_names: Sequence[str], key: DatasetKey = NO_KEY
) -> Prompts:
    """Take templates as they are, from a file, or open_clip's of ImageNet."""
    if not isinstance(templates, str | Path):
        return Prompts(templates=with_braces(tuple(templates)))
    if str(templates) == IMAGENET:
        import open_clip

        return Prompts(
            templates=tuple(template("{}") for template in open_clip.OPENAI_IMAGENET_TEMPLATES)
        )
    path = Path(templates)
    if not path.is_file():
        raise ConfigError(
            f"There is no file of templates {path} (--templates). Give a text file with a "
            "template per line, JSON, or 'imagenet'."
        )
    if path.suffix.lower() != ".json":
        return Prompts(templates=with_braces(_lines(path)))
    return _from_json(parsed_json(path), path, class_names, key)


def _from_json(content: Any, path: Path, class_names: Sequence[str], key: DatasetKey) -> Prompts:
    if isinstance(content, Mapping) and content:
        if any(isinstance(value, Mapping) for value in content.values()):
            inner = key.entry_of(content, path, "prompts")
            if not isinstance(inner, Mapping):
                raise DataError(f"{path} must hold prompts by class for every dataset.")
            return _by_class(inner, path, class_names)
        classes = {folded(name) for name in class_names}
        if any(folded(str(name)) in classes for name in content):
            return _by_class(content, path, class_names)
        listed = {str(name): _sentences(value, path) for name, value in content.items()}
        if not any(_has_place(sentence) for group in listed.values() for sentence in group):
            raise ConfigError(
                f"{path} holds prompts without a place for the name, and none of its "
                f"{quantity(len(listed), 'key')} ({', '.join(list(listed)[:SHOWN])}) is a class "
                f"of this set ({', '.join(class_names[:SHOWN])} …). Name the classes as the set "
                "does."
            )
        return Prompts(templates=with_braces(key.entry_of(listed, path, "templates")))
    if isinstance(content, list):
        return Prompts(templates=with_braces(_sentences(content, path)))
    raise DataError(
        "Templates in JSON must be a list, or a mapping of datasets or classes to lists. "
        f"Got {type(content).__name__} in {path} instead."
    )


def _by_class(content: Mapping[str, Any], path: Path, class_names: Sequence[str]) -> Prompts:
    classes = {folded(name) for name in class_names}
    if not any(folded(str(name)) in classes for name in content):
        raise ConfigError(
            f"None of the {quantity(len(content), 'key')} of {path} "
            f"({', '.join(list(content)[:SHOWN])}) is a class of this set "
            f"({', '.join(class_names[:SHOWN])} …)."
        )
    return Prompts(of_class={str(k): _sentences(value, path) for k, value in content.items()})


def prompts_by_class(
    prompts: Mapping[str, tuple[str, ...]], class_names: Sequence[str]
) -> tuple[tuple[tuple[str, ...], ...], list[str]]:
    """Give each class its prompts, and say which classes and which prompts have no partner."""
    by_name = {folded(name): group for name, group in prompts.items()}
    of_class = tuple(
        tuple(_filled(prompt, name) for prompt in by_name.get(folded(name), ()))
        for name in class_names
    )
    known = {folded(name) for name in class_names}
    bare = [repr(name) for name, group in zip(class_names, of_class, strict=True) if not group]
    strange = [repr(name) for name in prompts if folded(name) not in known]
    notes = []
    if bare:
        notes.append(
            f"{len(bare):,} of {quantity(len(class_names), 'class')} have no prompts of their own "
            f"and take the templates: {some(bare)}."
        )
    if strange:
        notes.append(
            f"Prompts were given for {quantity(len(strange), 'name')} that "
            f"no class has, and left out: {some(strange)}."
        )
    return of_class, notes


def _sentences(value: Any, path: Path) -> tuple[str, ...]:
    items = [value] if isinstance(value, str) else value
    if not isinstance(items, list) or not all(isinstance(item, str) for item in items):
        raise DataError(f"Templates and prompts in {path} must be text or lists of text.")
    return tuple(item.strip() for item in items if item.strip())


def _has_place(template: str) -> bool:
    return "{}" in template or "{c}" in template


def _filled(prompt: str, name: str) -> str:
    return prompt.replace("{c}", "{}").replace("{}", name)


def _lines(file: Path) -> tuple[str, ...]:
    return tuple(line.strip() for line in text_of(file).splitlines() if line.strip())


def with_braces(templates: tuple[str, ...]) -> tuple[str, ...]:
    """Write every template with ``{}``.

    >>> with_braces(("a photo of a {c}.",))
    ('a photo of a {}.',)
    """
    plain = tuple(template.replace("{c}", "{}") for template in templates)
    for template in plain:
        if template.count("{}") != 1:
            raise ConfigError(
                "A prompt template must hold '{}' (or '{c}') once, where the class's name goes. "
                f"Got {template!r} instead."
            )
    return plain
