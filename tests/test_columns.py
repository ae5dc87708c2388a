"""Every column that a table can have is told in docs/columns.md, under the table's name."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from conceptaudit.auditing.calibrating import SIGNAL_COLUMNS
from conceptaudit.auditing.judged_run import ADDED as JUDGED_COUNTS
from conceptaudit.auditing.judged_run import JUDGED_COLUMNS
from conceptaudit.auditing.mentions import KIND_COLUMNS
from conceptaudit.auditing.results import PARTIAL_COLUMN
from conceptaudit.curves import fit_curve, intervals, model_fitting, plan, predict
from conceptaudit.curves.cross_validation import COMPARED_COLUMNS
from conceptaudit.curves.records import FOLDED_COLUMNS, UNMATCHED_COLUMNS
from conceptaudit.curves.simulated import World, simulate
from conceptaudit.datasets.memory import CaptionDataset
from conceptaudit.frequency.by_column import SUMMARY_COLUMNS, VALUE_COLUMNS
from conceptaudit.frequency.comparing import _as_a_whole, _by_concept
from conceptaudit.frequency.cooccurrence import PARTNER_COLUMNS
from conceptaudit.frequency.counting import frequency_table
from conceptaudit.frequency.misclassification import CORRECTED_COLUMNS
from conceptaudit.frequency.rate_ratios import Counted
from conceptaudit.frequency.strata import Estimate, with_estimates
from conceptaudit.longtail import LongTailOptions, select_concepts
from conceptaudit.longtail.balance import balance_classes
from conceptaudit.longtail.export import IMAGE_COLUMNS
from conceptaudit.longtail.records import REMOVED_COLUMNS
from conceptaudit.longtail.review import COLUMNS as REVIEW
from conceptaudit.longtail.review import Review
from conceptaudit.longtail.select import COLUMNS as SELECTION
from conceptaudit.records import Concept, ConceptAccuracies, ConceptFrequencies, ConceptVocabulary
from conceptaudit.text.mentions import look_alike_columns
from conceptaudit.zeroshot.classify import Predictions
from conceptaudit.zeroshot.evaluation_set import EvaluationSet
from conceptaudit.zeroshot.measures import recall_by_concept
from conceptaudit.zeroshot.results import Evaluation, ModelResult
from conceptaudit.zeroshot.retrieve import overall_recall

DOCS = Path(__file__).parents[1] / "docs" / "columns.md"


def told() -> dict[str, set[str]]:
    """Columns that the page tells, by heading."""
    parts = re.split(r"^## (.+)$", DOCS.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {
        title.replace("`", ""): {
            name
            for row in re.findall(r"^\|(.+?)\|", body, flags=re.MULTILINE)
            for name in re.findall(r"`([^`]+)`", row)
        }
        for title, body in zip(parts[1::2], parts[2::2], strict=True)
    }


def frequencies() -> set[str]:
    concept = Concept(name="dog", synset="n1", dataset="zoo", class_index=0)
    one, count = np.ones(1), np.ones(1, dtype=np.int64)
    estimate = Estimate(total=one, variance=one, found=one, left=one, careful=one / 2)
    sides = ("text", "joint")
    table = frequency_table(
        ConceptVocabulary((concept,)), dict.fromkeys(("text", "image", "joint"), count)
    )
    table = with_estimates(
        table, dict.fromkeys(sides, count), dict.fromkeys(sides, estimate), level=0.9
    )
    unique = [f"n_{side}_unique" for side in ("image", "joint")]
    return {
        *table.table,
        *CORRECTED_COLUMNS,
        *(f"{name}{end}" for name in unique for end in ("", "_low", "_high")),
        *look_alike_columns(count, count, count),
        *(*KIND_COLUMNS, *SIGNAL_COLUMNS, *JUDGED_COUNTS),
        *("n_senses", PARTIAL_COLUMN),
    }


def cooccurrence() -> set[str]:
    return set(PARTNER_COLUMNS)


def curve_tables() -> dict[str, set[str]]:
    table = simulate(World(n_datasets=2, count_error=0.0), seed=1)
    columns = ["dataset", "concept", "count"]
    counts = ConceptFrequencies(table[columns].rename(columns={"count": "n_text"}))
    scores = ConceptAccuracies(table.assign(model="m", pretraining="", metric="accuracy"))
    curve = fit_curve(counts, scores)
    planned = plan(curve, counts, target=0.6)
    return {
        "fit.csv": set(curve.table),
        "datasets.csv": set(curve.slopes),
        "unmatched.csv and folded.csv": {*UNMATCHED_COLUMNS, *FOLDED_COLUMNS},
        "comparison.csv": set(COMPARED_COLUMNS),
        "Predictions": set(predict(curve, counts)),
        "Plans": {*planned.table, *planned.steps},
    }


def results() -> dict[str, set[str]]:
    opened = EvaluationSet(
        name="zoo",
        location="zoo",
        class_names=("a", "b"),
        templates=("a {}",),
        dataset=CaptionDataset(captions=("a",), shard_rows=1),
    )
    guesses = Predictions(
        table=pd.DataFrame({"class_index": [0, 0], "guess_1": [0, 1]}), account={}
    )
    found = ModelResult.of(guesses, opened, ("m", "w"), 0.9)
    whole = Evaluation(folder=Path(), evaluation_set=opened, results=(found,), notes=())
    hits = np.array([True])
    retrieval = recall_by_concept(hits, [["dog"]], "recall@1")
    return {
        "accuracies.csv": {*found.per_class, *retrieval},
        "overall.csv": {*whole.overall, *overall_recall({"recall@1": hits})},
        "confusions.csv": set(found.confusions),
    }


def tail() -> dict[str, set[str]]:
    counts = ConceptFrequencies(pd.DataFrame({"concept": ["dog"], "n_text": [3]}))
    image = {"class_id": 0, "rank": 1, "score": 0.5, "margin": 0.1, "suspect": "", "reason": ""}
    [one], _ = balance_classes(
        pd.DataFrame([image]),
        select_concepts(counts),
        LongTailOptions(min_per_class=1),
        Review(verdicts={}),
    )
    facts = {*SELECTION, "n_judged"} - {"concept"}
    return {
        "manifest.csv": set(IMAGE_COLUMNS),
        "removed.csv": set(REMOVED_COLUMNS),
        "classes.csv": {*one, *facts},
        "selection.csv": set(SELECTION),
        "Reviews": set(REVIEW),
    }


def comparison(name: str) -> set[str]:
    counted = Counted(count=np.ones(1), low=np.ones(1), high=np.ones(1), n_samples=1, level=0.9)
    if name == "concepts":
        return set(_by_concept("n_text", ["dog"], "b", counted, "a", counted))
    return set(_as_a_whole("n_text", "b", counted, "a", counted, 0.9))


@pytest.mark.usefixtures("quick")
def test_every_column_is_told_and_nothing_else():
    written = {
        "frequencies.csv": frequencies(),
        "cooccurrence.parquet": cooccurrence(),
        "columns.csv and columns_values.parquet": {*SUMMARY_COLUMNS, *VALUE_COLUMNS},
        **curve_tables(),
        **results(),
        **tail(),
        "Judged samples": set(JUDGED_COLUMNS),
        "Comparisons of audits": {*comparison("concepts"), *comparison("datasets")},
    }
    columns = told()
    assert {name: columns[name] for name in written} == written
    assert set(columns) - set(written) == {
        "vocab",
        "rollup.csv",
        "image_tags_unknown_concepts.csv",
    }


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(intervals, "N_RESAMPLES", 20)
    monkeypatch.setattr(model_fitting, "N_SHUFFLES", 9)
