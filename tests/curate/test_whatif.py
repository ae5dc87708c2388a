"""What is said before anything is written: expected counts, intervals, predictions, mixtures."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from conceptaudit.auditing import AuditOptions, audit
from conceptaudit.cli.main import main
from conceptaudit.curate import CurateOptions, curate
from conceptaudit.curate.audited import AuditedData
from conceptaudit.curate.balance import entry_probability
from conceptaudit.curate.best_mixture import best_mixture
from conceptaudit.curate.drawing import Rule
from conceptaudit.curate.expected import concept_table
from conceptaudit.curate.mixing import Mixture
from conceptaudit.curves import fit_curve
from conceptaudit.errors import ConfigError
from conceptaudit.frequency.readers import read_frequencies
from conceptaudit.records import ConceptAccuracies

from .conftest import NAMES


@pytest.mark.parametrize(
    ("cap", "exponent", "size"), [(40.0, 0.0, None), (None, 0.0, 400), (None, 0.5, 400)]
)
def test_counts_after_a_draw_are_within_the_printed_intervals(known, cap, exponent, size):
    """Many draws of one shard by the stage's own rule, each with the intervals printed for it."""
    data = AuditedData.open(known.run)
    shard = data.shards[0].name
    ids = np.arange(len(known.table) // 3)
    place, pairs = data.pairs(shard, "text").rows_in(ids)
    counts = np.bincount(pairs.concept_ids, minlength=len(NAMES)).astype(float)
    rule = Rule(
        side="text",
        probability=None if cap is None else entry_probability(counts, cap / 3),
        counts=np.maximum(counts, 1.0) if exponent else None,
        exponent=exponent,
        drops_untagged=cap is not None,
    )
    inside = []
    for seed in range(250):
        drawn = replace(rule, seed=seed)
        if size is not None:
            order = drawn.apply(ids, place, pairs, np.ones(len(ids))).order
            threshold = np.partition(order, size // 3 - 1)[size // 3 - 1]
            drawn = replace(drawn, threshold=threshold, sized=True)
        made = drawn.apply(ids, place, pairs, np.ones(len(ids)))
        account = account_of(pairs, place, made, len(NAMES))
        table = concept_table(NAMES, counts, *account, len(ids), sized=size is not None, level=0.9)
        part = table[table["n_after_high"] - table["n_after_low"] > 4.0]
        inside += part["n_drawn"].between(part["n_after_low"], part["n_after_high"]).tolist()
    assert len(inside) > 500
    assert 0.87 <= np.mean(inside) <= 0.93


def account_of(pairs, place, made, n_concepts):
    """Add up p, p (1 - p), p w, p (1 - p) w², the drawn and their weights, plainly."""
    p, w, taken = made.probability, made.weight, made.drawn.astype(float)
    terms = [p, p * (1 - p), p * w, p * (1 - p) * w**2, taken, taken * w]
    sums = np.zeros((6, n_concepts))
    for k, term in enumerate(terms):
        np.add.at(sums[k], pairs.concept_ids, term[place])
    return sums, np.array([term.sum() for term in terms])


def test_intervals_hold_the_truth_that_captions_say(known, tmp_path):
    made = curate([known.run], None, options=CurateOptions(cap=40.0), workers=1)
    kept = known.kept(tmp_path / "out", cap=40.0)
    truth = known.counts(kept["row"]).reindex(made.concepts["concept"]).fillna(0)
    assert truth.to_numpy() == pytest.approx(made.concepts["n_drawn"].to_numpy())


def test_a_dry_run_says_what_a_run_then_writes(known, tmp_path):
    options = CurateOptions(cap=40.0, drop_copies=True, seed=3)
    told = curate([known.run], None, options=options, workers=1)
    made = curate([known.run], tmp_path / "out", options=options, workers=1)
    pd.testing.assert_frame_equal(told.concepts, made.concepts)
    pd.testing.assert_frame_equal(told.account, made.account)
    assert told.folder is None


def curve_of(known):
    frequencies = read_frequencies(known.run)
    counts = frequencies.table["n_text"].to_numpy(float)
    accuracy = np.clip(0.1 + 0.2 * np.log10(1 + counts), 0, 1)
    table = pd.DataFrame(
        {
            "model": "RN50",
            "pretraining": "x",
            "dataset": "zoo",
            "metric": "acc1",
            "concept": list(NAMES),
            "n_correct": pd.NA,
            "n_images": pd.NA,
            "accuracy": accuracy,
        }
    )
    return fit_curve(frequencies, ConceptAccuracies(table), count="text", pretraining="x")


def test_predictions_follow_the_curve(known):
    curve = curve_of(known)
    made = curate([known.run], None, options=CurateOptions(cap=40.0), curve=curve, workers=1)
    classes, means = made.prediction.classes, made.prediction.means.set_index("group")
    expected = 0.1 + 0.2 * np.log10(1 + classes["count_after"])
    assert classes["accuracy_after"].to_numpy() == pytest.approx(expected, abs=0.02)
    head = classes[classes["group"] == "head"]
    assert means.loc["head", "after"] == pytest.approx(head["accuracy_after"].mean())
    step = np.log10(1 + head["count_after"]) - np.log10(1 + head["count_before"])
    assert means.loc["head", "decades"] == pytest.approx(step.mean())
    assert means.loc["head", "change"] == pytest.approx(0.2 * step.mean(), abs=0.02)
    assert any("not an experiment" in note for note in made.notes)


def test_a_mixture_takes_the_asked_shares_and_counts_repeats_once(known, other, tmp_path):
    out = tmp_path / "out"
    runs = [(known.run, 0.75), (other.run, None)]
    made = curate(runs, out, options=CurateOptions(size=400), workers=1)
    kept = pd.read_parquet(out / "kept.parquet")
    names = dict(zip(kept["run"].unique(), (300, 100), strict=True))
    assert kept["run"].value_counts().to_dict() == names
    both = known.counts() + other.counts()
    assert made.concepts.set_index("concept")["n_before"].to_dict() == both[list(NAMES)].to_dict()
    # what is expected is what the draw says of itself
    assert made.concepts["n_after"].sum() == pytest.approx(made.concepts["n_drawn"].sum(), rel=0.1)


def test_runs_of_a_mixture_are_counted_alike(known, other, tmp_path):
    """One has counts of images, too: captions of both are mixed, images of one are not."""
    np.save(tmp_path / "concepts.npy", other.vectors[: len(NAMES)])
    seen = AuditOptions(
        concept_vectors=str(tmp_path / "concepts.npy"), threshold=0.5, calibration="none", workers=1
    )
    audit(other.run.parent / "data", list(NAMES), tmp_path / "seen", options=seen)
    runs = [(tmp_path / "seen", 0.5), (known.run, 0.5)]
    made = curate(runs, None, options=CurateOptions(size=200, count="text"), workers=1)
    both = known.counts() + other.counts()
    assert made.concepts.set_index("concept")["n_before"].to_dict() == both[list(NAMES)].to_dict()
    with pytest.raises(ConfigError, match="image"):
        curate(runs, None, options=CurateOptions(size=200, count="image"), workers=1)
    joint = curate([runs[0][0]], None, options=CurateOptions(cap=5.0, count="joint"), workers=1)
    assert joint.about["count"] == "n_joint"


def test_repeats_of_an_earlier_run_are_dropped(known, tmp_path):
    import shutil

    twin = tmp_path / "twin"
    shutil.copytree(known.run, twin)
    with pytest.raises(ConfigError, match="has 0 left"):
        curate([known.run, twin], None, options=CurateOptions(size=100), workers=1)


@pytest.mark.parametrize(
    ("runs", "message"),
    [
        ([("a", 0.7), ("b", 0.7)], "add up to 1"),
        ([("a", 1.5)], "in \\(0, 1\\]"),
        ([("a", 1.0), ("b", None)], "add up to 1"),
        ([], "at least one"),
    ],
)
def test_shares_that_do_not_add_up_are_refused(runs, message):
    with pytest.raises(ConfigError, match=message):
        Mixture.of(runs)


def test_the_verb_says_and_writes(known, tmp_path, capsys):
    one = ["--workers", "1"]
    assert main(["curate", str(known.run), "--cap", "40", "--dry-run", *one]) == 0
    said = capsys.readouterr().out
    assert "concepts are above it" in said
    assert "random subset" in said
    out = tmp_path / "out"
    assert main(["curate", str(known.run), "--cap", "40", "-o", str(out), "--workers", "1"]) == 0
    assert (out / "kept.parquet").is_file()
    assert main(["curate", str(known.run), "--cap", "40"]) == 2
    assert "--dry-run" in capsys.readouterr().err


def test_the_best_mixture_is_that_of_a_plain_search(known, other):
    """With a straight curve the tail's mean accuracy can be written down."""
    curve, size = curve_of(known), 500
    found = best_mixture([known.run, other.run], curve, size)
    rates = [
        one.counts().reindex(NAMES).fillna(0).to_numpy() / len(one.table) for one in (known, other)
    ]
    both = known.counts().reindex(NAMES).fillna(0) + other.counts().reindex(NAMES).fillna(0)
    tail = both.sort_values(ascending=False, kind="stable").index[-3:]
    chosen = [NAMES.index(name) for name in tail]
    shares = np.arange(0, 101) / 100
    plain = [
        np.mean(0.1 + 0.2 * np.log10(1 + size * (s * rates[0] + (1 - s) * rates[1])[chosen]))
        for s in shares
    ]
    assert found.tail == pytest.approx(max(plain), abs=0.01)
    share = found.table["share"].iloc[0]
    assert plain[round(share * 100)] >= max(plain) - 0.004
    assert found.tail >= found.tail_equal
    with pytest.raises(ConfigError, match="more than the"):
        best_mixture([known.run, other.run], curve, 10_000)


def test_a_run_gives_no_more_than_it_has(known, other):
    found = best_mixture([known.run, other.run], curve_of(known), 1_500)
    shares = found.table["share"].to_numpy()
    assert (shares * 1_500 <= np.array([len(known.table), len(other.table)]) + 1e-6).all()
