"""``conceptaudit judge``: a sample of an audit for somebody to look at."""

from __future__ import annotations

from pathlib import Path

from conceptaudit.cli.arguments import AS_JSON
from conceptaudit.cli.console import emit_json, say, say_notes
from conceptaudit.cli.generated import takes_options
from conceptaudit.display import quantity
from conceptaudit.options.fields import argument, option, optional, required


@takes_options
def judge(
    run: Path = argument("Run folder of a finished audit.", metavar="RUN"),
    *,
    out: Path = required("Table to fill in, .csv or .parquet.", flags=("-o",)),
    budget: int = option(300, "Images, each judged for all concepts; or captions (--side text)."),
    concepts: list[str] | None = optional(
        "Concept of the run to judge; repeat for more.", flags=("-c",)
    ),
    side: str = option(
        "image",
        "'image': does it show the concept? 'text': does the caption mean it (is this 'crane' the "
        "bird)?",
    ),
    seed: int = option(0, "Of the draw."),
    as_json: bool = AS_JSON,
) -> None:
    """Draw a probability sample of an audit's images or captions, to be judged.

    Images are drawn by strata of how uncertain captions and tags leave the concepts in them. Fill
    the column 'present' with 1 or 0, by eye, by another tagger or from labels, leave open what you
    cannot tell, and give the table to 'conceptaudit correct' or 'conceptaudit audit --judged'.

    \u0008
    Example:
      conceptaudit judge runs/both --budget 300 -c dog -c cat -o judge.csv
      conceptaudit correct runs/both --judged judge.csv
    """
    from conceptaudit.artifacts import write_csv, write_parquet
    from conceptaudit.auditing.judging import draw_sample
    from conceptaudit.errors import ConfigError
    from conceptaudit.store.outputs import output_files, staged

    if out.suffix not in (".csv", ".parquet"):
        raise ConfigError(f"--out must end in .csv or .parquet. Got {out} instead.")
    table, notes = draw_sample(run, budget=budget, concepts=concepts or (), side=side, seed=seed)
    # a table that somebody has filled in is never written over
    with staged(output_files("judge", [out])) as files:
        (write_parquet if out.suffix == ".parquet" else write_csv)(files[out], table)
    n = int(table["key" if side == "image" else "sample_id"].nunique())
    if as_json:
        emit_json({"judge": str(out), "n_rows": len(table), "n_drawn": n, "notes": list(notes)})
        return
    say_notes(notes)
    say(
        f"{n:,} {'images' if side == 'image' else 'captions'}, "
        f"{quantity(table['concept'].nunique(), 'concept')}, {quantity(len(table), 'answer')} to "
        f"give, in {out}"
    )
    say(f"Fill 'present' with 1 or 0, then: conceptaudit correct {run} --judged {out}")
