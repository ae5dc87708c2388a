"""``conceptaudit predict``: accuracy from frequency."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from conceptaudit.cli.console import emit_json, say, say_table
from conceptaudit.cli.generated import takes_options
from conceptaudit.display import quantity
from conceptaudit.options import shared
from conceptaudit.options.fields import argument, flag, option, optional, required

if TYPE_CHECKING:
    import pandas as pd

    from conceptaudit.curves import Curve
    from conceptaudit.curves.class_names import Encode
    from conceptaudit.curves.known_results import Anchors
    from conceptaudit.records import ConceptFrequencies

SHOWN = 10  # rows shown from each end of the predictions

MOST_LINES = 40  # lines, one per model and dataset, that the predictions end with at most

MODELS_FIRST = (
    "Results of other models on these classes say far more than frequency does (R² on new sets "
    "about 0.74 against 0.15): where there are any, give them with --from-models."
)

REFERENCE = "reference"  # what stands in place of a curve for the published ones


@takes_options
def predict(
    curve: str = argument(
        "Folder of `conceptaudit fit`, or curve.json; 'reference' for published models, where you "
        "have frequencies and no evaluation.",
        metavar="CURVE",
    ),
    *,
    frequencies: list[str] = required(
        "Audit folder, table with 'concept' and the count that the curve was fitted on, or the "
        "paper's *_search_counts.json. Repeat for more count files. A 'dataset' column tells "
        "evaluation sets apart.",
        flags=("-f",),
    ),
    model: str | None = optional("Model of the curve; all of them by default."),
    level: float = option(0.9, "Share of concepts an interval is meant to hold, in (0, 1)."),
    mean: list[str] | None = optional(
        "Known mean accuracy of an evaluation set, in [0, 1]. Repeat for more sets.",
        metavar="DATASET=ACCURACY",
    ),
    labelled: list[str] | None = optional(
        "Accuracies of a few classes (3 or more of a set), as for `conceptaudit fit -a`."
    ),
    imagenet: float | None = optional(
        "ImageNet accuracy, in (0, 1), of another model than the fitted one, to predict."
    ),
    from_models: list[str] | None = optional(
        "Per-class accuracies of other models on the classes to predict, as for `conceptaudit fit "
        "-a`."
    ),
    other_model: bool = flag(
        "The model to be evaluated is not one of the curve's: intervals of left-out sets."
    ),
    pretraining: str = option(
        "auto", "With 'reference': published pretraining set; 'auto' takes the nearest."
    ),
    count: str = option("auto", "With 'reference': 'text', 'image', 'joint'; 'auto' prefers text."),
    rescale: bool = flag(
        "With 'reference': take counts as a sample of the published scale, for counters that find "
        "fewer on data about as large."
    ),
    covariate: float | None = optional(
        "Scale of the model that is predicted, for a curve fitted with --covariate: the nearest of "
        "its models is moved to it, slope and levels."
    ),
    clip: str | None = optional(
        "The model that is predicted, as for `conceptaudit evaluate`: its text vectors of the "
        "class names tell which classes are alike. ImageNet's names have vectors anyway."
    ),
    sampled_from: int | None = shared.sampled_from(),
    share: float | None = shared.share(),
    out: Path | None = optional("CSV file to write all predictions to.", flags=("-o",)),
    as_json: bool = flag("Print all predictions as JSON.", name="json"),
) -> None:
    """Predict zero-shot accuracy, concept by concept, with an interval.

    The 'basis' of a prediction says what it rests on, or why there is none.

    \u0008
    Example:
      conceptaudit predict curves/ours --frequencies runs/other -o predictions.csv
      conceptaudit predict curves/ours -f pets.csv --labelled twenty-classes.csv
      conceptaudit predict reference -f runs/both -o predictions.csv
    """
    from conceptaudit.artifacts import write_csv
    from conceptaudit.curves import predict as predict_accuracy
    from conceptaudit.curves.predicting import near
    from conceptaudit.curves.transfer import transfer
    from conceptaudit.frequency.readers import read_frequencies, with_share
    from conceptaudit.store.outputs import output_files, staged
    from conceptaudit.zeroshot.readers import read_accuracies

    outputs = output_files("predictions", [out])
    counted = with_share(read_frequencies(frequencies), sampled_from=sampled_from, share=share)
    fitted, counted, notes = open_curve(
        curve, counted, pretraining=pretraining, count=count, rescale=rescale
    )
    anchors = read_anchors(mean or [], labelled or [], imagenet)
    encode = text_encoder(clip) if clip else None
    if from_models:
        refuse_both(anchors, other_model=other_model or curve == REFERENCE)
        table = transfer(fitted, counted, read_accuracies(from_models), model=model, level=level)
    else:
        same_model = not (other_model or curve == REFERENCE or imagenet is not None)
        table = predict_accuracy(
            fitted,
            counted,
            level=level,
            model=model,
            anchors=anchors,
            same_model=same_model,
            encode=encode,
            covariate=covariate,
        )
    notes = (*notes, *circular(fitted), *([] if from_models else [MODELS_FIRST]))

    def near_of(rows: pd.DataFrame) -> list[str]:
        return near(fitted, rows, encode=encode)

    with staged(outputs) as files:
        files.about.update(curve=fitted.digest, level=level, notes=list(notes))
        for place in files.places.values():
            write_csv(place, table)
    if as_json:
        emit_json({"level": level, "notes": list(notes), "predictions": table.to_dict("records")})
    else:
        _show(table, level, notes, out, near_of)


def open_curve(
    curve: str, frequencies: ConceptFrequencies, *, pretraining: str, count: str, rescale: bool
) -> tuple[Curve, ConceptFrequencies, tuple[str, ...]]:
    """Load a curve, or fit the published one that is nearest; with the counts to use, and notes."""
    from conceptaudit.curves import Curve
    from conceptaudit.curves.reference import reference_curve
    from conceptaudit.errors import ConfigError

    if curve == REFERENCE:
        found = reference_curve(frequencies, pretraining=pretraining, count=count, rescale=rescale)
        return found.curve, found.frequencies, found.notes
    if rescale or pretraining != "auto" or count != "auto":
        raise ConfigError(
            "--pretraining, --count and --rescale choose among published curves, and need "
            f"'reference' in place of the curve. Got {curve!r} instead."
        )
    return Curve.load(Path(curve)), frequencies, ()


def text_encoder(clip: str) -> Encode:
    """Return what turns class names into a model's text vectors."""
    from conceptaudit.image.clip import find_clip

    model = find_clip(clip)
    return lambda names: model.encode_texts([f"a photo of a {name}" for name in names])


