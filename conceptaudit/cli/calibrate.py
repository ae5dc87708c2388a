"""``conceptaudit calibrate``: at which score an image shows a concept."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from conceptaudit.cli.arguments import AS_JSON, SHARD
from conceptaudit.cli.console import emit_json, progress_bar, say, say_notes, say_table
from conceptaudit.cli.generated import Only, takes_options
from conceptaudit.cli.parts import asked_part, show_part
from conceptaudit.display import quantity
from conceptaudit.options.audit import AuditOptions
from conceptaudit.options.fields import argument, flag, option, optional, required

if TYPE_CHECKING:
    from conceptaudit.image.calibration import Calibration

SHOWN = 8  # concepts shown

# Those of an audit that matter to a calibration, too.
OPTIONS = Only(
    (
        "dataset_key", "layout", "caption_column", "image_column", "key_column", "spacy_model",
        "clip", "concept_vectors", "background_vectors", "templates", "alias_prompts", "device",
        "workers", "engine", "ray_address",
    )
)  # fmt: skip


@takes_options
def calibrate(
    dataset: str = argument("Images or embeddings, with captions unless labels are given."),
    *,
    concepts: str = required("Concept list, as for an audit.", flags=("-c",)),
    out: Path = required("File to write, .json.", flags=("-o",)),
    labels: Path | None = optional(
        "CSV or parquet with key, concept[, present]: labelled images of the dataset."
    ),
    image_folder: Path | None = optional(
        "Labelled images: one folder per concept, such as a test set's."
    ),
    scores_only: bool = flag("Use neither captions nor labels; rough."),
    rule: str = option(
        "count", "'count': as many tags as shown (precision = recall); 'f1': best F1."
    ),
    work: Path | None = optional("Folder that keeps embeddings and text tags for the next call."),
    options: Annotated[AuditOptions, OPTIONS],
    shard: str | None = SHARD,
    as_json: bool = AS_JSON,
) -> None:
    """Learn a threshold per concept for image tags, and what they are worth there.

    From captions that name concepts, or from labelled images. The file serves
    'conceptaudit audit --calibration FILE' with the same model, prompts and concepts.

    \u0008
    Example:
      conceptaudit calibrate embeddings/ -c classes.csv --clip ViT-B-32/openai -o cal.json
      conceptaudit calibrate data/ -c classes.csv --clip lab --labels seen.csv -o cal.json
    """
    from conceptaudit.auditing import calibrate as run_calibrate
    from conceptaudit.auditing import calibrate_part
    from conceptaudit.errors import ConfigError

    if shard is not None and work is None:
        raise ConfigError("Parts need one folder for their work: name it with --work.")
    with progress_bar() as progress:
        if shard is not None and work is not None:
            part = asked_part(shard)
            done = calibrate_part(dataset, concepts, work, part, options=options, progress=progress)
        else:
            found = run_calibrate(
                dataset, concepts, out, options=options, labels=labels, image_folder=image_folder,
                scores_only=scores_only, rule=rule, work=work, progress=progress,
            )  # fmt: skip
    if shard is not None:
        show_part(done, merged=work, as_json=as_json)
        return
    if as_json:
        emit_json(summary(found, out))
    else:
        _show(found, out)


def summary(found: Calibration, out: Path) -> dict[str, object]:
    """Lay a calibration's numbers out for a machine."""
    expected = found.precision[found.evidence > 0]
    return {
        "calibration": str(out),
        "method": found.method,
        "rule": found.rule,
        "n_images": found.n_images,
        "n_concepts": len(found.concepts),
        "n_concepts_with_evidence": int((found.evidence > 0).sum()),
        "n_concepts_known": int(found.identified.sum()),
        "auc": list(found.overall_auc),
        "background": found.background,
        "median_precision": _median(expected),
        "median_recall": _median(found.rates["recall"][found.evidence > 0, 0]),
        "notes": list(found.notes),
    }


def _median(values: object) -> float | None:
    import numpy as np

    array = np.asarray(values, dtype=float)
    array = array[~np.isnan(array)]
    return float(np.median(array)) if len(array) else None


def _show(found: Calibration, out: Path) -> None:
    numbers = summary(found, out)
    say_notes(found.notes)
    mean, low, high = found.overall_auc
    if not found.has_signal:
        say(
            "no signal: scores do not tell the images whose captions name a concept from the "
            f"others (AUC {mean:.2f}, {low:.2f} to {high:.2f})"
        )
    say(
        f"{quantity(len(found.concepts), 'concept')}, {numbers['n_concepts_with_evidence']:,} "
        f"with evidence of their own, from {found.method} of {quantity(found.n_images, 'image')}"
    )
    precision, recall = numbers["median_precision"], numbers["median_recall"]
    if precision is not None and recall is not None:
        say(
            f"expected at these thresholds (medians): precision {precision:.2f}, "
            f"recall {recall:.2f}"
        )
    order = sorted(
        range(len(found.concepts)),
        key=lambda c: (bool(found.reasons[c]), -found.prevalence[c], c),
    )
    say("\nmost frequent")
    say_table(
        ["concept", "threshold", "precision", "recall", "shown in", "90 %", "evidence", "reason"],
        [
            [
                found.concepts[c],
                float(found.thresholds[c]),
                None if found.reasons[c] else float(found.precision[c]),
                None if found.reasons[c] else float(found.rates["recall"][c, 0]),
                *_shares(found, c),
                int(found.evidence[c]),
                found.reasons[c],
            ]
            for c in order[:SHOWN]
        ],
    )
    say(f"\nWritten to {out}. Use it: conceptaudit audit … --calibration {out}")


def _shares(found: Calibration, concept: int) -> tuple[str, str]:
    """Write the share of images that show a concept with its interval, where it is known."""
    if found.reasons[concept]:
        return "", ""
    low, high = found.prevalence_low[concept], found.prevalence_high[concept]
    return f"{100 * found.prevalence[concept]:.2f} %", f"{100 * low:.2f} to {100 * high:.2f}"
