"""The noun tagger that comes with the package."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from spacy.language import Language

BUNDLED_NAME = "en_caption_nouns"


def bundled_path() -> Path:
    """Folder of the bundled pipeline.

    Its ``README.md`` is the model card and ``accuracy.json`` holds the measured accuracy.
    ``spacy.load`` reads the folder once ``conceptaudit.text.noun_lexicon`` has been imported;
    ``load_bundled`` does both.

    Returns
    -------
    Path
        A folder within the installed package.

    Examples
    --------
    >>> bundled_path().name
    'en_caption_nouns'
    """
    return Path(__file__).parent / "models" / BUNDLED_NAME


def load_bundled() -> Language:
    """Load the bundled pipeline: English, parts of speech and lemmas.

    Returns
    -------
    Language
        A spaCy pipeline that sets ``pos``, ``morph`` (number and verb form only) and ``lemma``.

    Examples
    --------
    >>> nlp = load_bundled()
    >>> [token.lemma_ for token in nlp("two dogs chase a ball") if token.pos_ == "NOUN"]
    ['dog', 'ball']
    """
    import spacy

    import conceptaudit.text.noun_lexicon  # noqa: F401  registers the component and the layer

    return spacy.load(bundled_path())
