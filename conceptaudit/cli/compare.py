"""``conceptaudit compare``: what audits of different datasets have in common, and what not."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from conceptaudit.cli.arguments import AS_JSON
from conceptaudit.cli.console import emit_json, progress_bar, say, say_frame, say_notes
from conceptaudit.cli.generated import takes_options
from conceptaudit.display import quantity
from conceptaudit.options.fields import argument, flag, optional

if TYPE_CHECKING:
    import pandas as pd

    from conceptaudit.curate.paired import PairedCaptions
    from conceptaudit.frequency.comparing import Comparison

SHOWN = 8  # concepts shown from each end

SURE = 0.05  # share of false ones among the concepts that are called different


@takes_options
def compare(
    runs: list[str] | None = argument(
        "Audit folders, tables of counts ('concept' and n_text, n_image or n_joint), or published "
        "counts as reference:NAME; the first is the baseline. With --paired, the dataset.",
        metavar="RUN RUN...",
        default=None,
    ),
    *,
    count: list[str] | None = optional(
        "Count to compare, such as n_text or n_image_corrected; repeat. All that every audit has "
        "by default."
    ),
    out: Path | None = optional(
        "CSV to write: a row per concept, count and dataset.", flags=("-o",)
    ),
    pairs: Path | None = optional("CSV to write: a row per count and pair of datasets."),
    figure: Path | None = optional("Figure to write: .png, .svg or .pdf."),
    tail: bool = flag(
        "Compare tails with the baseline's: exponents, concepts lost, whether the tail is cut off, "
        "narrowed or only scaled down."
    ),
    paired: tuple[str, str] | None = optional(
        "Two captions of the same images: two audits over the same keys, or two caption columns of "
        "a dataset, with a list of --concepts too.",
        metavar="A B",
    ),
    concepts: str | None = optional("Concept list for --paired with columns."),
    caption_number: str | None = optional(
        "For --paired: a column that numbers each image's captions in a table with a row per "
        "caption; A and B are numbers."
    ),
    as_json: bool = AS_JSON,
) -> None:
    """Compare how often concepts occur in different datasets: rates, ratios, correlations.

    Concepts are joined by name. Every ratio has an interval and a q value: calling all concepts
    with q of at most 0.05 different is wrong for 5 % of them. Where several captions share an
    image, both allow for it.

    \u0008
    Example:
      conceptaudit compare runs/laion runs/datacomp -o compared.csv --figure compared.png
      conceptaudit compare reference:laion400m runs/mine
      conceptaudit compare runs/real runs/generated --tail
      conceptaudit compare data.parquet --paired alt recaption --concepts classes.txt
    """
    from conceptaudit.artifacts import write_csv
    from conceptaudit.frequency.comparing import compare_audits
    from conceptaudit.store.outputs import output_files, staged

    outputs = output_files("comparison", [out, pairs, figure])
    if paired is not None:
        compared = _compared_captions(runs or [], paired, concepts, caption_number)
        with staged(outputs) as files:
            files.about.update(notes=list(compared.notes))
            if out is not None:
                write_csv(files[out], compared.concepts)
        _tell_paired(compared, paired, out, as_json=as_json)
        return
    found = compare_audits(runs or [], counts=count or ())
    with staged(outputs) as files:
        files.about.update(level=found.level, notes=list(found.notes))
        if out is not None:
            write_csv(files[out], found.concepts)
        if pairs is not None:
            write_csv(files[pairs], found.datasets)
        if figure is not None:
            from conceptaudit.report.figures import draw_comparison

            draw_comparison(found, files[figure])
    if as_json:
        emit_json(
            {
                "level": found.level,
                "notes": list(found.notes),
                "datasets": found.datasets.to_dict("records"),
                "concepts": found.concepts.to_dict("records"),
                **({"tails": tail_table(found).to_dict("records")} if tail else {}),
            }
        )
        return
    _show(found)
    if tail:
        _show_tails(tail_table(found))
    for path in (out, pairs, figure):
        if path is not None:
            say(f"Written to {path}")


def tail_table(found: Comparison) -> pd.DataFrame:
    """Compare the tails of a comparison's datasets with the baseline's."""
    from conceptaudit.frequency.tails import tail_table as compare_tails

    return compare_tails(found.concepts, level=found.level)


def _show_tails(table: pd.DataFrame) -> None:
    say("\ntails, beside the baseline's")
    columns = {
        "count": "count",
        "dataset": "dataset",
        "verdict": "verdict",
        "exponent": "{exponent:.2f} ({exponent_low:.2f} to {exponent_high:.2f})",
        "baseline's": "exponent_baseline",
        "slope": "{slope:.2f} ({slope_low:.2f} to {slope_high:.2f})",
        "lost": "{n_lost:,} of {n_concepts:,}",
        "by chance": "n_lost_expected",
        "p of a cut": "p_cut",
        "back by 2 %": "n_back",
    }
    say_frame(table, columns)


def _compared_captions(
    runs: list[str], paired: tuple[str, str], concepts: str | None, caption_number: str | None
) -> PairedCaptions:
    """Compare two captions of the same images, of two audits or of one dataset."""
    from conceptaudit.curate.paired import compare_columns, compare_runs
    from conceptaudit.errors import ConfigError

    if not runs and all(Path(one).is_dir() for one in paired):
        return compare_runs(*paired)
    if len(runs) != 1 or concepts is None:
        raise ConfigError(
            "--paired takes two audits of the same images, or a dataset and two of its caption "
            "columns: compare data.parquet --paired alt recaption --concepts classes.txt."
        )
    with progress_bar() as progress:
        return compare_columns(
            runs[0], *paired, concepts, caption_number=caption_number, progress=progress
        )


def _tell_paired(
    found: PairedCaptions, paired: tuple[str, str], out: Path | None, *, as_json: bool
) -> None:
    if as_json:
        tables = {"concepts": found.concepts, "whole": found.whole}
        shown = {name: table.to_dict("records") for name, table in tables.items()}
        emit_json({"n_images": found.n_images, "notes": list(found.notes), **shown})
        return
    say_notes(found.notes)
    # pairs, since the user's own names for the two may be anything
    names = list(zip(paired, ("a", "b"), strict=True))
    differences = [
        ("difference", "difference"), ("90% from", "difference_low"), ("to", "difference_high"),
    ]  # fmt: skip
    say_frame(found.whole, [("", "what"), *names, *differences])
    sure = found.concepts[found.concepts["q"] <= SURE]
    for title, more in (("gained", sure["difference"] > 0), ("lost", sure["difference"] < 0)):
        part = sure[more].sort_values("p", kind="stable").head(SHOWN)
        say(
            f"\n{title} by {paired[1]}: {quantity(int(more.sum()), 'concept')} (q of at most "
            f"{SURE})"
        )
        counts = [(head, f"n_{name}") for head, name in names]
        counts += [(name, f"n_{name}") for name in ("both", "gained", "lost")]
        if len(part):
            say_frame(part, [("concept", "concept"), *counts, ("difference", "difference")])
    if out is not None:
        say(f"Written to {out}")


def _show(found: Comparison) -> None:
    say_notes(found.notes)
    say()
    names = ("count", "dataset", "baseline", "n_concepts", "n_never", "n_never_baseline")
    columns = {
        **{name: name for name in names},
        "pearson of logs": "pearson",
        "spearman": "spearman",
        f"{found.level:.0%}": "{spearman_low:.2f} to {spearman_high:.2f}",
    }
    say_frame(found.datasets, columns)
    for (dataset, count), rows in found.concepts.groupby(["dataset", "count"], sort=False):
        if rows["q"].isna().all():
            _show_ranks(rows)
            continue
        sure = rows[rows["q"] <= SURE]
        more = sure["per_million"] > sure["per_million_baseline"]
        baseline = rows["baseline"].iloc[0]
        say(
            f"\n{count}: {int(more.sum()):,} of {quantity(len(rows), 'concept')} are more "
            f"frequent in {dataset} than in {baseline}, {int((~more).sum()):,} less (q of at most "
            f"{SURE})"
        )
        _show_ends(sure[more], sure[~more], found.level)


def _show_ends(more: pd.DataFrame, less: pd.DataFrame, level: float) -> None:
    import pandas as pd

    ends = [
        more.sort_values(["ratio_low", "concept"], ascending=[False, True]).head(SHOWN),
        less.sort_values(["ratio_high", "concept"]).head(SHOWN),
    ]
    columns = {
        "concept": "concept",
        "per million": "per_million",
        "in baseline": "per_million_baseline",
        "ratio": "ratio",
        f"{level:.0%} interval": "{ratio_low:.3g} to {ratio_high:.3g}",
    }
    if len(more) + len(less):
        say_frame(pd.concat(ends), columns)


def _show_ranks(rows: pd.DataFrame) -> None:
    """Show where concepts stand most differently, where there are no rates to compare."""
    apart = rows["rank"] - rows["rank_baseline"]
    ordered = rows.assign(apart=apart).sort_values(["apart", "concept"], kind="stable")
    ends = [*ordered.tail(SHOWN).index[::-1], *ordered.head(SHOWN).index]
    shown = ordered.loc[list(dict.fromkeys(ends))]
    first = rows.iloc[0]
    dataset, baseline = first["dataset"], first["baseline"]
    say(f"\n{first['count']}: ranks furthest apart, {dataset} and {baseline}")
    columns = [
        ("concept", "concept"), ("count", "n"), ("in baseline", "n_baseline"),
        ("less frequent", "{rank:.0%}"), ("in baseline", "{rank_baseline:.0%}"),
    ]  # fmt: skip
    say_frame(shown, columns)
