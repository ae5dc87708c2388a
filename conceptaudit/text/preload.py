"""What workers that tag captions load before their first task."""

from conceptaudit.text import fast, tagger  # noqa: F401 -- the stages, which workers receive
from conceptaudit.text.pipeline import BUNDLED, load_pipeline
from conceptaudit.text.spelling_variants import english_spellings

LOADER = f"{__name__}:preload"
"""Names `preload` to the server that workers are forked from."""


def preload() -> None:
    """Load the bundled pipeline and the word tables for English phrases."""
    load_pipeline(BUNDLED)
    english_spellings("hot dog")
