"""``conceptaudit count``: how many captions hold some words, without an audit."""

from __future__ import annotations

from conceptaudit.cli.arguments import AS_JSON
from conceptaudit.cli.console import emit_json, progress_bar, say, say_table
from conceptaudit.cli.generated import takes_options
from conceptaudit.display import quantity
from conceptaudit.options import shared
from conceptaudit.options.engine import EngineChoice
from conceptaudit.options.fields import argument, flag, option, optional


@takes_options
def count(
    dataset: str = argument("File, folder, glob or fsspec URL, as for 'conceptaudit audit'."),
    phrases: list[str] | None = argument(
        "Words or phrases to count.", metavar="PHRASE...", default=None
    ),
    *,
    all_of: list[str] | None = optional(
        "Words, between commas, that must all be in the caption, in any order: 'blue,cat'; repeat "
        "for more."
    ),
    near: int | None = optional(
        "With --all-of: at most so many words from first to last.", within="[1, inf)"
    ),
    exact: bool = flag("As given: no plurals, no other spellings."),
    examples: int = option(5, "Captions shown of each.", within="[0, 1_000]"),
    layout: str = shared.layout(),
    caption_column: str | None = shared.caption_column(),
    workers: EngineChoice,
    as_json: bool = AS_JSON,
) -> None:
    """Count captions that hold words or phrases: strings, in all their forms, no tagger.

    Counts are those of audit --pos any. 'blue cat' is not in "the cat is blue"; --all-of
    blue,cat finds it, and with --near 3 only where the words stand together.

    \b
    Example:
      conceptaudit count metadata.parquet 'blue cat' --all-of blue,cat --near 3
    """  # noqa: D301 -- the escape is meant: it keeps the example's lines apart
    from conceptaudit.datasets import open_dataset
    from conceptaudit.errors import ConfigError
    from conceptaudit.text.scan import Query, count_queries

    queries = [Query(name=text, phrases=(text,), exact=exact) for text in phrases or []]
    for text in all_of or []:
        words = tuple(word.strip() for word in text.split(",") if word.strip())
        name = " + ".join(words) + (f" within {near} words" if near is not None else "")
        queries.append(Query(name=name, phrases=words, near=near, exact=exact))
    if not queries or not all(query.phrases for query in queries):
        raise ConfigError("Name what to count: phrases, or words with --all-of blue,cat.")
    if near is not None and not all_of:
        raise ConfigError("--near is about words of --all-of: name them.")
    opened = open_dataset(dataset, layout=layout, caption_column=caption_column)
    with progress_bar() as progress:
        counted = count_queries(opened, queries, examples, workers=workers, progress=progress)
    if as_json:
        emit_json(
            {
                "n_captions": counted.n_captions,
                "n_missing": counted.n_missing,
                "counts": [
                    {"what": query.name, "n_text": n, "examples": [list(e) for e in shown]}
                    for query, n, shown in zip(
                        queries, counted.counts, counted.examples, strict=True
                    )
                ],
            }
        )
        return
    total = max(counted.n_captions, 1)
    say(
        f"{quantity(counted.n_captions, 'caption')} read; "
        f"{quantity(counted.n_missing, 'sample has', 'samples have')} none"
    )
    say_table(
        ["", "captions", "per million"],
        [[q.name, n, n / total * 1e6] for q, n in zip(queries, counted.counts, strict=True)],
    )
    for query, shown in zip(queries, counted.examples, strict=True):
        if shown:
            say(f"\n{query.name}, the first {len(shown)}")
        for key, caption in shown:
            say(f"  {caption}   ({key})")
