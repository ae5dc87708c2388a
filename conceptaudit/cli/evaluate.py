"""``conceptaudit evaluate``: zero-shot accuracy, class by class."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from conceptaudit.cli.arguments import (
    AS_JSON,
    OVERWRITE,
    RESUME,
    SHARD,
)
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
from conceptaudit.options.engine import EngineChoice
from conceptaudit.options.fields import argument, option, optional, required
from conceptaudit.options.zeroshot import EvaluationOptions

if TYPE_CHECKING:
    from conceptaudit.zeroshot.results import Evaluation

SHOWN = 5  # classes and confusions shown from each end


@takes_options
def evaluate(
    dataset: Path = argument(
        "Image folder (a folder per class; numbers are class indices), CLIP_benchmark WebDataset "
        "folder, parquet with images and labels, a long-tail set, or embeddings with labels."
    ),
    *,
    clip: list[str] = required(
        "open_clip model: 'lab', MODEL/WEIGHTS such as ViT-B-32/laion2b_s34b_b79k, or a folder "
        "with open_clip_config.json. Repeat for several."
    ),
    out: Path = required("Run folder to write.", flags=("-o",)),
    name: str | None = optional("Name of the set in the results; its folder's by default."),
    split: str = option("test", "Split of a set that has several."),
    class_names: str | None = optional(
        "Names by class index: a text file with one per line, CSV or JSON, or 'imagenet' or "
        "'lvis'; else the set's."
    ),
    templates: str | None = optional(
        "Prompts with {c} or {}: a text file, JSON (also prompts per class), or 'imagenet'; else "
        "the set's."
    ),
    dataset_key: str | None = optional(
        "Which dataset's entry of JSON names or templates of several; --name by default."
    ),
    label_column: str | None = optional(
        "Label column of parquet tables and of embeddings' metadata."
    ),
    options: EvaluationOptions,
    workers: EngineChoice,
    shard: str | None = SHARD,
    resume: bool = RESUME,
    overwrite: bool = OVERWRITE,
    as_json: bool = AS_JSON,
) -> None:
    """Classify the images of an evaluation set and count class by class what is right.

    Images that cannot be decoded are listed and in no number. OUT/accuracies.csv is what
    `conceptaudit fit --accuracies` reads.

    \u0008
    Example:
      conceptaudit evaluate sets/tail --clip ViT-B-32/laion2b_s34b_b79k -o results/tail
      conceptaudit evaluate inv2/ --clip ViT-B-32/openai --embeddings emb/ -o results/inv2
    """
    from conceptaudit.zeroshot.evaluate import evaluate as run_evaluation
    from conceptaudit.zeroshot.evaluate import evaluate_part
    from conceptaudit.zeroshot.sets import open_evaluation_set

    opened = open_evaluation_set(
        dataset,
        name=name,
        split=split,
        class_names=class_names,
        templates=templates,
        label_column=label_column,
        dataset_key=dataset_key,
    )
    with logged_progress(out, "evaluate") as progress:
        shared: Any = {"options": options, "workers": workers, "resume": resume}
        if shard is not None:
            part = asked_part(shard, overwrite=overwrite)
            done = evaluate_part(opened, clip, out, part, progress=progress, **shared)
        else:
            found = run_evaluation(
                opened, clip, out, overwrite=overwrite, progress=progress, **shared
            )
            progress.account([result.account for result in found.results])
    if shard is not None:
        show_part(done, merged=out, as_json=as_json)
        return
    if as_json:
        emit_json(_summary(found))
    else:
        _show(found, options.level)


def _summary(found: Evaluation) -> dict[str, object]:
    return {
        "run": str(found.folder),
        "overall": found.overall.to_dict("records"),
        "accounts": [result.account for result in found.results],
        "notes": list(found.notes),
    }


def _show(found: Evaluation, level: float) -> None:
    say_notes(found.notes)
    for result in found.results:
        say()
        say(" · ".join(part for part in (result.model, result.pretraining) if part))
        account = result.account
        say(f"{quantity(account['n_samples'], 'image')}, {account['n_used']:,} evaluated")
        say_reasons(account["dropped"], "left out")
        say_table(
            ["measure", "value", f"{level:.0%} interval"],
            [
                [metric, score.value, f"{score.low:.3f} to {score.high:.3f}"]
                for metric, score in result.scores.items()
                if not math.isnan(score.value)
            ],
        )
        ordered = result.per_class.sort_values(["acc1", "concept"])
        say(f"hardest of {quantity(len(ordered), 'class')}")
        shown = ordered.head(SHOWN)[["concept", "n_correct", "n_images", "acc1"]]
        say_table(shown.columns.tolist(), shown.to_numpy(object).tolist())
        if len(result.confusions):
            say("most frequent confusions")
            wrong = result.confusions.head(SHOWN)[["concept", "predicted", "n", "share"]]
            say_table(wrong.columns.tolist(), wrong.to_numpy(object).tolist())
    say()
    say(f"Written to {found.folder}")
