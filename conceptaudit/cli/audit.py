"""``conceptaudit audit``: how often each concept occurs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from conceptaudit.cli.arguments import (
    AS_JSON,
    CROISSANT,
    OVERWRITE,
    RESUME,
    SHARD,
    check_croissant,
    put_croissant,
)
from conceptaudit.cli.console import (
    emit_json,
    logged_progress,
    say,
    say_frame,
    say_notes,
    say_reasons,
)
from conceptaudit.cli.generated import takes_options
from conceptaudit.cli.parts import asked_part, show_part
from conceptaudit.display import quantity
from conceptaudit.options.audit import AuditOptions
from conceptaudit.options.fields import argument, required

if TYPE_CHECKING:
    from conceptaudit.auditing import AuditRun

SHOWN = 5  # concepts shown from the head and from the tail


@takes_options
def audit(
    dataset: str = argument("File, folder, glob or fsspec URL, in any layout of docs/formats.md."),
    *,
    concepts: str = required(
        "Concept list: CSV, JSON, YAML, TOML, parquet, plain list, or a CLIP_benchmark folder "
        "(docs/formats.md); or 'imagenet' or 'lvis', which ship.",
        flags=("-c",),
    ),
    out: Path = required("Run folder to write.", flags=("-o",)),
    options: AuditOptions,
    shard: str | None = SHARD,
    resume: bool = RESUME,
    overwrite: bool = OVERWRITE,
    croissant: Path | None = CROISSANT,
    as_json: bool = AS_JSON,
) -> None:
    """Count how often each concept occurs in captions, in images, and in both.

    An audit that was interrupted goes on when the same command is run again. With --shard, many
    jobs share one audit.

    \u0008
    Example:
      conceptaudit audit metadata.parquet --concepts classes.txt -o runs/text
      conceptaudit audit embeddings/ -c classes.csv --clip ViT-B-32/openai -o runs/both
      conceptaudit audit data/ -c classes.csv -o runs/big --shard $SLURM_ARRAY_TASK_ID/500
    """
    from conceptaudit.auditing import audit as run_audit
    from conceptaudit.auditing import audit_part

    check_croissant(croissant)
    with logged_progress(out, "audit") as progress:
        if shard is not None:
            part = asked_part(shard, overwrite=overwrite)
            done = audit_part(
                dataset, concepts, out, part, options=options, resume=resume, progress=progress
            )
        else:
            run = run_audit(
                dataset, concepts, out, options=options, resume=resume, overwrite=overwrite,
                progress=progress,
            )  # fmt: skip
            progress.account(run.account, run.redone)
    if shard is not None:
        show_part(done, merged=out, as_json=as_json)
        return
    put_croissant(run.folder, croissant)
    show_run(run, options.level, as_json=as_json)


def show_run(run: AuditRun, level: float, *, as_json: bool) -> None:
    """Print what an audit found."""
    if as_json:
        emit_json(summary(run, level))
    else:
        _show(run, level)


def summary(run: AuditRun, level: float) -> dict[str, object]:
    """Lay a run's numbers out for a machine."""
    table = run.table
    found = {column: int((table[column] > 0).sum()) for column in run.frequencies.counted}
    return {
        "run": str(run.folder),
        "account": run.account,
        "n_concepts": len(table),
        "n_concepts_found": found,
        "alignment": {**run.alignment.as_json(level), "corrected": run.misalignment},
        "notes": list(run.notes),
        "redone": run.redone,
    }


def _show(run: AuditRun, level: float) -> None:
    say_notes(run.notes[:20])
    if len(run.notes) > 20:
        say(f"note: … and {len(run.notes) - 20:,} more in {run.folder / 'manifest.json'}")
    for stage, work in run.redone.items():
        if work["kept"]:
            why = ", ".join(f"{n:,} {reason}" for reason, n in work["redone"].items()) or "none"
            say(
                f"{stage}: {quantity(work['kept'], 'shard was', 'shards were')} there already; "
                f"computed now: {why}"
            )
    say()
    for side, account in run.account.items():
        what = "captions" if side == "text" else "images"
        say(f"{quantity(account['n_samples'], 'sample')}, {account['n_used']:,} with usable {what}")
        say_reasons(account["dropped"], "dropped")
        say_reasons(account["noted"], "noted")
    table = run.table
    for column in run.frequencies.counted:
        found = int((table[column] > 0).sum())
        say(
            f"{column}: {found:,} of {quantity(len(table), 'concept')} found, "
            f"{len(table) - found:,} never"
        )
    _show_ends(run, level)
    _show_alignment(run, level)
    _show_corrected(run)
    say(f"\nWritten to {run.folder}: frequencies.parquet, frequencies.csv, alignment.json, tags")


def _show_ends(run: AuditRun, level: float) -> None:
    """Print the most and least frequent concepts by the last side that was counted."""
    import numpy as np

    from conceptaudit.counts import rarest

    column = run.frequencies.counted[-1] if len(run.frequencies.counted) < 3 else "n_joint"
    counted = [c for c in run.frequencies.counted if c != column]
    ranked = run.table[run.table[column] > 0].sort_values(
        [column, "concept"], ascending=[False, True]
    )
    counts = run.table[column].to_numpy(dtype=np.int64)
    tail = rarest(counts, run.table["concept"].tolist(), SHOWN, above=SHOWN)
    columns = {
        "concept": "concept",
        column: column,
        f"{level:.0%}": f"{{{column}_low:,.1f}} to {{{column}_high:,.1f}}",
        **{name: name for name in counted},
    }
    for title, rows in (
        (f"head by {column}", ranked.head(SHOWN)),
        (tail.title(counts, column), run.table.iloc[list(tail.rows)]),
    ):
        if len(rows):
            say(f"\n{title}")
            say_frame(rows, columns)


def _show_alignment(run: AuditRun, level: float) -> None:
    numbers = run.alignment.as_json(level)
    if numbers["n_misaligned"] is None:
        return
    say(
        f"\nalignment: {quantity(numbers['n_both_tagged'], 'sample has', 'samples have')} "
        f"concepts on both sides, {numbers['n_misaligned']:,} of them none in common: "
        f"{100 * (numbers['misaligned_among_tagged'] or 0):.1f} % of these "
        f"({100 * numbers['misaligned_among_tagged_low']:.1f} to "
        f"{100 * numbers['misaligned_among_tagged_high']:.1f}, {level:.0%} interval), "
        f"{100 * (numbers['misalignment_degree'] or 0):.1f} % of all samples"
    )


def _show_corrected(run: AuditRun) -> None:
    """Print what a calibration makes of the counts."""
    table = run.table
    if "n_image_corrected" in table:
        known = table["n_image_corrected"].notna()
        say(
            f"\nn_image_corrected: known of {int(known.sum()):,} of "
            f"{quantity(len(table), 'concept')}"
        )
        if known.any():
            medians = table.loc[known, ["tag_precision", "tag_recall", "auc"]].median()
            say(
                f"of these, medians: tag precision {medians['tag_precision']:.2f}, tag recall "
                f"{medians['tag_recall']:.2f}, AUC {medians['auc']:.2f}"
            )
    misaligned = run.misalignment
    if misaligned and misaligned["nothing_named_is_shown"] is not None:
        share, low, high = (
            f"{100 * misaligned['nothing_named_is_shown' + end]:.1f}"
            for end in ("", "_low", "_high")
        )
        say(
            f"{share} % of the captions that name a concept mention none that the image shows "
            f"({low} to {high}, {run.level:.0%} interval)"
        )