def read_anchors(mean: list[str], labelled: list[str], imagenet: float | None) -> Anchors:
    """Turn what the user knows into anchors."""
    from conceptaudit.curves.known_results import Anchors
    from conceptaudit.errors import ConfigError
    from conceptaudit.zeroshot.readers import read_accuracies

    means = {}
    for item in mean:
        name, _, value = item.rpartition("=")
        try:
            means[name] = float(value)
        except ValueError:
            name = ""
        if not name:
            raise ConfigError(f"--mean must be of the form pets=0.81. Got {item!r} instead.")
    found = read_accuracies(labelled) if labelled else None
    return Anchors(means=means, labelled=found, imagenet=imagenet)


def refuse_both(anchors: Anchors, *, other_model: bool) -> None:
    """Refuse anchors beside other models' results, which say more than they do."""
    from conceptaudit.errors import ConfigError

    if not anchors.empty or other_model:
        raise ConfigError(
            "--from-models needs a curve of the model's own and goes without --mean, --labelled, "
            "--imagenet and --other-model: fit the labelled classes with `conceptaudit fit` first."
        )


def circular(curve: Curve) -> tuple[str, ...]:
    """Warn where counts may come from the model that is predicted."""
    if curve.count == "n_text":
        return ()
    remark = (
        f"Frequencies are {curve.count}. If images were tagged by the model that is evaluated, "
        "this flatters it: it counts often what it recognises well. Text counts have no such "
        "circle (`conceptaudit fit --count text`)."
    )
    return (remark,)


def _show(
    table: pd.DataFrame,
    level: float,
    notes: tuple[str, ...],
    out: Path | None,
    near_of: Callable[[pd.DataFrame], list[str]],
) -> None:
    from conceptaudit.curves.plain_words import prediction_sentences

    predicted = table[table["accuracy"].notna()]
    ordered = predicted.sort_values("accuracy", ascending=False, kind="stable")
    rest = ordered.iloc[SHOWN:]
    if MODELS_FIRST in notes:
        say(MODELS_FIRST)
    shown = [("highest", ordered.head(SHOWN)), ("lowest", rest.tail(SHOWN))]
    for title, rows in shown:
        if len(rows):
            say(f"{title} predicted accuracy")
            say_table(
                ["model", "concept", "frequency", "accuracy", f"{level:.0%} interval", "", "near"],
                [
                    [
                        row["model"],
                        row["concept"],
                        int(row["count"]),
                        float(row["accuracy"]),
                        f"{row['low']:.3f} to {row['high']:.3f}",
                        "extrapolated" if row["extrapolated"] else "",
                        alike,
                    ]
                    for (_, row), alike in zip(rows.iterrows(), near_of(rows), strict=True)
                ],
            )
            say()
    for note in notes:
        if note != MODELS_FIRST:
            say(f"note: {note}")
    for reason, n in table["basis"].value_counts().head(SHOWN).items():
        say(f"{quantity(n, 'row')}: {reason}")
    for sentence in prediction_sentences(table)[:MOST_LINES]:
        say(sentence)
    if out is not None:
        say(f"Written to {out}")
