"""The spaCy pipeline that tells which words are nouns: loading it, and running it over captions."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

from conceptaudit.artifacts import Json, digest_of, file_digest
from conceptaudit.errors import ConfigError, MissingDependencyError
from conceptaudit.options import shared
from conceptaudit.process import is_own_process
from conceptaudit.text.word_forms import BUNDLED_FOLDER

if TYPE_CHECKING:
    from spacy.language import Language
    from spacy.tokens import Doc


BUNDLED = shared.BUNDLED

UNNEEDED = ("parser", "ner", "senter", "entity_linker", "entity_ruler", "textcat", "spancat")
"""Components that neither tag nor lemmatise; they are not run."""

ANY_POS, NOUN_POS = shared.ANY_POS, shared.NOUN_POS


@dataclass(frozen=True, slots=True, kw_only=True)
class NounPipeline:
    """A spaCy pipeline by name or path, loaded on first use in each process."""

    # ``"bundled"``, an installed pipeline package such as ``"en_core_web_lg"``, or a path
    name: str
    digest: str  # identity of its weights and rules: part of every text digest
    pos: str = NOUN_POS  # whether a match needs a noun head or any part of speech will do


def find_pipeline(name: str = BUNDLED, *, pos: str = NOUN_POS) -> NounPipeline:
    """Check that a pipeline can be had and identify it, by loading it once."""
    if pos not in (NOUN_POS, ANY_POS):
        raise ConfigError(f"The 'pos' parameter must be 'noun' or 'any'. Got {pos!r} instead.")
    nlp = load_pipeline(name)
    if pos == NOUN_POS:
        _require_nouns(nlp, name)
    return NounPipeline(name=name, digest=_identity(nlp, name), pos=pos)


def pipeline_facts(pipeline: NounPipeline) -> Json:
    """Say which pipeline it is, for a manifest: what it calls itself, version and digest."""
    meta = load_pipeline(pipeline.name).meta
    return {
        "name": pipeline.name,
        "package": f"{meta.get('lang')}_{meta.get('name')}",
        "version": meta.get("version"),
        "digest": pipeline.digest,
    }


_loaded: dict[str, Language] = {}


def load_pipeline(name: str) -> Language:
    """Load a pipeline once per process, without the components that tagging does not need."""
    if name not in _loaded:
        _loaded[name] = _load(name)
    return _loaded[name]


def _load(name: str) -> Language:
    if name == BUNDLED:
        from conceptaudit.text.pipeline import load_bundled

        return load_bundled()
    import spacy

    try:
        # the bundled component may be part of a pipeline that the user trained with our script
        import conceptaudit.text.noun_lexicon  # noqa: F401 -- registers the component

        return spacy.load(name, exclude=list(UNNEEDED))
    except (OSError, ValueError, ImportError) as error:
        raise MissingDependencyError(
            f"Cannot load the spaCy pipeline {name!r}: {str(error).splitlines()[0]} "
            f"Install it (python -m spacy download {Path(name).name}), give a path, or leave "
            "--spacy-model out to use the bundled English one."
        ) from error


def assigned(nlp: Language) -> set[str]:
    """Return the attributes that a pipeline's components set, such as ``"token.pos"``.

    A ruler sets what its rules say, which its description does not tell.
    """
    from spacy.pipeline import AttributeRuler

    found = {attribute for pipe in nlp.pipe_names for attribute in nlp.get_pipe_meta(pipe).assigns}
    for _, component in nlp.pipeline:
        if isinstance(component, AttributeRuler):
            rules: Any = component.patterns
            found |= {f"token.{name.lower()}" for rule in rules for name in rule["attrs"]}
    return found


def _require_nouns(nlp: Language, name: str) -> None:
    if not assigned(nlp) & {"token.pos", "token.tag"}:
        raise ConfigError(
            f"The spaCy pipeline {name!r} has no tagger (it has {nlp.pipe_names or 'nothing'}), "
            "so it cannot tell nouns from verbs. Use one with a tagger or morphologizer, or "
            "count strings with --pos any."
        )


def _identity(nlp: Language, name: str) -> str:
    """Digest of the files of a pipeline, or of its name and version where it has no folder."""
    folder = nlp.path
    if folder is not None and Path(folder).is_dir():
        files = sorted(path for path in Path(folder).rglob("*") if path.is_file())
        return digest_of(
            [[path.relative_to(folder).as_posix(), file_digest(path)] for path in files]
        )
    return digest_of([name, nlp.meta.get("name"), nlp.meta.get("version"), nlp.pipe_names])


def load_bundled() -> Language:
    """Load the bundled pipeline: English, parts of speech and lemmas.

    Returns a spaCy pipeline that sets ``pos``, ``morph`` (number and verb form only) and ``lemma``.

    >>> nlp = load_bundled()
    >>> [token.lemma_ for token in nlp("two dogs chase a ball") if token.pos_ == "NOUN"]
    ['dog', 'ball']
    """
    with _without_torch():
        import spacy

        import conceptaudit.text.noun_lexicon  # noqa: F401  registers the component and the layer

        return spacy.load(BUNDLED_FOLDER)


@contextmanager
def _without_torch() -> Iterator[None]:
    """Keep spaCy from importing PyTorch, which this pipeline has no use for.

    thinc imports it wherever it is installed: 2 seconds and 450 MiB in every worker. Other
    pipelines may need thinc to know it, so it is kept away only in processes that are ours.
    """
    if not is_own_process() or "torch" in sys.modules or "thinc" in sys.modules:
        yield
        return
    modules = cast("dict[str, Any]", sys.modules)
    modules["torch"] = None  # importing it fails as where it is not installed
    try:
        yield
    finally:
        del modules["torch"]


Value = TypeVar("Value")

SPACY_BATCH = 256
"""Captions per forward pass; more gained nothing in measurements and costs memory."""

ZONE_CAPTIONS = 2_048
"""Captions after which the pipeline forgets the words it has seen."""


def map_docs(
    nlp: Language, captions: Sequence[str], use: Callable[[Doc], Value]
) -> list[Value | Exception]:
    """Tag captions and keep what a function makes of each tagged one.

    >>> import spacy
    >>> map_docs(spacy.blank("en"), ["a dog", "dogs"], len)
    [2, 1]
    """
    found: list[Value | Exception] = []
    for start in range(0, len(captions), ZONE_CAPTIONS):
        zone = captions[start : start + ZONE_CAPTIONS]
        distinct = list(dict.fromkeys(zone))
        results = dict(zip(distinct, _zone(nlp, distinct, use), strict=True))
        found.extend(results[caption] for caption in zone)
    return found


def _zone(
    nlp: Language, captions: Sequence[str], use: Callable[[Doc], Value]
) -> list[Value | Exception]:
    # `use` must not hold on to a Doc, whose words are gone when the zone ends, and
    # the zone frees new words: without it spaCy's string store grows with the corpus
    with nlp.memory_zone():
        try:
            return [use(doc) for doc in nlp.pipe(captions, batch_size=SPACY_BATCH)]
        except Exception as error:  # noqa: BLE001 -- any pipeline may fail on any caption
            if len(captions) == 1:
                return [error]
    half = len(captions) // 2
    return [*_zone(nlp, captions[:half], use), *_zone(nlp, captions[half:], use)]
