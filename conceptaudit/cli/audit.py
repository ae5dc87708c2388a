"""``conceptaudit audit``: how often each concept occurs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from conceptaudit.cli.arguments import (
    AliasPrompts,
    AllowPickle,
    AsJson,
    BackgroundVectors,
    CaptionColumn,
    DatasetKey,
    Device,
    Drawn,
    EngineKind,
    ImageColumn,
    KeyColumn,
    Layout,
    Level,
    OverwriteRun,
    RayAddress,
    Resume,
    SampledFrom,
    ShardOfRun,
    Share,
    SkipUnreadable,
    SpacyModel,
    Templates,
    UrlColumn,
    Workers,
)
from conceptaudit.cli.console import emit_json, logged_progress, say, say_table
from conceptaudit.cli.parts import asked_part, show_part

if TYPE_CHECKING:
    from conceptaudit.auditing import AuditRun

SHOWN = 5
"""Concepts shown from the head and from the tail."""


def audit(
    dataset: Annotated[
        str,
        typer.Argument(help="File, folder, glob or fsspec URL, in any layout of docs/formats.md."),
    ],
    concepts: Annotated[
        str,
        typer.Option(
            "--concepts",
            "-c",
            help="Concept list: CSV, JSON, YAML, TOML, parquet, plain list, or a CLIP_benchmark "
            "folder (docs/formats.md); or 'imagenet' or 'lvis', which ship.",
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Run folder to write.")],
    dataset_key: DatasetKey = None,
    layout: Layout = "auto",
    caption_column: CaptionColumn = None,
    image_column: ImageColumn = None,
    key_column: KeyColumn = None,
    url_column: UrlColumn = None,
    language: Annotated[
        list[str] | None,
        typer.Option(help="Count only rows in this language ('en'); repeat for more."),
    ] = None,
    language_column: Annotated[
        str | None, typer.Option(help="Language column, where its name is not a known one.")
    ] = None,
    by_language: Annotated[
        bool, typer.Option("--by-language", help="Count every language apart as well.")
    ] = False,
    unit: Annotated[
        str,
        typer.Option(help="'caption' (cut at 10,000 characters) or 'document' (never cut)."),
    ] = "caption",
    text_mode: Annotated[
        str,
        typer.Option(
            help="'exact'; 'fast': tag a sample and estimate; 'auto': fast above a million "
            "captions; 'paper': the published algorithm's counts."
        ),
    ] = "auto",
    text_error: Annotated[
        float, typer.Option(help="Standard error wanted of a fast count, as a share of it.")
    ] = 0.005,
    spacy_model: SpacyModel = "bundled",
    pos: Annotated[
        str, typer.Option(help="'noun': the head of a match must be a noun; 'any': strings.")
    ] = "noun",
    nested: Annotated[
        bool, typer.Option("--nested", help="Count 'dog' in 'hot dog' for both concepts.")
    ] = False,
    kinds: Annotated[
        bool,
        typer.Option(
            "--kinds",
            help="Count captions that name a kind of a concept too (n_text_kinds); done anyway "
            "where images are calibrated from captions.",
        ),
    ] = False,
    evidence: Annotated[
        int, typer.Option(help="Captions kept per concept to show why it was counted.")
    ] = 20,
    cooccurrence: Annotated[
        bool, typer.Option("--cooccurrence", help="Count which concepts are named together.")
    ] = False,
    clip: Annotated[
        str | None,
        typer.Option(
            help="open_clip model for images and prompts: 'lab', MODEL/WEIGHTS such as "
            "ViT-B-32/laion2b_s34b_b79k, or a folder with open_clip_config.json."
        ),
    ] = None,
    concept_vectors: Annotated[
        str | None,
        typer.Option(help=".npy with one vector per concept, in place of prompts."),
    ] = None,
    background_vectors: BackgroundVectors = None,
    template: Templates = None,
    alias_prompts: AliasPrompts = False,
    threshold: Annotated[
        float | None,
        typer.Option(
            help="One cosine similarity at which an image shows a concept, for all concepts, "
            "in place of calibrated thresholds."
        ),
    ] = None,
    calibration: Annotated[
        str,
        typer.Option(
            help="'auto': learn thresholds from the captions, where they can teach; 'none'; or a "
            "file that 'conceptaudit calibrate' wrote."
        ),
    ] = "auto",
    device: Device = "auto",
    allow_pickle_weights: AllowPickle = False,
    judged: Annotated[
        str | None,
        typer.Option(
            help="Judged sample (conceptaudit judge), or labels with key, concept[, present]: "
            "counts of images or captions rest on it."
        ),
    ] = None,
    near_duplicates: Annotated[
        str | None,
        typer.Option(
            help="Also count each picture once: cosine similarity of near duplicates such as "
            "0.95, 'auto', or 'exact' for equal pictures only."
        ),
    ] = None,
    image_tags: Annotated[
        str | None,
        typer.Option(
            help="Image tags of another tagger: CSV, parquet or JSONL with key, concept and, "
            "where there is one, score."
        ),
    ] = None,
    image_tag_threshold: Annotated[
        float | None, typer.Option(help="Smallest score of these tags that counts.")
    ] = None,
    tagger: Annotated[
        list[str] | None,
        typer.Option(help="Installed tagger of captions or images, in place of ours; repeat."),
    ] = None,
    backend: Annotated[
        str,
        typer.Option(
            help="Search of image tags: 'auto', 'blas', 'torch', 'faiss' or 'faiss-gpu'; "
            "same result."
        ),
    ] = "auto",
    workers: Workers = None,
    engine: EngineKind = "auto",
    ray_address: RayAddress = None,
    shard: ShardOfRun = None,
    shard_rows: Annotated[
        int, typer.Option(help="Rows of a table or array per shard; changes no count.")
    ] = 20_000,
    skip_unreadable: SkipUnreadable = False,
    level: Level = 0.9,
    sampled_from: SampledFrom = None,
    share: Share = None,
    sample: Drawn = None,
    resume: Resume = False,
    overwrite: OverwriteRun = False,
    as_json: AsJson = False,
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
    from dataclasses import replace

    from conceptaudit.auditing import AuditOptions, audit_part
    from conceptaudit.auditing import audit as run_audit

    options = AuditOptions(
        dataset_key=dataset_key,
        layout=layout,
        caption_column=caption_column,
        image_column=image_column,
        key_column=key_column,
        url_column=url_column,
        languages=tuple(language or ()),
        language_column=language_column,
        by_language=by_language,
        unit=unit,
        text_mode=text_mode,
        text_error=text_error,
        spacy_model=spacy_model,
        pos=pos,
        nested=nested,
        kinds=kinds,
        evidence=evidence,
        cooccurrence=cooccurrence,
        clip=clip,
        concept_vectors=concept_vectors,
        background_vectors=background_vectors,
        alias_prompts=alias_prompts,
        calibration=calibration,
        device=device,
        allow_pickle_weights=allow_pickle_weights,
        judged=judged,
        near_duplicates=_similarity(near_duplicates),
        image_tags=image_tags,
        image_tag_threshold=image_tag_threshold,
        taggers=tuple(tagger or ()),
        backend=backend,
        workers=workers,
        engine=engine,
        ray_address=ray_address,
        shard_rows=shard_rows,
        skip_unreadable=skip_unreadable,
        level=level,
        sampled_from=sampled_from,
        share=share,
        sample=sample,
    )
    if template:
        options = replace(options, templates=tuple(template))
    if threshold is not None:
        options = replace(options, threshold=threshold)
    if shard is not None:
        part = asked_part(shard, overwrite=overwrite)
        with logged_progress(out, "audit") as progress:
            done = audit_part(
                dataset, concepts, out, part, options=options, resume=resume, progress=progress
            )
        show_part(done, merged=out, as_json=as_json)
        return
    with logged_progress(out, "audit") as progress:
        run = run_audit(
            dataset,
            concepts,
            out,
            options=options,
            resume=resume,
            overwrite=overwrite,
            progress=progress,
        )
        progress.account(run.account, run.redone)
    show_run(run, level, as_json=as_json)


def show_run(run: AuditRun, level: float, *, as_json: bool) -> None:
    """Print what an audit found."""
    if as_json:
        emit_json(summary(run, level))
    else:
        _show(run, level)


def _similarity(text: str | None) -> float | str | None:
    """Read a number where there is one; the options say what else is allowed."""
    try:
        return None if text is None else float(text)
    except ValueError:
        return text


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
    for note in run.notes[:20]:
        say(f"note: {note}")
    if len(run.notes) > 20:
        say(f"note: … and {len(run.notes) - 20:,} more in {run.folder / 'manifest.json'}")
    for stage, work in run.redone.items():
        if work["kept"]:
            why = ", ".join(f"{n:,} {reason}" for reason, n in work["redone"].items()) or "none"
            say(f"{stage}: {work['kept']:,} shards were there already; computed now: {why}")
    say()
    for side, account in run.account.items():
        what = "captions" if side == "text" else "images"
        say(f"{account['n_samples']:,} samples, {account['n_used']:,} with usable {what}")
        for reason, n in account["dropped"].items():
            say(f"  {n:,} dropped: {reason}")
        for reason, n in account["noted"].items():
            say(f"  {n:,} noted: {reason}")
    table = run.table
    for column in run.frequencies.counted:
        found = int((table[column] > 0).sum())
        say(f"{column}: {found:,} of {len(table):,} concepts found, {len(table) - found:,} never")
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
    for title, rows in (
        (f"head by {column}", ranked.head(SHOWN)),
        (tail.title(counts, column), run.table.iloc[list(tail.rows)]),
    ):
        if len(rows):
            say(f"\n{title}")
            say_table(
                ["concept", column, f"{level:.0%}", *counted],
                [
                    [
                        row["concept"],
                        int(row[column]),
                        f"{row[f'{column}_low']:,.1f} to {row[f'{column}_high']:,.1f}",
                        *(int(row[c]) for c in counted),
                    ]
                    for _, row in rows.iterrows()
                ],
            )


def _show_alignment(run: AuditRun, level: float) -> None:
    numbers = run.alignment.as_json(level)
    if numbers["n_misaligned"] is None:
        return
    say(
        f"\nalignment: {numbers['n_both_tagged']:,} samples have concepts on both sides, "
        f"{numbers['n_misaligned']:,} of them none in common: "
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
        say(f"\nn_image_corrected: known of {int(known.sum()):,} of {len(table):,} concepts")
        if known.any():
            medians = table.loc[known, ["tag_precision", "tag_recall", "auc"]].median()
            say(
                f"of these, medians: tag precision {medians['tag_precision']:.2f}, tag recall "
                f"{medians['tag_recall']:.2f}, AUC {medians['auc']:.2f}"
            )
    found = run.misalignment
    if found and found["nothing_named_is_shown"] is not None:
        say(
            f"{100 * found['nothing_named_is_shown']:.1f} % of captions that name concepts name "
            f"nothing that is shown ({100 * found['nothing_named_is_shown_low']:.1f} to "
            f"{100 * found['nothing_named_is_shown_high']:.1f}, {run.level:.0%} interval)"
        )
