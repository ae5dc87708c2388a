"""Everything a report is made from, read and checked before anything is drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from conceptaudit.artifacts import MANIFEST, Json, read_json
from conceptaudit.curves import Curve
from conceptaudit.errors import ConfigError, DataError
from conceptaudit.frequency.readers import read_frequencies
from conceptaudit.reading import concept_names, exact_text, read_parquet
from conceptaudit.records import ConceptAccuracies, ConceptFrequencies
from conceptaudit.report.formatting import dataset_name
from conceptaudit.report.run_checks import check_alignment, check_counts, check_manifest
from conceptaudit.store.checking import check_written

if TYPE_CHECKING:
    from conceptaudit.longtail import LongTailSet

PREDICTION_COLUMNS = ("concept", "accuracy", "low", "high")
"""Columns that a table of predictions must have."""

Source = str | Path


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """A finished audit, as its folder tells it."""

    folder: Path
    frequencies: ConceptFrequencies
    alignment: Json  # alignment.json
    manifest: Json  # manifest.json
    concepts: tuple[str, ...]  # names by id

    @property
    def name(self) -> str:
        """The dataset's name."""
        return dataset_name(self.frequencies.source)

    @property
    def table(self) -> pd.DataFrame:
        """One row per concept."""
        return self.frequencies.table

    @property
    def counted(self) -> tuple[str, ...]:
        """The count columns that the audit has."""
        return self.frequencies.counted

    @property
    def level(self) -> float:
        """Coverage that the intervals were made for."""
        return float(self.manifest["level"])

    @property
    def strictest(self) -> str:
        """The count that says most about what a model could learn: both sides, where known."""
        return self.counted[-1] if len(self.counted) < 3 else "n_joint"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportInputs:
    """What there is to report; None where it was not given."""

    run: RunRecord
    dataset: str | None = None
    curve: Curve | None = None
    accuracies: ConceptAccuracies | None = None
    predictions: pd.DataFrame | None = None
    longtail: LongTailSet | None = None
    tail_results: ConceptAccuracies | None = None
    truth: Path | None = None
    pool_truth: Path | None = None


def read_inputs(
    run: Source,
    *,
    dataset: Source | None,
    curve: Source | Curve | None,
    accuracies: Source | Sequence[Source] | ConceptAccuracies | None,
    predictions: Source | pd.DataFrame | None,
    longtail: Source | None,
    tail_results: Source | Sequence[Source] | ConceptAccuracies | None,
    truth: Source | None,
    pool_truth: Source | None,
) -> ReportInputs:
    """Read all inputs of a report."""
    record = read_run(run)
    if isinstance(curve, str | Path):
        curve = Curve.load(curve)
    made = None
    if longtail is not None:
        from conceptaudit.longtail import read_long_tail

        made = read_long_tail(longtail)
    return ReportInputs(
        run=record,
        dataset=None if dataset is None else str(dataset),
        curve=curve,
        accuracies=_accuracies(accuracies),
        predictions=None if predictions is None else read_predictions(predictions),
        longtail=made,
        tail_results=_accuracies(tail_results),
        truth=None if truth is None else Path(truth),
        pool_truth=None if pool_truth is None else Path(pool_truth),
    )


def _accuracies(
    source: Source | Sequence[Source] | ConceptAccuracies | None,
) -> ConceptAccuracies | None:
    if source is None or isinstance(source, ConceptAccuracies):
        return source
    from conceptaudit.zeroshot.readers import read_accuracies

    return read_accuracies(source)


def read_run(folder: Source) -> RunRecord:
    """Read an audit's folder."""
    folder = Path(folder)
    if not (folder / MANIFEST).is_file():
        raise ConfigError(
            f"The 'run' parameter of write_report must be the folder of a finished audit. Got "
            f"{folder}, which has no {MANIFEST}, instead. Run `conceptaudit audit` first."
        )
    manifest = read_json(folder / MANIFEST)
    if not isinstance(manifest, dict) or manifest.get("kind") != "audit":
        raise ConfigError(
            f"The 'run' parameter of write_report must be the folder of an audit. Got {folder}, "
            "whose manifest is of another kind, instead."
        )
    check_manifest(folder / MANIFEST, manifest)
    for name in ("concepts.json", "alignment.json"):
        check_written(folder / name)
    found = read_frequencies(folder)
    check_counts(folder, found)
    names = tuple(concept_names(folder / "concepts.json"))
    alignment = read_json(folder / "alignment.json")
    check_alignment(folder / "alignment.json", alignment)
    return RunRecord(
        folder=folder,
        frequencies=replace(found, source=str(manifest.get("dataset", ""))),
        alignment=alignment,
        manifest=manifest,
        concepts=names,
    )


def read_predictions(source: Source | pd.DataFrame) -> pd.DataFrame:
    """Read predictions; ``observed`` and ``held_out`` are optional."""
    if isinstance(source, pd.DataFrame):
        table, where = source, "The predictions"
    else:
        path, where = Path(source), str(source)
        check_written(path)
        try:
            table = (
                read_parquet(path)
                if path.suffix.lower() == ".parquet"
                else pd.read_csv(
                    path,
                    dtype={"concept": "str"},
                    keep_default_na=False,
                    na_values={
                        "observed": [""],
                        "accuracy": [""],
                        "low": [""],
                        "high": [""],
                        "count": [""],
                    },
                )
            )
        except (OSError, ValueError) as error:
            raise DataError(f"Cannot read {path} as a table: {error}.") from error
    if not table.columns.is_unique:
        twice = table.columns[table.columns.duplicated()][0]
        raise DataError(f"{where} has the column {twice!r} twice. Keep one of them.")
    missing = [name for name in PREDICTION_COLUMNS if name not in table]
    if missing:
        raise DataError(
            f"{where} must have the columns {list(PREDICTION_COLUMNS)}. Missing: {missing}."
        )
    names = table["concept"].map(exact_text).astype("str")
    columns: dict[str, pd.Series[Any]] = {"concept": names}
    for name in ("accuracy", "low", "high", "observed"):
        values = pd.Series(float("nan"), index=table.index) if name not in table else table[name]
        columns[name] = pd.to_numeric(values, errors="coerce")
        if bool(((columns[name] < 0) | (columns[name] > 1)).any()):
            raise DataError(f"{where}: {name} must lie in [0, 1] in every row.")
    held = table["held_out"] if "held_out" in table else pd.Series(data=False, index=table.index)
    flags = held.map(lambda value: str(value).strip().casefold() in ("true", "1", "yes"))
    return table.assign(**columns, held_out=flags.astype(bool)).reset_index(drop=True)
