"""Options of a listing of nouns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from conceptaudit.errors import ConfigError
from conceptaudit.options import shared
from conceptaudit.options.fields import check_options, documented, flag, option, optional

if TYPE_CHECKING:
    from conceptaudit.engine import EngineChoice


@documented
@dataclass(frozen=True, slots=True, kw_only=True)
class PhraseRule:
    """Which nouns and phrases are listed."""

    words: bool = option(True, "List single nouns.")
    phrases: bool = option(True, "List noun phrases.")
    max_words: int = option(4, "Longest phrase; of a longer one its end.", within="[2, inf)")
    as_published: bool = flag("Spell words as arXiv:2404.04125 did: lower case, ASCII letters.")

    def __post_init__(self) -> None:
        check_options(self)
        if not (self.words or self.phrases):
            raise ConfigError(
                "The 'words' and 'phrases' parameters of PhraseRule must not both be False."
            )


@documented
@dataclass(frozen=True, slots=True, kw_only=True)
class VocabOptions:
    """Options of a listing of nouns, apart from where it reads and writes."""

    rule: PhraseRule = option(PhraseRule, "What is listed.", hidden=True)
    min_count: int = option(1, "Least number of captions of an entry.", within="[1, inf)")
    min_images: int = option(1, "Least number of distinct images of an entry.", within="[1, inf)")
    captions_per_image: int | None = optional(
        "Look at the first so many captions of an image only.", within="[1, inf)"
    )
    layout: str = shared.layout()
    caption_column: str | None = shared.caption_column()
    key_column: str | None = shared.key_column()
    url_column: str | None = shared.url_column()
    languages: tuple[str, ...] = option(
        (), "List only rows in this language ('en'); repeat for more.", name="language"
    )
    language_column: str | None = shared.language_column()
    unit: str = shared.unit()
    spacy_model: str = shared.spacy_model()
    workers: int | None = shared.workers(default=1)
    engine: str = shared.engine()
    ray_address: str | None = shared.ray_address()
    shard_rows: int = shared.shard_rows()
    memory_limit: str = option("500MB", "Memory for merging; more is spilled to disk beside OUT.")
    skip_unreadable: bool = shared.skip_unreadable()
    keep_parts: bool = flag("Keep OUT.parts, for listings with other least counts.")

    def __post_init__(self) -> None:
        _ = self.engine_choice  # which checks itself
        check_options(self)

    @property
    def engine_choice(self) -> EngineChoice:
        """Who does the work."""
        from conceptaudit.engine import EngineChoice

        return EngineChoice(kind=self.engine, workers=self.workers, address=self.ray_address)
