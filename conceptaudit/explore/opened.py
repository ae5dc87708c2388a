"""An audit that is looked at: its counts and tags, asked through DuckDB where they lie."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from conceptaudit.artifacts import read_json
from conceptaudit.errors import ConceptAuditError, DataError
from conceptaudit.records import Float32Array, Int64Array
from conceptaudit.report.formatting import dataset_name
from conceptaudit.report.inputs import RunRecord, read_run
from conceptaudit.text.wordnet import is_mainly

if TYPE_CHECKING:
    import duckdb

MEMORY = "200MB"
"""Of DuckDB; it spills to disk beyond."""

MOST_TAGS = 2_000_000
"""Tags of a concept that are looked at: of more, the first."""

MOST_LOADED = 10_000_000
"""Tags that are kept in memory, 160 MB; of larger runs the files are read for every concept."""

KEPT_CONCEPTS = 24
"""Concepts whose tags are kept in memory."""

SIDES = ("text", "image")
STAGES = (*SIDES, "mentions")
"""Tables of tags that a run may have."""

Columns = dict[str, np.ndarray]

HEAD, MIDDLE, TAIL, NEVER = "head", "middle", "tail", "never"
TAIL_HOLDS = 0.01
HEAD_HOLDS = 0.5
"""The tail is the rarest concepts that share a hundredth of all finds, the head the most frequent
that share half of them."""


class GoneError(DataError):
    """A run whose files were removed or changed while it was looked at."""


@dataclass(frozen=True, kw_only=True)  # no slots: `both` is computed once
class ConceptTags:
    """The samples of one concept: sorted ids of those named and of those tagged."""

    text: Int64Array
    image: Int64Array
    scores: Float32Array  # of the images: cosine similarity, or whatever the tagger gave

    @cached_property
    def both(self) -> Int64Array:
        """Samples with the concept on both sides."""
        return np.intersect1d(self.text, self.image, assume_unique=True)


@dataclass(slots=True)
class SampleTags:
    """The tags of one sample: scores by concept id on either side."""

    text: dict[int, float] = field(default_factory=dict)
    image: dict[int, float] = field(default_factory=dict)


class LoadedTags:
    """All tags of one side, so that those of a concept are slices: some of every file."""

    def __init__(self, paths: Sequence[str]) -> None:
        self._files = []
        for path in paths:
            table = pq.read_table(path, columns=["concept_id", "sample_id", "score"])
            concepts, samples, scores = (column.to_numpy() for column in table.columns)
            order = np.argsort(concepts, kind="stable")
            scores = scores[order].astype(np.float32)
            self._files.append((concepts[order], samples[order], scores))

    def of(self, concept: int) -> tuple[Int64Array, Float32Array]:
        """Find the samples with a concept and their scores."""
        samples, scores = [np.empty(0, np.int64)], [np.empty(0, np.float32)]
        for concepts, ids, values in self._files:
            first, end = np.searchsorted(concepts, [concept, concept + 1])
            samples.append(ids[first:end])
            scores.append(values[first:end])
        return np.concatenate(samples), np.concatenate(scores)

    def of_samples(self, wanted: Sequence[int]) -> Columns:
        """Find the tags of some samples."""
        parts: list[list[np.ndarray]] = [[np.empty(0, np.int64)] for _ in range(3)]
        for file in self._files:
            rows = np.isin(file[1], wanted)
            for part, column in zip(parts, file, strict=True):
                part.append(column[rows])
        names = ("concept_id", "sample_id", "score")
        return {n: np.concatenate(part) for n, part in zip(names, parts, strict=True)}


class OpenRun:
    """One finished audit, read-only."""

    def __init__(self, folder: Path, slug: str) -> None:
        self.record: RunRecord = read_run(folder)
        self.folder = folder
        self.slug = slug
        self._lock = threading.Lock()
        self._tags: OrderedDict[int, ConceptTags] = OrderedDict()
        self._loaded: dict[str, LoadedTags] = {}
        self._is_loading = False
        self._kinds: dict[str, np.ndarray] = {}
        # now, so that the first page with tags does not wait for it
        self._connection = _connect()
        rows = read_json(folder / "concepts.json")
        self._spellings = [(row["concept"], *map(str, row.get("aliases") or ())) for row in rows]

    @property
    def name(self) -> str:
        """The dataset's name."""
        return dataset_name(self.record.frequencies.source)

    @property
    def table(self) -> pd.DataFrame:
        """One row per concept, in the order of their ids."""
        return self.record.table

    @property
    def has_text(self) -> bool:
        """Whether captions were tagged."""
        return "n_text" in self.record.counted

    @property
    def has_images(self) -> bool:
        """Whether images were tagged."""
        return "n_image" in self.record.counted

    @cached_property
    def ids(self) -> dict[str, int]:
        """Concept ids by name."""
        return {name: place for place, name in enumerate(self.record.concepts)}

    def phrases(self, concept: int) -> tuple[str, ...]:
        """Name and aliases of a concept."""
        return self._spellings[concept]

    @cached_property
    def row_of(self) -> np.ndarray:
        """Row of the frequency table by concept id."""
        names = pd.Index(self.table["concept"].astype("str"))
        return names.get_indexer(pd.Index(self.record.concepts))

    @cached_property
    def folded_names(self) -> pd.Series[str]:
        """Names by row of the table, in lower case, as a search compares them."""
        return self.table["concept"].astype("str").str.casefold()

    def row(self, concept: int) -> dict[str, Any]:
        """Return the counts of one concept; what is not known is None."""
        row = self.table.iloc[int(self.row_of[concept])].to_dict()
        return {str(name): None if pd.isna(value) else value for name, value in row.items()}

    @cached_property
    def tiers(self) -> np.ndarray:
        """Head, middle, tail or never, by row of the table."""
        counts = self.table[self.record.strictest].to_numpy(np.int64)
        order = np.argsort(-counts, kind="stable")
        share = np.cumsum(counts[order]) / max(int(counts.sum()), 1)
        tiers = np.empty(len(counts), dtype=object)
        before = share - counts[order] / max(int(counts.sum()), 1)
        names = np.where(before < HEAD_HOLDS, HEAD, np.where(share > 1 - TAIL_HOLDS, TAIL, MIDDLE))
        tiers[order] = names
        tiers[counts == 0] = NEVER
        return tiers

    @cached_property
    def ranks(self) -> np.ndarray:
        """Rank by the strictest count, from 1, equal counts in the order of the table."""
        counts = self.table[self.record.strictest].to_numpy(np.int64)
        ranks = np.empty(len(counts), dtype=np.int64)
        ranks[np.argsort(-counts, kind="stable")] = np.arange(1, len(counts) + 1)
        return ranks

    def of_kind(self, kind: str) -> np.ndarray:
        """Whether each row's concept is, in its main sense, a kind of a noun."""
        with self._lock:
            known = self._kinds.get(kind)
        if known is None:
            synsets = self.table.get("synset", pd.Series([None] * len(self.table)))
            known = np.array(
                [
                    is_mainly(str(name), kind, synset if isinstance(synset, str) else None)
                    for name, synset in zip(self.table["concept"], synsets, strict=True)
                ]
            )
            with self._lock:
                self._kinds[kind] = known
        return known

    # -- tags ----------------------------------------------------------------------------------

    def query(self, sql: str, parameters: list[Any] | dict[str, Any] | None = None) -> Columns:
        """Ask DuckDB, in a cursor of this call's own; columns as arrays."""
        import duckdb

        try:
            cursor = self._connection.cursor()
            found = cursor.execute(sql, parameters or []).fetchnumpy()
        except duckdb.Error as error:
            if (self.folder / "manifest.json").is_file():
                raise DataError(
                    f"The tags of {self.folder} cannot be read: {str(error).splitlines()[0]}"
                ) from error
            raise GoneError(f"{self.folder} is no longer there.") from error
        return {name: np.asarray(column) for name, column in found.items()}

    def files(self, stage: str) -> list[str]:
        """Tag tables of a stage that are there."""
        names = (self.folder / stage / f"{s}.parquet" for s in self.record.manifest["shards"])
        return [str(path) for path in names if path.is_file()]

    @cached_property
    def _sides(self) -> dict[str, list[str]]:
        return {stage: self.files(stage) for stage in STAGES}

    def _tagged(self, stages: Sequence[str], columns: str, where: str, *values: Any) -> Columns:
        """Ask the tag tables of some stages at once; ``stage`` says where a row is from."""
        stages = [stage for stage in stages if self._sides[stage]]
        if not stages:
            return {name: np.empty(0, np.int64) for name in ("stage", *columns.split(", "))}
        parts = (  # only names and numbers of ours are put into the text
            f"(SELECT {STAGES.index(stage)} AS stage, {columns} FROM read_parquet(?) WHERE {where})"  # noqa: S608
            for stage in stages
        )
        parameters = [one for stage in stages for one in (self._sides[stage], *values)]
        return self.query(" UNION ALL ".join(parts), parameters)

    def load_tags(self) -> None:
        """Read all tags into memory where they are few enough; pages do not wait for it."""
        with suppress(OSError, pa.ArrowException):  # pages say what is wrong with the run
            n_tags = sum(pq.read_metadata(path).num_rows for s in SIDES for path in self._sides[s])
            if n_tags <= MOST_LOADED:
                self._loaded = {stage: LoadedTags(self._sides[stage]) for stage in SIDES}

    def tags(self, concept: int) -> ConceptTags:
        """Find the samples of a concept."""
        with self._lock:
            if concept in self._tags:
                self._tags.move_to_end(concept)
                return self._tags[concept]
            if not self._is_loading:  # who looks at one concept will look at more
                self._is_loading = True
                threading.Thread(target=self.load_tags, daemon=True).start()
        sides = []
        for stage in SIDES:
            if self._loaded:
                samples, scores = self._loaded[stage].of(concept)
            else:
                where = f"concept_id = ? LIMIT {MOST_TAGS}"
                rows = self._tagged([stage], "sample_id, score", where, concept)
                samples, scores = rows["sample_id"].astype(np.int64), rows["score"]
            order = np.argsort(samples)
            sides.append((samples[order], scores[order].astype(np.float32)))
        tags = ConceptTags(text=sides[0][0], image=sides[1][0], scores=sides[1][1])
        with self._lock:
            self._tags[concept] = tags
            while len(self._tags) > KEPT_CONCEPTS:
                self._tags.popitem(last=False)
        return tags

    def tags_of(self, samples: Sequence[int]) -> dict[int, SampleTags]:
        """All concepts of some samples, on both sides."""
        found = {sample: SampleTags() for sample in samples}
        for stage in SIDES:
            if self._loaded:
                rows = self._loaded[stage].of_samples(samples)
            else:
                columns = "sample_id, concept_id, score"
                rows = self._tagged([stage], columns, _is_one_of(samples))
            names = ("sample_id", "concept_id", "score")
            for sample, concept, score in zip(*(rows[n].tolist() for n in names), strict=True):
                side = found[sample].text if stage == "text" else found[sample].image
                side[concept] = score
        return found

    def keys_of(self, samples: Sequence[int]) -> dict[int, str]:
        """Look up external keys of tagged samples."""
        keys: dict[int, str] = {}
        for (
            stage
        ) in STAGES:  # one after the other: most samples are in the first, and keys are long
            missing = [sample for sample in samples if sample not in keys]
            if missing:
                rows = self._tagged([stage], "sample_id, key", _is_one_of(missing))
                keys.update(zip(rows["sample_id"].tolist(), map(str, rows["key"]), strict=True))
        return keys

    def keys_with(self, concept: int, keys: list[str]) -> tuple[frozenset[str], frozenset[str]]:
        """Find those of some keys whose captions name a concept or a kind, and those tagged."""
        where = "concept_id = ? AND key IN (SELECT unnest(?::VARCHAR[]))"
        named, tagged = (
            self._tagged(stages, "key", where, concept, keys)["key"]
            for stages in (("text", "mentions"), ("image",))
        )
        return frozenset(map(str, named)), frozenset(map(str, tagged))

    def sample_of(self, key: str) -> int | None:
        """Find a tagged sample by its key."""
        found = self._tagged(STAGES, "sample_id", "key = ?", key)["sample_id"]
        return int(found.min()) if len(found) else None

    def together(self, concept: int, *, most: int = 12) -> list[tuple[int, int]]:
        """Find the concepts that captions (or images) have most beside one, with counts."""
        tags = self.tags(concept)
        samples, stage = (tags.text, "text") if self.has_text else (tags.image, "image")
        if not len(samples) or not self._sides[stage]:
            return []
        rows = self.query(
            "WITH tags AS (SELECT sample_id, concept_id FROM read_parquet($files)), "
            "mine AS (SELECT sample_id FROM tags WHERE concept_id = $concept) "
            "SELECT concept_id, count(*) AS n FROM tags SEMI JOIN mine USING (sample_id) "
            "WHERE concept_id <> $concept GROUP BY concept_id ORDER BY n DESC, concept_id "
            "LIMIT $most",
            {"files": self._sides[stage], "concept": concept, "most": most},
        )
        return list(zip(rows["concept_id"].tolist(), rows["n"].tolist(), strict=True))

    def side_table(self, name: str, column: str, concept: str) -> pd.DataFrame | None:
        """Rows of an optional table of the run about one concept; None where there is none."""
        path = self.folder / name
        if not path.is_file():
            return None
        try:
            from conceptaudit.reading import read_parquet

            return read_parquet(path, filters=[(column, "==", concept)]).reset_index(drop=True)
        except ConceptAuditError:
            return None

    @cached_property
    def copies(self) -> dict[int, int]:
        """Group of every sample whose image occurs more than once, as far as was looked."""
        path = self.folder / "duplicates.parquet"
        if not path.is_file():
            return {}
        rows = self.query('SELECT sample_id, "group" AS g FROM read_parquet(?)', [str(path)])
        return dict(zip(rows["sample_id"].tolist(), rows["g"].tolist(), strict=True))

    def close(self) -> None:
        """Let DuckDB go."""
        self._connection.close()


def _connect() -> duckdb.DuckDBPyConnection:
    import duckdb

    connection = duckdb.connect(":memory:")
    connection.execute(f"SET memory_limit = '{MEMORY}'")
    connection.execute("SET threads = 2")
    connection.execute("SET enable_object_cache = true")
    return connection


def _is_one_of(samples: Sequence[int]) -> str:
    """Write a condition on sample ids.

    The numbers stand in the text: DuckDB then skips the blocks whose range holds none of them,
    which it does not for a list that is a parameter.
    """
    return f"sample_id IN ({', '.join(str(int(sample)) for sample in samples) or 'NULL'})"
