"""From an audit and what came after it to ``report.html``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from conceptaudit.artifacts import digest_of, package_versions, write_text
from conceptaudit.curves import Curve
from conceptaudit.progress import Progress, SilentProgress
from conceptaudit.records import ConceptAccuracies
from conceptaudit.report.formatting import dataset_name
from conceptaudit.report.inputs import ReportInputs, read_inputs
from conceptaudit.report.pictures import PictureBudget, fetch_samples
from conceptaudit.report.samples import Choice, choose_samples
from conceptaudit.report.sections.accuracy import accuracy_section
from conceptaudit.report.sections.concept_table import concept_section, frequency_section
from conceptaudit.report.sections.longtail import longtail_section
from conceptaudit.report.sections.method import method_section
from conceptaudit.report.sections.overview import headline, overview
from conceptaudit.report.sections.samples import bands, contact_section, pairs_section
from conceptaudit.report.sections.truth import truth_section
from conceptaudit.report.templating import Section, asset, render
from conceptaudit.report.truth import measure
from conceptaudit.store.outputs import OutputFile
from conceptaudit.store.places import check_apart, output_path

SEED = 0

POLICY = (
    "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
    "base-uri 'none'; form-action 'none'"
)
"""The browser itself refuses to fetch anything, whatever a caption may say."""


def write_report(
    out: str | Path,
    *,
    run: str | Path,
    dataset: str | Path | None = None,
    curve: str | Path | Curve | None = None,
    accuracies: str | Path | Sequence[str | Path] | ConceptAccuracies | None = None,
    predictions: str | Path | pd.DataFrame | None = None,
    longtail: str | Path | None = None,
    tail_results: str | Path | Sequence[str | Path] | ConceptAccuracies | None = None,
    truth: str | Path | None = None,
    pool_truth: str | Path | None = None,
    title: str | None = None,
    progress: Progress | None = None,
) -> Path:
    """Write one HTML file that shows an audit and everything that was made from it.

    A part whose input is missing says so in one sentence. The same inputs give the same bytes.

    Parameters
    ----------
    out : str or Path
        File to write; an earlier report is replaced.
    run : str or Path
        Folder of the audit.
    dataset : str or Path, optional
        The audited dataset, for sample images and captions; of an audit of embeddings also the
        dataset that was embedded.
    curve : str, Path or Curve, optional
        Accuracy against frequency; a file, its folder, or the curve itself.
    accuracies : str, Path, sequence of these or ConceptAccuracies, optional
        Per-class accuracies.
    predictions : str, Path or pandas.DataFrame, optional
        ``concept, accuracy, low, high`` (as `conceptaudit.predict` gives), with ``observed``
        (accuracy in [0, 1]) and ``held_out`` (bool) where known; ``level`` says what share of
        classes the intervals were made to hold.
    longtail : str or Path, optional
        Folder of a long-tail set.
    tail_results : str, Path, sequence of these or ConceptAccuracies, optional
        What `evaluate` measured on it, to be shown beside what `curve` had predicted. The curve
        must be the one that was fitted before, without these results.
    truth : str or Path, optional
        ``truth.parquet`` of a simulated dataset, or its folder.
    pool_truth : str or Path, optional
        The same of the simulated pool that `longtail` was taken from: gives its purity.
    title : str, optional
        Heading of the page; the dataset's name by default.
    progress : Progress, optional
        Told of the steps.

    Returns
    -------
    Path
        `out`.

    Raises
    ------
    ArtifactMismatchError
        `out` is a file that is no report, or overlaps with an input.
    ConfigError
        `run` is no audit, the dataset does not exist, or `tail_results` come without a curve.
    DataError
        An input is missing, damaged, or belongs to another dataset; or the curve was fitted with
        the results that it is to check.
    """
    progress = progress or SilentProgress()
    target = output_path(out)
    named = (run, dataset, curve, accuracies, predictions, longtail, tail_results, truth)
    check_apart([target], [one for one in named if isinstance(one, str | Path)])
    OutputFile(path=target, kind="report", is_ours=is_report).check()
    inputs = read_inputs(
        run,
        dataset=dataset,
        curve=curve,
        accuracies=accuracies,
        predictions=predictions,
        longtail=longtail,
        tail_results=tail_results,
        truth=truth,
        pool_truth=pool_truth,
    )
    sections = _sections(inputs, progress)
    text = render(
        "report.html",
        title=title or dataset_name(inputs.run.frequencies.source),
        lead=headline(inputs.run, titled=title is not None),
        sections=sections,
        version=package_versions().get("conceptaudit", ""),
        policy=POLICY,
        style=asset("report.css"),
        script=asset("report.js"),
    )
    write_text(target, f"{text}{_seal(text)}")
    return target


def _seal(text: str) -> str:
    """Last line of a report, by which it is told from anybody's page and from a changed one."""
    return f"<!-- conceptaudit report {digest_of(text)} -->\n"


def is_report(path: Path) -> bool:
    """Whether a file is a report as it was written."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError):
        return False
    page_text, _, _ = text.rpartition("<!--")
    return bool(page_text) and text == f"{page_text}{_seal(page_text)}"


def _sections(inputs: ReportInputs, progress: Progress) -> list[Section]:
    run = inputs.run
    budget = PictureBudget()
    measured = None if inputs.truth is None else measure(run, inputs.truth)
    ids = [concept for band in bands(run) for concept in band]
    choice, seen = Choice(), None
    if inputs.dataset is not None:
        choice = choose_samples(run, ids, seed=SEED, progress=progress)
        seen = fetch_samples(run, inputs.dataset, choice.all(), budget=budget, progress=progress)
    contact = contact_section(run, choice, seen, budget.n_refused)
    return [
        overview(run),
        frequency_section(run),
        concept_section(run),
        contact,
        pairs_section(run, choice, seen),
        accuracy_section(inputs),
        longtail_section(inputs, measured, budget, progress),
        truth_section(measured),
        method_section(inputs),
    ]
