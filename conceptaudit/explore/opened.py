"""An audit that is looked at: its counts and tags, asked through DuckDB where they lie."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

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

KEPT_CONCEPTS = 24
"""Concepts whose tags are kept in memory."""

HEAD, MIDDLE, TAIL, NEVER = "head", "middle", "tail", "never"
TAIL_HOLDS = 0.01
HEAD_HOLDS = 0.5
"""The tail is the rarest concepts that share a hundredth of all finds, the head the most frequent
that share half of them."""


class GoneError(DataError):
    """A run whose files were removed or changed while it was looked at."""


@dataclass(frozen=True, kw_only=True)  # no slots: `both` is computed once
class ConceptTags:
    """The samples of one concept.

    Parameters
    ----------
    text, image : numpy.ndarray of int64, sorted
        Ids of samples whose caption names it, whose image is tagged with it.
    scores : numpy.ndarray of float32, shape of `image`
        Cosine similarity, or whatever the tagger gave.
    """

    text: Int64Array
    image: Int64Array
    scores: Float32Array

    @cached_property
    def both(self) -> Int64Array:
        """Samples with the concept on both sides."""
        return np.intersect1d(self.text, self.image, assume_unique=True)


class OpenRun:
    """One finished audit, read-only.

    Parameters
    ----------
    folder : Path
        Its run folder.
    slug : str
        Its name in addresses.

    Raises
    ------
    ConfigError, DataError
        The folder holds no finished audit, or is damaged.
    """

    def __init__(self, folder: Path, slug: str) -> None:
        self.record: RunRecord = read_run(folder)
        self.folder = folder
        self.slug = slug
        self._lock = threading.Lock()
        self._tags: OrderedDict[int, ConceptTags] = OrderedDict()
        self._kinds: dict[str, np.ndarray] = {}
        self._connection: duckdb.DuckDBPyConnection | None = None

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

    @cached_property
    def _spellings(self) -> list[tuple[str, ...]]:
        rows = read_json(self.folder / "concepts.json")
        return [(row["concept"], *map(str, row.get("aliases") or ())) for row in rows]

    def phrases(self, concept: int) -> tuple[str, ...]:
        """Name and aliases of a concept."""
        return self._spellings[concept]

    @cached_property
    def row_of(self) -> np.ndarray:
        """Row of the frequency table by concept id."""
        rows = np.zeros(len(self.record.concepts), dtype=np.int64)
        rows[[self.ids[str(name)] for name in self.table["concept"]]] = np.arange(len(self.table))
        return rows

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

    def query(
        self, sql: str, parameters: list[Any] | dict[str, Any] | None = None
    ) -> dict[str, np.ndarray]:
        """Ask DuckDB, in a cursor of this call's own; columns as arrays.

        Raises
        ------
        GoneError
            The run's files are no longer what they were.
        """
        import duckdb

        with self._lock:
            if self._connection is None:
                self._connection = duckdb.connect(":memory:")
                self._connection.execute(f"SET memory_limit = '{MEMORY}'")
                self._connection.execute("SET threads = 2")
                self._connection.execute("SET enable_object_cache = true")
            cursor = self._connection.cursor()
        try:
            found = cursor.execute(sql, parameters or []).fetchnumpy()
        except duckdb.Error as error:
            if (self.folder / "manifest.json").is_file():
                raise DataError(
                    f"The tags of {self.folder} cannot be read: {str(error).splitlines()[0]}"
                ) from error
            raise GoneError(f"{self.folder} is no longer there.") from error
        finally:
            cursor.close()
        return {name: np.asarray(column) for name, column in found.items()}

    def files(self, stage: str) -> list[str]:
        """Tag tables of a stage that are there."""
        names = (self.folder / stage / f"{s}.parquet" for s in self.record.manifest["shards"])
        return [str(path) for path in names if path.is_file()]

    @cached_property
    def _sides(self) -> dict[str, list[str]]:
        return {stage: self.files(stage) for stage in ("text", "image", "mentions")}

    def tags(self, concept: int) -> ConceptTags:
        """Find the samples of a concept."""
        with self._lock:
            if concept in self._tags:
                self._tags.move_to_end(concept)
                return self._tags[concept]
        text, _ = self._side("text", concept)
        image, scores = self._side("image", concept)
        tags = ConceptTags(text=text, image=image, scores=scores)
        with self._lock:
            self._tags[concept] = tags
            while len(self._tags) > KEPT_CONCEPTS:
                self._tags.popitem(last=False)
        return tags

    def _side(self, stage: str, concept: int) -> tuple[Int64Array, Float32Array]:
        files = self._sides[stage]
        if not files:
            return np.empty(0, np.int64), np.empty(0, np.float32)
        found = self.query(
            "SELECT sample_id, score FROM read_parquet(?) WHERE concept_id = ? LIMIT ?",
            [files, concept, MOST_TAGS],
        )
        ids, places = np.unique(found["sample_id"].astype(np.int64), return_index=True)
        return ids, found["score"].astype(np.float32)[places]

    def tags_of(self, samples: list[int]) -> dict[int, dict[str, dict[int, float]]]:
        """All concepts of some samples: by sample, side and concept id."""
        found: dict[int, dict[str, dict[int, float]]] = {
            sample: {"text": {}, "image": {}} for sample in samples
        }
        for stage in ("text", "image"):
            files = self._sides[stage]
            if not files or not samples:
                continue
            rows = self.query(
                "SELECT sample_id, concept_id, score FROM read_parquet(?) "
                "WHERE sample_id IN (SELECT unnest(?::BIGINT[]))",
                [files, samples],
            )
            for sample, concept, score in zip(
                rows["sample_id"].tolist(),
                rows["concept_id"].tolist(),
                rows["score"].tolist(),
                strict=True,
            ):
                found[sample][stage][concept] = score
        return found

    def keys_of(self, samples: list[int]) -> dict[int, str]:
        """Look up external keys of tagged samples."""
        keys: dict[int, str] = {}
        for stage in ("text", "image", "mentions"):
            missing = [sample for sample in samples if sample not in keys]
            if not missing or not self._sides[stage]:
                continue
            rows = self.query(
                "SELECT DISTINCT sample_id, key FROM read_parquet(?) "
                "WHERE sample_id IN (SELECT unnest(?::BIGINT[]))",
                [self._sides[stage], missing],
            )
            keys.update(zip(rows["sample_id"].tolist(), map(str, rows["key"]), strict=True))
        return keys

    def keys_with(self, concept: int, keys: list[str]) -> tuple[frozenset[str], frozenset[str]]:
        """Find those of some keys whose captions name a concept or a kind, and those tagged."""
        sides = []
        for stages in (("text", "mentions"), ("image",)):
            found: set[str] = set()
            for files in (self._sides[stage] for stage in stages):
                if files:
                    rows = self.query(
                        "SELECT DISTINCT key FROM read_parquet(?) "
                        "WHERE concept_id = ? AND key IN (SELECT unnest(?::VARCHAR[]))",
                        [files, concept, keys],
                    )
                    found.update(map(str, rows["key"]))
            sides.append(frozenset(found))
        return sides[0], sides[1]

    def sample_of(self, key: str) -> int | None:
        """Find a tagged sample by its key."""
        for files in self._sides.values():
            if files:
                rows = self.query(
                    "SELECT min(sample_id) AS s FROM read_parquet(?) WHERE key = ?", [files, key]
                )
                if not np.ma.is_masked(rows["s"]) and not pd.isna(rows["s"][0]):
                    return int(rows["s"][0])
        return None

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
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None
