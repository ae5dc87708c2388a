"""What a curve had predicted, and that one which has seen the result is refused."""

import numpy as np
import pandas as pd
import pytest

from conceptaudit.curves import check_predictions, fit_curve
from conceptaudit.errors import DataError
from conceptaudit.records import ConceptAccuracies, ConceptFrequencies
from conceptaudit.report.sections.accuracy import fit_sentence

N = 300
SLOPE = 0.12


def world(seed: int = 0) -> pd.DataFrame:
    """Classes on a line of `SLOPE` per decade, each with 20 test images."""
    rng = np.random.default_rng(seed)
    count = np.floor(10 ** rng.uniform(0, 5, N)).astype(int)
    expected = np.clip(0.1 + SLOPE * np.log10(1 + count) + rng.normal(0, 0.08, N), 0, 1)
    table = pd.DataFrame({"concept": [f"class {i}" for i in range(N)], "n_text": count})
    return table.assign(expected=expected)


def results(table: pd.DataFrame, dataset: str, seed: int, **changes: object) -> ConceptAccuracies:
    right = np.random.default_rng(seed).binomial(20, table["expected"].to_numpy())
    columns = {
        "model": "RN50", "pretraining": "web", "dataset": dataset, "concept": table["concept"],
        "n_correct": right, "n_images": 20, "accuracy": right / 20, "metric": "acc1",
    }  # fmt: skip
    return ConceptAccuracies(pd.DataFrame(columns | changes).reset_index(drop=True))


@pytest.fixture(scope="module")
def classes() -> pd.DataFrame:
    return world().sort_values("n_text", ignore_index=True)


@pytest.fixture(scope="module")
def counts(classes) -> ConceptFrequencies:
    return ConceptFrequencies(classes[["concept", "n_text"]], "web")


@pytest.fixture(scope="module")
def before(classes, counts):
    return fit_curve(counts, results(classes[100:], "zoo", 1))


def test_a_tail_on_the_same_law_comes_out_as_predicted(classes, counts, before):
    [found] = check_predictions(before, counts, results(classes[:150], "tail", 2))
    assert len(found.table) == 150
    assert found.table["count"].is_monotonic_increasing
    assert found.table["known"].sum() == 50
    # of one set, asked of another: its interval allows for another level
    assert found.n_inside / 150 >= 0.84
    assert "another dataset" in found.basis
    assert abs(found.mean_error) < 0.03
    assert found.mean_absolute_error < 0.15
    inside = found.table["measured"].between(found.table["low"], found.table["high"])
    assert inside.equals(found.table["inside"])
    assert found.after is not None
    assert found.before == before.fits[0].line
    assert found.after.slope == pytest.approx(SLOPE, abs=0.02)


def test_the_second_fit_is_the_fit_of_both(classes, counts, before):
    first, second = results(classes[100:], "zoo", 1), results(classes[:100], "tail", 2)
    [found] = check_predictions(before, counts, second)
    both = ConceptAccuracies(pd.concat([first.table, second.table], ignore_index=True))
    assert found.after is not None
    assert found.after.slope == pytest.approx(fit_curve(counts, both).fits[0].line.slope)


def test_a_tail_off_the_law_is_told(classes, counts, before):
    off = classes[:100].assign(expected=classes["expected"] + 0.4)
    [found] = check_predictions(before, counts, results(off, "tail", 2))
    assert found.mean_error == pytest.approx(0.4, abs=0.05)
    assert found.n_inside < 75


@pytest.mark.parametrize(("fitted", "asked"), [("tail", "tail"), ("Tail", "tail"), ("x", "tail")])
def test_a_curve_that_has_seen_the_result_is_refused(classes, counts, fitted, asked):
    tail = results(classes[:30], fitted, 2)
    seen = ConceptAccuracies(
        pd.concat([results(classes[100:], "zoo", 1).table, tail.table], ignore_index=True)
    )
    peeked = fit_curve(counts, seen)
    again = ConceptAccuracies(tail.table.assign(dataset=asked))
    with pytest.raises(DataError, match="was fitted with the results on"):
        check_predictions(peeked, counts, again)


def test_other_results_on_the_same_classes_are_no_peeking(classes, counts):
    both = [results(classes[100:], "zoo", 1).table, results(classes[:30], "x", 3).table]
    curve = fit_curve(counts, ConceptAccuracies(pd.concat(both, ignore_index=True)))
    [found] = check_predictions(curve, counts, results(classes[:30], "tail", 2))
    assert bool(found.table["known"].all())


def test_models_meet_by_name_and_pretraining(classes, counts, before):
    tail = results(classes[:40], "tail", 2).table
    other = ConceptAccuracies(tail.assign(model="ViT"))
    with pytest.raises(DataError, match="it is of RN50/web/acc1, they are of ViT/web/acc1"):
        check_predictions(before, counts, other)
    with pytest.raises(DataError, match="predicts nothing"):
        check_predictions(before, counts, ConceptAccuracies(tail.assign(pretraining="other")))
    unnamed = ConceptAccuracies(tail.assign(pretraining="", metric="accuracy"))
    assert len(check_predictions(before, counts, unnamed)) == 1
    two = pd.concat([tail, tail.assign(dataset="second", accuracy=0.5, n_correct=10)])
    found = check_predictions(before, counts, ConceptAccuracies(two.reset_index(drop=True)))
    assert [one.dataset for one in found] == ["second", "tail"]


def test_classes_without_a_count(classes, counts, before):
    tail = results(classes[:10].assign(concept=[f"unheard {i}" for i in range(10)]), "tail", 2)
    with pytest.raises(DataError, match="has a count in the audit"):
        check_predictions(before, counts, tail)


def test_zeros_that_the_fit_leaves_out_are_not_predicted(classes):
    changed = classes.assign(n_text=classes["n_text"].where(classes.index >= 5, 0))
    counts = ConceptFrequencies(changed[["concept", "n_text"]], "web")
    curve = fit_curve(counts, results(changed[100:], "zoo", 1), zero_policy="exclude")
    [found] = check_predictions(curve, counts, results(changed[:40], "tail", 2))
    assert len(found.table) == 35
    with pytest.raises(DataError, match="predicts no class"):
        check_predictions(curve, counts, results(changed[:5], "tail", 2))


def test_a_curve_of_corrected_counts_foretells(classes, quick):
    table = classes.rename(columns={"n_text": "n_image"})
    table["n_image_corrected"] = table["n_image"] * 1.5
    counts = ConceptFrequencies(table.drop(columns="expected"), "web")
    before = fit_curve(counts, results(classes[100:], "zoo", 1), count="image_corrected")
    [found] = check_predictions(before, counts, results(classes[:50], "tail", 2))
    assert found.table["count"].tolist() == table["n_image_corrected"][:50].tolist()
    assert "corrected for errors of tags" in fit_sentence(before, before.fits[0])
