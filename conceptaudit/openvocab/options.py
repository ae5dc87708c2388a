"""What can be set about a listing of nouns."""

from dataclasses import dataclass, field

from conceptaudit.datasets.base import CAPTION_UNIT, DEFAULT_SHARD_ROWS
from conceptaudit.engine import EngineChoice
from conceptaudit.engine.choose import AUTO
from conceptaudit.errors import ConfigError
from conceptaudit.openvocab.phrases import PhraseRule
from conceptaudit.text.pipeline import BUNDLED


@dataclass(frozen=True, slots=True, kw_only=True)
class VocabOptions:
    """What can be set about a listing of nouns, apart from where it reads and writes.

    Parameters
    ----------
    rule : PhraseRule
        What is listed.
    min_count : int
        Least number of captions of an entry, at least 1.
    min_images : int
        Least number of distinct images (keys) of an entry, at least 1.
    captions_per_image : int or None
        How many captions of each image are looked at, the first ones; None for all.
    layout : str
        Dataset layout, or ``"auto"`` to detect it.
    caption_column, key_column, url_column, language_column : str or None
        Columns of a metadata table, where their names are not among the known ones.
    languages : tuple of str
        List only rows in these languages.
    unit : {"caption", "document"}
        What one text is.
    spacy_model : str
        ``"bundled"``, an installed spaCy pipeline or a path.
    workers : int or None
        Workers; None for one per processor.
    engine : {"auto", "serial", "processes", "ray"}
        Who they are; see `conceptaudit.engine.EngineChoice`. Changes no result.
    ray_address : str or None
        Of a running Ray cluster.
    shard_rows : int
        Rows of a table per shard, at least 1. Changes no count.
    memory_limit : str
        What merging may hold in memory before it spills to disk.
    skip_unreadable : bool
        Whether a file that cannot be read is listed instead of stopping the run.
    keep_parts : bool
        Whether the shards' tables stay beside the output, for another listing of the same data
        with other least counts.
    """

    rule: PhraseRule = field(default_factory=PhraseRule)
    min_count: int = 1
    min_images: int = 1
    captions_per_image: int | None = None
    layout: str = "auto"
    caption_column: str | None = None
    key_column: str | None = None
    url_column: str | None = None
    language_column: str | None = None
    languages: tuple[str, ...] = ()
    unit: str = CAPTION_UNIT
    spacy_model: str = BUNDLED
    workers: int | None = 1
    engine: str = AUTO
    ray_address: str | None = None
    shard_rows: int = DEFAULT_SHARD_ROWS
    memory_limit: str = "500MB"
    skip_unreadable: bool = False
    keep_parts: bool = False

    def __post_init__(self) -> None:
        _ = self.engine_choice  # which checks itself
        for name in ("min_count", "min_images", "captions_per_image"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(
                    f"The '{name}' parameter of VocabOptions must be at least 1. Got {value} "
                    "instead."
                )

    @property
    def engine_choice(self) -> EngineChoice:
        """Who does the work."""
        return EngineChoice(kind=self.engine, workers=self.workers, address=self.ray_address)
