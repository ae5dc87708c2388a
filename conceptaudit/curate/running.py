"""The stages of a curation over one audited run, from its samples to a draw."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from conceptaudit.artifacts import Json, ShardStore, digest_of, file_digest, write_npy
from conceptaudit.auditing.sources import with_columns
from conceptaudit.counts import counts_of
from conceptaudit.curate.audited import AuditedData
from conceptaudit.curate.balance import (
    entry_probability,
    tail_share,
    threshold_of_share,
)
from conceptaudit.curate.drawing import (
    DRAWN,
    LEFT,
    ORDER,
    UNIT,
    CountLeft,
    DrawShard,
    LeftSamples,
    Rule,
)
from conceptaudit.curate.expected import DrawTotals
from conceptaudit.curate.expression import Condition
from conceptaudit.curate.removal import (
    Removed,
    copied_ids,
    duplicates_of,
    ids_left,
    leaked_ids,
    read_excluded,
    repeated_ids,
)
from conceptaudit.curate.scores import ScoreTable, hash_keys
from conceptaudit.curate.screening import NAME as SCREENED
from conceptaudit.curate.screening import ScreenShard
from conceptaudit.curate.vectors import (
    MOST_SAMPLED,
    PER_CLUSTER,
    EmbeddedSamples,
    FourierFeatures,
    MeasureDistance,
    SumFeatures,
    WeighByDensity,
    cluster_centres,
    median_distance,
    pruned_ids,
)
from conceptaudit.datasets.base import Shard
from conceptaudit.engine import open_engine, run_shards
from conceptaudit.options.curate import HARD, CurateOptions
from conceptaudit.options.engine import EngineChoice
from conceptaudit.progress import Progress

FloatArray = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(slots=True, kw_only=True)
class RunCuration:
    """One audited run on its way to a draw.

    Parameters
    ----------
    data : AuditedData
    options : CurateOptions
    folder : Path
        Of the curation: stages of several runs lie in it by number.
    number : int
        Of the run.
    scores : Path or None
        Table of scores by key.
    engine : EngineChoice
    progress : Progress
    """

    data: AuditedData
    options: CurateOptions
    folder: Path
    number: int
    scores: Path | None
    engine: EngineChoice
    progress: Progress
    notes: list[str] = field(default_factory=list)
    removed: Removed = field(default_factory=Removed)
    screened: ShardStore = field(init=False)
    left: LeftSamples = field(init=False)
    counts: dict[str, FloatArray] = field(init=False)
    n_left: int = 0
    copies: Path | None = None
    about: dict[str, Json] = field(default_factory=dict)

    def _place(self, name: str) -> Path:
        return self.folder / f"{name}-{self.number}"

    def _store(self, name: str, *rests_on: Json) -> ShardStore:
        return ShardStore(folder=self._place(name), digest=digest_of([name, *rests_on]))

    def _run(
        self, task: Callable[[Shard], None], store: ShardStore, shards: tuple[Shard, ...]
    ) -> None:
        engine = open_engine(self.engine, n_items=len(shards), folder=self.folder)
        run_shards(task, store, shards, engine=engine, progress=self.progress)

    def screen(self) -> None:
        """List the samples, and apply the conditions and the addresses of evaluation sets."""
        options, data = self.options, self.data
        scores = None if self.scores is None else ScoreTable.read(self.scores, self.folder)
        images = read_excluded(options.exclude, data)
        conditions = tuple(Condition(text) for text in options.keep)
        names = sorted({name for one in conditions for name in one.columns})
        names = [name for name in names if scores is None or name not in scores.names]
        store = self._store(
            SCREENED,
            data.digest,
            data.dataset.settings,
            list(options.keep),
            None if scores is None else scores.digest,
            sorted(images.urls),
        )
        task = ScreenShard(
            dataset=with_columns(data.dataset, names),
            store=store,
            conditions=conditions,
            scores=scores,
            urls=images.urls,
        )
        task.check_columns(data.shards)
        self._run(task, store, data.shards)
        self.screened = store
        self.left = LeftSamples(screened=store)
        if images.vectors is not None:
            leaks = leaked_ids(self._embedded(), images.vectors, options.exclude_similarity)
            self._remove("exclude: same image", leaks)

    def _embedded(self) -> EmbeddedSamples:
        source, shards = self.data.embedded()
        return EmbeddedSamples(source=source, shards=shards, left=self.left)

    def _remove(self, reason: str, ids: np.ndarray[Any, np.dtype[np.int64]]) -> None:
        self.removed.add(reason, ids)
        path = self.folder / f"removed-{self.number}.npy"
        write_npy(path, self.removed.ids)
        self.left = replace(self.left, removed=path)

    def remove(self, seen: list[np.ndarray[Any, np.dtype[np.uint64]]]) -> None:
        """Drop what other runs hold already, copies, and the most or least typical images.

        Parameters
        ----------
        seen : list of numpy.ndarray of uint64
            Hashed keys of earlier runs of a mixture; this run's are added.
        """
        options, data = self.options, self.data
        names = [shard.name for shard in data.shards]
        if seen or self.number:
            known = np.concatenate(seen)
            repeats = []
            for name in names:
                ids, inside = self.left.ids(name)
                hashes = hash_keys(self.left.keys(name).tolist())
                repeats.append(ids[inside & np.isin(hashes, known)])
            self._remove("in an earlier run", np.concatenate(repeats))
        if options.drop_copies or data.duplicates() is not None:
            table = duplicates_of(data)
            path = self.folder / f"copies-{self.number}.npy"
            write_npy(path, repeated_ids(table))
            self.copies = path
            if options.drop_copies:
                inside = ids_left(self.left, names, table["sample_id"].to_numpy(np.int64))
                self._remove("copy of another image", copied_ids(table, inside))
        if options.prototype_prune is not None:
            self._prune(options.prototype_prune, names)

    def keys(self) -> np.ndarray[Any, np.dtype[np.uint64]]:
        """Hashed keys of all samples that screening left."""
        names = [shard.name for shard in self.data.shards]
        return np.concatenate([hash_keys(self.left.keys(name).tolist()) for name in names])

    def _prune(self, share: float, names: list[str]) -> None:
        options, samples = self.options, self._embedded()
        size = min(MOST_SAMPLED, PER_CLUSTER * options.clusters)
        centres = cluster_centres(samples.sample(size), options.clusters, options.seed)
        store = self._store(
            "distance", self.screened.digest, self._removal_digest(), options.clusters, options.seed
        )
        task = MeasureDistance(samples=samples, centres=centres, store=store)
        self._run(task, store, samples.shards)
        ids = [self.left.ids(name)[0] for name in names]
        distances = [
            np.load(path, allow_pickle=False)
            if (path := store.path(name, ".npy")).exists()
            else np.full(len(own), np.nan, dtype=np.float32)
            for name, own in zip(names, ids, strict=True)
        ]
        pruned = pruned_ids(ids, distances, share, hard=options.prune_keep == HARD)
        typical = "most" if options.prune_keep == HARD else "least"
        self._remove(f"prototype: {typical} typical of its cluster", pruned)

    def _removal_digest(self) -> str | None:
        return None if self.left.removed is None else file_digest(self.left.removed)

    def count(self) -> None:
        """Count what is left, and weigh it by density where asked."""
        data = self.data
        if self.options.density:
            self._weigh()
        store = self._store(LEFT, self.screened.digest, self._removal_digest())
        self._run(CountLeft(data=data, left=self.left, store=store), store, data.shards)
        n = len(data.frequencies.table)
        sums: dict[str, np.ndarray[Any, np.dtype[np.int64]]] = {}
        for shard in data.shards:
            record = store.read(shard.name)
            self.n_left += record["n_left"]
            for side, (ids, parts) in record["counts"].items():
                total = sums.setdefault(side, np.zeros(n, dtype=np.int64))
                total[np.asarray(ids, dtype=np.intp)] += np.asarray(parts, dtype=np.int64)
        self.counts = {side: sums_of / UNIT for side, sums_of in sums.items()}

    def _weigh(self) -> None:
        options, samples = self.options, self._embedded()
        drawn = samples.sample(2_000)
        bandwidth = options.bandwidth or median_distance(drawn) / 2.0
        self.about["bandwidth"] = bandwidth
        features = FourierFeatures.draw(drawn.shape[1], bandwidth, options.seed)
        rests_on = (self.screened.digest, self._removal_digest(), bandwidth, options.seed)
        store = self._store("features", *rests_on)
        self._run(
            SumFeatures(samples=samples, features=features, store=store), store, samples.shards
        )
        n, total = 0, np.zeros(len(features.phases))
        for shard in samples.shards:
            n += store.read(shard.name)["n"]
            total += np.load(store.path(shard.name, ".npy"), allow_pickle=False)
        mean = (total / max(n, 1)).astype(np.float32)
        weights = self._store("density", *rests_on)
        task = WeighByDensity(samples=samples, features=features, mean=mean, store=weights)
        self._run(task, weights, samples.shards)
        self.left = replace(self.left, density=weights)

    def rule(self) -> Rule:
        """Decide how samples are drawn from what was counted."""
        options, data = self.options, self.data
        side, column = data.side_of(options.count)
        ratio = data.corrected_ratio(column)
        counts = self.counts[side] * (1.0 if ratio is None else ratio)
        self.about |= {"count": column, "side": side}
        probability = None
        if options.caps:
            cap = options.cap
            if options.tail_share is not None:
                cap = threshold_of_share(counts, options.tail_share)
            cap = float(cap or 0.0)
            probability = entry_probability(counts, cap)
            self.about |= {"cap": cap, "tail_share": tail_share(counts, cap)}
            self.about["n_capped"] = int((counts > cap).sum())
        return Rule(
            side=side,
            probability=probability,
            counts=np.maximum(counts, 1.0) if options.temper is not None else None,
            exponent=options.temper or 0.0,
            drops_untagged=options.drops_untagged,
            seed=options.seed,
            stream=self.number,
        )

    def _rests_on(self, rule: Rule) -> list[Json]:
        arrays = [
            None if one is None else digest_of(one.tolist())
            for one in (rule.probability, rule.counts)
        ]
        rest = [rule.side, rule.exponent, rule.drops_untagged, rule.seed, rule.stream]
        density = None if self.left.density is None else self.left.density.digest
        return [self.screened.digest, self._removal_digest(), density, *arrays, *rest]

    def orders(self, rule: Rule) -> FloatArray:
        """Return the order in which what the cap keeps is drawn, of all shards."""
        store = self._store(ORDER, *self._rests_on(rule))
        task = DrawShard(data=self.data, left=self.left, rule=rule, store=store, orders=True)
        self._run(task, store, self.data.shards)
        paths = [store.path(shard.name, ".npy") for shard in self.data.shards]
        return np.concatenate([np.load(path, allow_pickle=False) for path in paths])

    def draw(self, rule: Rule, *, writes: bool) -> tuple[ShardStore, DrawTotals]:
        """Draw, and add up the accounts."""
        copies = None if self.copies is None else file_digest(self.copies)
        store = self._store(
            DRAWN, *self._rests_on(rule), rule.threshold, rule.sized, copies, writes
        )
        task = DrawShard(
            data=self.data,
            left=self.left,
            rule=rule,
            store=store,
            writes=writes,
            copies=self.copies,
        )
        self._run(task, store, self.data.shards)
        records = (store.read(shard.name) for shard in self.data.shards)
        return store, DrawTotals.of(records, len(self.data.frequencies.table))

    def before(self, column: str) -> FloatArray:
        """Return a raw count of the audit; NaN where there is none."""
        return counts_of(self.data.frequencies, column)

    def account(self, totals: DrawTotals) -> list[tuple[str, str, int]]:
        """Account for every sample: step, reason, samples dropped; then what is kept.

        Returns
        -------
        list of (step, reason, n)
        """
        rows: list[tuple[str, str, int]] = []
        read: dict[str, int] = {}
        n_read = n_screened = 0
        for shard in self.data.shards:
            record = self.screened.read(shard.name)
            n_read += record["n_samples"]
            n_screened += record["n_left"]
            for reason, n in record["dropped"].items():
                read[reason] = read.get(reason, 0) + n
        rows.append(("read", "samples in", n_read))
        ordered = [f"keep: {text}" for text in self.options.keep]
        ordered = [name for text in ordered for name in (text, f"{text} (no value)")]
        others = sorted(set(read) - set(ordered))
        for reason in [*[one for one in others if one.startswith("unreadable")], *ordered]:
            if reason in read:
                step = "read" if reason.startswith("unreadable") else "keep"
                rows.append((step, reason, -read[reason]))
        if "exclude: same URL" in read:
            rows.append(("exclude", "exclude: same URL", -read["exclude: same URL"]))
        steps = {"exclude": "exclude", "in an": "mixture", "copy": "drop_copies"}
        for reason, n in self.removed.account.items():
            name = next((s for start, s in steps.items() if reason.startswith(start)), "prune")
            rows.append((name, reason, -n))
        if totals.n_untagged:
            rows.append(("untagged", "no concept", -totals.n_untagged))
        capped = totals.n_left - totals.n_untagged - totals.n_within
        if self.options.caps:
            rows.append(("cap", "not drawn: all of its concepts are frequent", -capped))
        if totals.n_within != totals.n_drawn:
            rows.append(("size", "not drawn", totals.n_drawn - totals.n_within))
        rows.append(("kept", "samples out", totals.n_drawn))
        return rows
