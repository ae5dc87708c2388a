"""The whole job on a simulated dataset whose true counts are known, offline.

The simulator draws captioned scenes from the law that the bundled CLIP was trained on. They are
audited, the model is evaluated on a balanced test set, part of the classes is held out of the
fit and predicted, and a long-tail set is built from a second dataset and evaluated: the report
shows what the curve had predicted for it beside what came out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from conceptaudit.artifacts import RunFolder, digest_of, write_csv
from conceptaudit.auditing import AuditOptions, AuditRun, audit
from conceptaudit.curves import Curve, PredictionCheck, check_predictions, fit_curve, predict
from conceptaudit.errors import ArtifactMismatchError
from conceptaudit.image.clip import ClipModel, find_clip
from conceptaudit.image.clip_models import LAB
from conceptaudit.lab import LabConfig, generate, lab_vocabulary, read_truth, write_image_folder
from conceptaudit.lab.bundled import lab_training
from conceptaudit.longtail import LongTailOptions, LongTailSet, build_long_tail
from conceptaudit.options.zeroshot import EvaluationOptions
from conceptaudit.progress import Progress, SilentProgress
from conceptaudit.records import ConceptAccuracies, ConceptFrequencies, ConceptVocabulary
from conceptaudit.report import write_report
from conceptaudit.report.curve_figures import draw_curve
from conceptaudit.store.checking import identify
from conceptaudit.store.layouts import LAYOUTS
from conceptaudit.store.removing import contents_of, remove
from conceptaudit.store.run_folder import NEW, OVERWRITE, RESUME
from conceptaudit.validation import HOLDS
from conceptaudit.zeroshot.evaluate import evaluate
from conceptaudit.zeroshot.sets import open_evaluation_set

# Folders of a demo that are runs of their own, the data while they are drawn.
RUNS = (
    "audit", "evaluation", "tail-evaluation", "longtail", ".longtail.building",
    "data", "pool", "test",
)  # fmt: skip

# Those that a finished demo holds and that have a manifest of their own.
FINISHED = ("audit", "evaluation", "tail-evaluation", "longtail")

REPORT = "report.html"  # written last: a demo that lacks it was stopped, and starts over

HELD_OUT = 0.25  # share of the classes that the fit does not see

MODEL = "lab-clip"
TEST_SET = "lab-balanced"
TAIL_SET = "lab-tail"


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoSize:
    """How large the demo is."""

    n_samples: int = 6_000  # pairs in the audited dataset
    n_pool: int = 4_000  # pairs in the pool of the long-tail set
    per_concept: int = 10  # test images per class


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoResult:
    """Everything that the demo made."""

    folder: Path  # holds it all
    run: AuditRun  # the audit
    # median over concepts with at least 20 true occurrences of |log10(counted / true)|
    text_error: float
    image_error: float
    curve: Curve  # fitted without the held-out classes
    held_out: pd.DataFrame  # ``concept, count, accuracy (predicted), low, high, observed``
    tail: LongTailSet  # the long-tail set
    tail_check: PredictionCheck  # what the curve had predicted for it, and what came out
    report: Path  # the page

    @property
    def coverage(self) -> float:
        """Share of held-out classes whose observed accuracy lies in its interval."""
        inside = self.held_out["observed"].between(self.held_out["low"], self.held_out["high"])
        return float(inside.mean())


def run_demo(
    out: str | Path,
    *,
    size: DemoSize | None = None,
    seed: int = 1,
    workers: int | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> DemoResult:
    """Run the whole job on simulated data."""
    size = size or DemoSize()
    digest = digest_of({"size": asdict(size), "seed": seed})
    run = RunFolder.at(out, kind="demo", digest=digest, options=(OVERWRITE,))
    if not overwrite and run.check() == RESUME and (run.path / REPORT).exists():
        raise ArtifactMismatchError(
            f"{run.path} holds a demo. Add --overwrite to replace it, or name another with -o."
        )
    with run.hold(overwrite=overwrite) as state:
        if state != NEW:
            _forget(run)
        result = _run(run.path, size, seed, workers, progress or SilentProgress())
        run.finish({"size": asdict(size), "seed": seed, HOLDS: list(FINISHED)})
    return result


def _run(
    folder: Path, size: DemoSize, seed: int, workers: int | None, progress: Progress
) -> DemoResult:
    training = lab_training()
    drawn = _draw_everything(training.config, size, seed, folder, workers, progress)
    options = AuditOptions(clip=LAB, device="cpu", workers=workers, templates=training.templates)
    run = audit(drawn.data, drawn.vocabulary, folder / "audit", options=options, progress=progress)
    clip = find_clip(LAB, device="cpu")
    evaluation = _Evaluation(
        clip=clip,
        classes=drawn.vocabulary,
        templates=training.templates,
        workers=workers,
        progress=progress,
    )
    accuracies = evaluation.on(drawn.tests, TEST_SET, folder / "evaluation")
    write_csv(folder / "accuracies.csv", accuracies.table)
    curve, held_out = _fit_and_predict(run.frequencies, accuracies, seed)
    curve.save(folder / "curve" / "curve.json")
    draw_curve(curve, folder / "curve" / "curve.png")
    write_csv(folder / "predictions.csv", held_out)
    tail = build_long_tail(
        folder / "audit",
        drawn.pool,
        folder / "longtail",
        # the lab's small model alone takes too many wrong images: their captions must agree
        options=LongTailOptions(k=20, per_class=8, templates=training.templates, require_text=True),
        clip=clip,
        progress=progress,
    )
    # among all classes, as the fit's test set: fewer rivals would make it an easier test
    tail_results = evaluation.on(tail.folder, TAIL_SET, folder / "tail-evaluation")
    report = _report(folder, drawn, accuracies, held_out, tail_results, progress)
    truth = read_truth(drawn.data)
    return DemoResult(
        folder=folder,
        run=run,
        text_error=_count_error(run, truth[truth["text_ok"]]["text"], "n_text"),
        image_error=_count_error(run, truth[truth["image_ok"]]["image"], "n_image"),
        curve=curve,
        held_out=held_out,
        tail=tail,
        tail_check=check_predictions(curve, run.frequencies, tail_results)[0],
        report=report,
    )


def _report(
    folder: Path,
    drawn: _Drawn,
    accuracies: ConceptAccuracies,
    predictions: pd.DataFrame,
    tail_results: ConceptAccuracies,
    progress: Progress,
) -> Path:
    """Write the report; tables of the demo itself, which is not finished yet, come from memory."""
    progress.start("report", 1, unit="pages")
    page = write_report(
        folder / REPORT,
        run=folder / "audit",
        dataset=drawn.data,
        curve=folder / "curve" / "curve.json",
        accuracies=accuracies,
        predictions=predictions,
        longtail=folder / "longtail",
        tail_results=tail_results,
        truth=drawn.data / "truth.parquet",
        pool_truth=drawn.pool / "truth.parquet",
        title="A simulated dataset, audited",
    )
    progress.advance()
    progress.finish()
    return page


@dataclass(frozen=True, slots=True, kw_only=True)
class _Drawn:
    """What was simulated: the audited dataset, the pool of the long-tail set, the test set."""

    vocabulary: ConceptVocabulary
    data: Path
    pool: Path
    tests: Path


def _draw_everything(
    law: LabConfig,
    size: DemoSize,
    seed: int,
    folder: Path,
    workers: int | None,
    progress: Progress,
) -> _Drawn:
    config = replace(
        law,
        seed=seed,
        n_samples=size.n_samples,
        shard_size=1_000,
        link_rot_rate=0.02,
        truncated_rate=0.005,
        empty_caption_rate=0.005,
    )
    flat = replace(
        config, seed=seed + 1, n_samples=size.n_pool, zipf_exponent=0.3, link_rot_rate=0.0
    )
    vocabulary = lab_vocabulary(config)
    data = _draw(config, folder / "data", workers, progress)
    pool = _draw(flat, folder / "pool", workers, progress)
    progress.start("draw test set", len(vocabulary), unit="classes")
    tests = write_image_folder(
        config,
        folder / "test",
        per_concept=size.per_concept,
        progress=_steps(progress, size.per_concept),
    )
    progress.finish()
    return _Drawn(vocabulary=vocabulary, data=data, pool=pool, tests=tests)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Evaluation:
    """The model, and the classes that it tells apart on every set."""

    clip: ClipModel
    classes: ConceptVocabulary
    templates: tuple[str, ...]
    workers: int | None
    progress: Progress

    def on(self, images: Path, name: str, out: Path) -> ConceptAccuracies:
        opened = open_evaluation_set(
            images, name=name, class_names=self.classes.names, templates=self.templates
        )
        return evaluate(
            opened,
            [self.clip],
            out,
            options=EvaluationOptions(pretraining="lab"),
            workers=self.workers,
            progress=self.progress,
        ).accuracies


def _forget(run: RunFolder) -> None:
    """Remove an earlier demo: its runs by their own records, the rest by the demo's names."""
    for place in RUNS:
        held = identify(run.path / place)
        if held is not None:
            contents = contents_of(run.path / place, LAYOUTS[held.kind])
            remove(run.path, [f"{place}/{name}" for name in contents.own])
    run.clear()


