"""The noun tagger that comes with the package."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from conceptaudit.ownership import is_own_process

if TYPE_CHECKING:
    from spacy.language import Language

BUNDLED_NAME = "en_caption_nouns"


def bundled_path() -> Path:
    """Folder of the bundled pipeline.

    Its ``README.md`` is the model card and ``accuracy.json`` holds the measured accuracy.
    ``spacy.load`` reads the folder once ``conceptaudit.text.noun_lexicon`` has been imported;
    ``load_bundled`` does both.

    >>> bundled_path().name
    'en_caption_nouns'
    """
    return Path(__file__).parent / "models" / BUNDLED_NAME


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

        return spacy.load(bundled_path())


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
