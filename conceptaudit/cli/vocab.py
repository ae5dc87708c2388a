"""``conceptaudit vocab``: which nouns and noun phrases captions hold, and how often."""

from __future__ import annotations

from pathlib import Path

from conceptaudit.cli.arguments import AS_JSON, SHARD
from conceptaudit.cli.console import (
    emit_json,
    logged_progress,
    say,
    say_notes,
    say_reasons,
    say_table,
)
from conceptaudit.cli.generated import takes_options
from conceptaudit.cli.parts import asked_part, show_part
from conceptaudit.display import quantity
from conceptaudit.options.fields import argument, flag, optional, required
from conceptaudit.options.vocab import PhraseRule, VocabOptions

SHOWN = 15  # entries shown


@takes_options
def vocab(
    dataset: str = argument("File, folder, glob or fsspec URL, in any layout of docs/formats.md."),
    *,
    out: Path = required("File to write: .csv, else parquet.", flags=("-o",)),
    as_concepts: Path | None = optional("CSV to write the entries to as a list for `audit -c`."),
    rule: PhraseRule,
    options: VocabOptions,
    shard: str | None = SHARD,
    overwrite: bool = flag("Replace another listing in OUT."),
    as_json: bool = AS_JSON,
) -> None:
    """List all nouns and noun phrases of a dataset's captions with exact counts.

    A listing that was interrupted goes on when the same command is run again.

    \u0008
    Example:
      conceptaudit vocab metadata.parquet -o vocab.parquet --min-count 10
      conceptaudit vocab captions.json -o nouns.parquet --no-phrases --captions-per-image 5
        --min-images 10 --as-concepts concepts.csv
    """
    from dataclasses import replace
    from itertools import islice

    from conceptaudit.noun_vocabulary import list_part, list_vocabulary, parts_of, write_concepts
    from conceptaudit.noun_vocabulary.merging import entries
    from conceptaudit.store.outputs import output_files, staged

    options = replace(options, rule=rule)
    parts = parts_of(out)
    listed = output_files("concepts", [as_concepts])
    with logged_progress(parts, "vocab", beside=out) as progress:
        if shard is not None:
            part = asked_part(shard, overwrite=overwrite)
            done = list_part(dataset, out, part, options=options, progress=progress)
        else:
            run = list_vocabulary(
                dataset, out, options=options, overwrite=overwrite, progress=progress
            )
            progress.account(run.account)
    if shard is not None:
        show_part(done, merged=out, as_json=as_json)
        return
    n_concepts = None
    with staged(listed) as files:
        for place in files.places.values():
            n_concepts = write_concepts(run.path, place)
    first = list(islice(entries(run.path), SHOWN))
    if as_json:
        emit_json(
            {
                "out": str(run.path),
                "n_entries": run.n_entries,
                "n_concepts": n_concepts,
                "account": run.account,
                "notes": list(run.notes),
            }
        )
        return
    say_notes(run.notes)
    say(
        f"{quantity(run.account['n_samples'], 'sample')}, {run.account['n_used']:,} with usable "
        "text"
    )
    say_reasons(run.account["dropped"], "dropped")
    say_reasons(run.account["noted"], "noted")
    say()
    say_table(["", "kind", "captions", "images"], [[t, kind, n, m] for kind, t, n, m in first])
    say(f"\n{quantity(run.n_entries, 'entry')} written to {run.path}")
    if n_concepts is not None:
        say(f"{quantity(n_concepts, 'concept')} written to {as_concepts}")