def _draw(config: LabConfig, out: Path, workers: int | None, progress: Progress) -> Path:
    from conceptaudit.engine.base import available_cpus

    progress.start(f"draw {out.name}", config.n_samples, unit="samples")
    truth = generate(
        config, out, processes=workers or available_cpus(), progress=_steps(progress, 1)
    )
    progress.finish()
    return truth.folder


def _steps(progress: Progress, units: int) -> Callable[[int, int], None]:
    """Adapt the lab's "done of total" to steps of `units` each."""
    told = 0

    def tell(done: int, total: int) -> None:  # noqa: ARG001 -- the lab's signature
        nonlocal told
        progress.advance(done // units - told)
        told = done // units

    return tell


def _fit_and_predict(
    frequencies: ConceptFrequencies, accuracies: ConceptAccuracies, seed: int
) -> tuple[Curve, pd.DataFrame]:
    """Fit on three quarters of the classes and predict the others."""
    names = accuracies.table["concept"]
    rng = np.random.default_rng(seed)
    held = set(rng.choice(sorted(names), size=round(HELD_OUT * len(names)), replace=False))
    fitted = ConceptAccuracies(accuracies.table[~names.isin(held)].reset_index(drop=True))
    curve = fit_curve(frequencies, fitted, pretraining="all", seed=seed)
    asked = frequencies.table[frequencies.table["concept"].isin(held)].reset_index(drop=True)
    predicted = predict(curve, ConceptFrequencies(asked, source=frequencies.source))
    observed = accuracies.table.set_index("concept")["accuracy"]
    predicted["observed"] = predicted["concept"].map(observed).astype(float)
    predicted["held_out"] = True
    return curve, predicted


def _count_error(run: AuditRun, names: pd.Series[list[str]], column: str) -> float:
    true = names.explode().value_counts()
    counted = run.table.set_index("concept")[column].astype(float)
    frequent = true[true >= 20]
    found = counted.reindex(frequent.index).fillna(0).to_numpy()
    return float(np.median(np.abs(np.log10((found + 0.5) / (frequent.to_numpy() + 0.5)))))
