"""A curation as a whole: from audited runs to a weighted subset, or to what it would be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from conceptaudit.artifacts import (
    Json,
    RunFolder,
    digest_of,
    file_digest,
    package_versions,
    read_json,
    write_csv,
)
from conceptaudit.curate.audited import AuditedData, check_counted_alike
from conceptaudit.curate.expected import (
    DRAWN_WEIGHT,
    N_DRAWN,
    DrawTotals,
    concept_table,
    join_totals,
    summary_table,
)
from conceptaudit.curate.mixing import Mixture, mixture_sizes, union_of_names
from conceptaudit.curate.predicted import CAVEAT, WhatIf, what_if
from conceptaudit.curate.running import RunCuration
from conceptaudit.curate.writing import (
    DOWNLOAD,
    KEPT,
    UIDS,
    DrawnRun,
    write_download_table,
    write_hugging_face,
    write_kept,
    write_shard_list,
    write_uids,
)
from conceptaudit.curves import Curve
from conceptaudit.engine import workers_kept
from conceptaudit.errors import ConfigError
from conceptaudit.options.curate import CurateOptions
from conceptaudit.options.engine import EngineChoice
from conceptaudit.progress import Progress, SilentProgress
from conceptaudit.store.partials import ScratchFolder

KIND = "curation"

UNTOUCHED = (
    "Intervals are for the draw alone: which samples chance keeps. The audit's own errors, in what "
    "captions and images are taken to show, are those of its counts."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Curated:
    """A curation, or what it would be.

    Parameters
    ----------
    folder : Path or None
        Where it is written; None for a dry run.
    concepts : pandas.DataFrame
        See `expected.concept_table`.
    summary : pandas.DataFrame
        See `expected.summary_table`.
    account : pandas.DataFrame
        ``run, step, reason, n``: samples in, dropped (negative) by reason, out.
    prediction : WhatIf or None
        Where a curve was given.
    notes : tuple of str
    about : dict
        Thresholds and the like that were chosen.
    """

    folder: Path | None
    concepts: pd.DataFrame
    summary: pd.DataFrame
    account: pd.DataFrame
    prediction: WhatIf | None
    notes: tuple[str, ...]
    about: dict[str, Json]

    def as_json(self) -> Json:
        """All of it, for a machine."""
        tables = {"concepts": self.concepts, "summary": self.summary, "account": self.account}
        if self.prediction is not None:
            tables["predicted"] = self.prediction.classes
            tables["predicted_means"] = self.prediction.means
        return {
            "folder": None if self.folder is None else str(self.folder),
            "notes": list(self.notes),
            "about": self.about,
            **{name: table.to_dict("records") for name, table in tables.items()},
        }


def curate(
    runs: Sequence[str | Path] | Sequence[tuple[str | Path, float | None]],
    out: str | Path | None,
    *,
    options: CurateOptions | None = None,
    scores: str | Path | None = None,
    curve: Curve | None = None,
    dataset: str | None = None,
    workers: int | EngineChoice | None = None,
    resume: bool = False,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Curated:
    """Choose and weigh the samples of audited datasets for training.

    The steps are taken in this order, each with its own account: ``keep`` conditions, ``exclude``,
    repeats of earlier runs (mixtures), ``drop_copies``, ``prototype_prune``; then what is left is
    counted, and ``density``, ``temper``, ``cap`` and ``size`` rest on these counts.

    Parameters
    ----------
    runs : sequence of path, or of (path, share)
        Finished audits. Of several, shares say how much of the result each is; those without one
        divide the rest equally.
    out : str, Path or None
        Folder to write; None writes nothing and says what would be.
    options : CurateOptions, optional
    scores : str or Path, optional
        Table of scores by key, whose columns `options.keep` may name.
    curve : Curve, optional
        Predicts accuracies before and after.
    dataset : str, optional
        Where the dataset of a single run lies now, if it was moved.
    workers : int, EngineChoice or None
        Who does the work; changes no result.
    resume, overwrite : bool
        As for every run folder.
    progress : Progress, optional

    Raises
    ------
    ConfigError, DataError, ArtifactMismatchError
        As `CurateOptions` and `AuditedData.open`; or `out` holds something else.
    """
    options = options or CurateOptions()
    named = [one if isinstance(one, tuple) else (one, None) for one in runs]
    mixture = Mixture.of(named)
    if dataset is not None and len(mixture.folders) > 1:
        raise ConfigError("--dataset says where one run's dataset lies. Got several runs.")
    datas = [AuditedData.open(folder, dataset) for folder in mixture.folders]
    check_counted_alike(datas, options.count)
    wanted = {
        "options": options.as_json(),
        "runs": [[data.digest, share] for data, share in zip(datas, mixture.shares, strict=True)],
        "scores": None if scores is None else file_digest(Path(scores)),
        "curve": None if curve is None else curve.digest,
    }
    job = _Curation(
        datas=datas,
        mixture=mixture,
        options=options,
        scores=None if scores is None else Path(scores),
        curve=curve,
        engine=workers if isinstance(workers, EngineChoice) else EngineChoice(workers=workers),
        progress=progress or SilentProgress(),
    )
    if out is None:
        with ScratchFolder() as place:
            return job.run(Path(place), writes=False)[0]
    read: list[str | Path] = [*mixture.folders, *(data.dataset.location for data in datas)]
    folder = RunFolder.at(
        out,
        kind=KIND,
        digest=digest_of(wanted),
        inputs=(*read, None if scores is None else str(scores)),
        shards=sorted({shard.name for data in datas for shard in data.shards}),
    )
    with folder.hold(resume=resume, overwrite=overwrite):
        curated, listed = job.run(folder.path, writes=True)
        folder.finish(
            {
                **wanted,
                "runs": [str(data.folder) for data in datas],
                "names": list(mixture.names),
                "shares": list(mixture.shares),
                "about": curated.about,
                "notes": list(curated.notes),
                "level": options.level,
                "versions": package_versions("numpy", "pandas", "pyarrow"),
            },
            listed,
        )
    return curated


@dataclass(frozen=True, slots=True, kw_only=True)
class _Curation:
    """A curation that is ready to run."""

    datas: list[AuditedData]
    mixture: Mixture
    options: CurateOptions
    scores: Path | None
    curve: Curve | None
    engine: EngineChoice
    progress: Progress

    @workers_kept()
    def run(self, folder: Path, *, writes: bool) -> tuple[Curated, list[str]]:
        """Take all steps; return the result and the files whose names depend on the data."""
        steps = [
            RunCuration(
                data=data,
                options=self.options,
                folder=folder,
                number=number,
                scores=self.scores,
                engine=self.engine,
                progress=self.progress,
            )
            for number, data in enumerate(self.datas)
        ]
        seen: list[np.ndarray[Any, np.dtype[np.uint64]]] = []
        for step in steps:
            step.screen()
            step.remove(seen)
            if len(steps) > 1:
                seen.append(step.keys())
            step.count()
        rules = [step.rule() for step in steps]
        if self.options.size is not None or len(steps) > 1:
            orders = [step.orders(rule) for step, rule in zip(steps, rules, strict=True)]
            sizes = mixture_sizes(self.mixture, [len(one) for one in orders], self.options.size)
            rules = [
                replace(rule, threshold=_smallest(order, size), sized=True)
                for rule, order, size in zip(rules, orders, sizes, strict=True)
            ]
        drawn = [s.draw(rule, writes=writes) for s, rule in zip(steps, rules, strict=True)]
        totals = [one for _, one in drawn]
        sized = rules[0].sized
        curated = self._described(folder if writes else None, steps, totals, sized=sized)
        if not writes:
            return curated, []
        names = self.mixture.names if len(steps) > 1 else ("",)
        weight = sum(one.samples[DRAWN_WEIGHT] for one in totals)
        scale = sum(one.samples[N_DRAWN] for one in totals) / weight if weight else 1.0
        runs = [
            DrawnRun(data=step.data, name=name, store=store, scale=float(scale))
            for step, name, (store, _) in zip(steps, names, drawn, strict=True)
        ]
        return curated, self._write(folder, runs, curated)

    def _described(
        self,
        folder: Path | None,
        steps: list[RunCuration],
        totals: list[DrawTotals],
        *,
        sized: bool,
    ) -> Curated:
        side, column = steps[0].data.side_of(self.options.count)
        names, places = union_of_names([data.frequencies for data in self.datas])
        notes = [note for step in steps for note in step.notes]
        if any(len(place) != len(names) for place in places):
            notes.append(
                f"The runs do not have the same concepts: counts of the mixture are of the "
                f"{len(names):,} that all have."
            )
        joined = join_totals(totals, places, len(names))
        tables = {
            one: self._table(steps, joined, places, names, one, sized=sized)
            for one in totals[0].concepts
            if one in joined.concepts
        }
        concepts = tables[side]
        account = pd.DataFrame(
            [
                (name, *row)
                for name, step, total in zip(self.mixture.names, steps, totals, strict=True)
                for row in step.account(total)
            ],
            columns=["run", "step", "reason", "n"],
        )
        n_before = int(account.loc[account["reason"] == "samples in", "n"].sum())
        summary = summary_table(concepts, joined, n_before, _before(steps, n_before), sized=sized)
        prediction = None
        if self.curve is not None:
            prediction = self._prediction(self.curve, tables, concepts)
            notes.append(CAVEAT)
        about = {name: step.about for name, step in zip(self.mixture.names, steps, strict=True)}
        return Curated(
            folder=folder,
            concepts=concepts,
            summary=summary,
            account=account,
            prediction=prediction,
            notes=(*notes, UNTOUCHED),
            about={"count": column, "runs": about},
        )

    def _table(
        self,
        steps: list[RunCuration],
        joined: DrawTotals,
        places: list[np.ndarray[Any, np.dtype[np.intp]]],
        names: list[str],
        side: str,
        *,
        sized: bool,
    ) -> pd.DataFrame:
        """Lay out one side's counts before and after; of a mixture, of all runs together."""
        before = sum(
            step.before(f"n_{side}")[place] for step, place in zip(steps, places, strict=True)
        )
        ratio = None
        own, column = steps[0].data.side_of(self.options.count)
        if own == side and len(steps) == 1:
            ratio = steps[0].data.corrected_ratio(column)
        n_before = sum(_n_samples(step) for step in steps)
        table = concept_table(
            names,
            np.asarray(before, dtype=np.float64),
            joined.concepts[side],
            joined.samples,
            n_before,
            sized=sized,
            level=self.options.level,
            ratio=ratio,
        )
        known = steps[0].data.frequencies.table
        if "dataset" in known and len(steps) == 1:
            table.insert(1, "dataset", known["dataset"].to_numpy())
        return table

    def _prediction(
        self, curve: Curve, tables: dict[str, pd.DataFrame], concepts: pd.DataFrame
    ) -> WhatIf:
        side = curve.count.removeprefix("n_").removesuffix("_corrected")
        if side not in tables:
            raise ConfigError(
                f"The curve was fitted on {curve.count}, which this audit did not count. Fit one "
                f"on a count that it has ({', '.join(sorted(tables))}: fit --count)."
            )
        table = tables[side].assign(group=concepts["group"])
        table = table[table["group"] != ""].reset_index(drop=True)
        return what_if(curve, table, level=self.options.level)

    def _write(self, folder: Path, runs: list[DrawnRun], curated: Curated) -> list[str]:
        options = self.options
        n_kept = int(curated.account.loc[curated.account["reason"] == "samples out", "n"].sum())
        if not n_kept:
            raise ConfigError("Nothing is left: every sample was dropped. See --dry-run for why.")
        write_csv(folder / "account.csv", curated.account)
        write_csv(folder / "expected.csv", curated.concepts)
        write_csv(folder / "summary.csv", curated.summary)
        if curated.prediction is not None:
            write_csv(folder / "predicted.csv", curated.prediction.classes)
            write_csv(folder / "predicted_means.csv", curated.prediction.means)
        write_kept(runs, folder / KEPT)
        if "datacomp" in options.formats:
            write_uids(runs, folder / UIDS)
        if "webdataset" in options.formats:
            write_shard_list(runs, folder)
        if "img2dataset" in options.formats:
            write_download_table(runs, folder / DOWNLOAD)
        if "huggingface" in options.formats:
            return write_hugging_face(runs, folder, n_kept)
        return []


def _smallest(orders: np.ndarray[Any, np.dtype[np.float64]], size: int) -> float:
    """Return the order up to which `size` samples are drawn."""
    if size >= len(orders):
        return float("inf")
    return float(np.partition(orders, size - 1)[size - 1])


def _n_samples(step: RunCuration) -> int:
    return max(int(side["n_samples"]) for side in step.data.account.values())


def _before(steps: list[RunCuration], n_before: int) -> Json:
    """Shares before: of misaligned samples, as the audit has them, and of copies."""
    before: dict[str, Any] = {}
    agreement = [read_json(step.data.folder / "alignment.json") for step in steps]
    both = [one.get("n_both_tagged") for one in agreement]
    if all(isinstance(n, int) for n in both) and sum(both):
        agreeing = sum(one["n_agreeing"] for one in agreement)
        before["misaligned"] = 1 - agreeing / sum(both)
    if all(step.copies is not None for step in steps) and n_before:
        n = sum(len(np.load(step.copies, allow_pickle=False)) for step in steps if step.copies)
        before["copies"] = n / n_before
    return before
