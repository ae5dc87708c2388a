"""Counts of a finished audit, put right by a judged sample, without another pass over the data."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from conceptaudit.artifacts import (
    MANIFEST,
    exclusive,
    file_digest,
    read_json,
    write_csv,
    write_parquet,
)
from conceptaudit.auditing.calibration_data import ImageCells
from conceptaudit.display import quantity
from conceptaudit.errors import ConfigError, DataError
from conceptaudit.frequency.judged import (
    ASSUMED,
    N_CELLS,
    JudgedSample,
    count_judged,
    predicted_shares,
    share_judged,
)
from conceptaudit.image.calibration import Calibration
from conceptaudit.image.calibration.labels import read_labels
from conceptaudit.reading import concept_names, exact_texts, read_parquet
from conceptaudit.records import Concept, ConceptVocabulary
from conceptaudit.store.checking import check_written
from conceptaudit.store.partials import ScratchFolder
from conceptaudit.store.run_folder import replace_files
from conceptaudit.store.shards import stage_tables

CELLS_FILE = "image_cells.parquet"
CELL_COLUMNS = ("n_both", "n_named", "n_tagged", "n_neither")
SHARE_COLUMNS = ("p_both", "p_named", "p_tagged", "p_neither")
IMAGE_SIDE, TEXT_SIDE = "image", "text"

JUDGED_COLUMNS = (
    "key", "concept", "present", "side", "sample_id", "caption", "stratum", "n_stratum",
    "inclusion_probability",
)  # fmt: skip
"""What `judge` writes; of a file only the first three must be there, see docs/columns.md."""

ADDED = (
    "n_image_judged", "n_image_judged_low", "n_image_judged_high", "n_joint_judged",
    "n_joint_judged_low", "n_joint_judged_high", "n_image_judged_sample", "n_image_judged_shown",
    "judged_method", "n_text_judged", "n_text_judged_low", "n_text_judged_high",
    "n_text_judged_sample", "n_text_judged_relevant",
)  # fmt: skip


def cell_table(
    names: Sequence[str], cells: ImageCells, calibration: Calibration | None
) -> pd.DataFrame:
    """Lay out images by what captions and tags say, and what is expected of each cell."""
    named, tagged, both = cells.named, cells.tagged, cells.both
    neither = cells.n_images - named - tagged + both
    sizes = np.stack([both, named - both, tagged - both, neither], axis=1)
    if calibration is None or not calibration.has_signal:
        shares = np.tile(ASSUMED, (len(names), 1))
    else:
        shares = predicted_shares(calibration.rates, calibration.prevalence)
    return pd.DataFrame(
        {
            "concept": pd.Series(list(names), dtype="str"),
            **{name: sizes[:, k].astype(np.int64) for k, name in enumerate(CELL_COLUMNS)},
            **{name: shares[:, k] for k, name in enumerate(SHARE_COLUMNS)},
        }
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """Judgements, one row per image (or sample) and concept."""

    # ``key``, ``concept_id``, ``present`` (bool), ``side``, ``stratum``, ``n_stratum`` (NaN where
    # the file tells no design), ``sample_id`` (-1 where it tells none)
    table: pd.DataFrame
    n_open: int  # rows without an answer


def read_judged(path: str | Path, names: Sequence[str]) -> Judged:
    """Read judgements: what `judge` wrote and somebody filled in, or labels."""
    file = Path(path)
    check_written(file)
    try:
        table = (
            read_parquet(file)
            if file.suffix == ".parquet"
            else exact_texts(pd.read_csv(file, dtype=str, keep_default_na=False))
        )
    except (OSError, ValueError) as error:
        raise DataError(f"Cannot read --judged {path}: {error}.") from error
    if "present" not in table:
        return _complete(file, names)
    missing = [name for name in ("key", "concept") if name not in table]
    if missing or table.empty:
        what = "no row" if table.empty else f"the columns {list(table)}"
        raise DataError(
            f"--judged needs a table with the columns 'key', 'concept' and 'present'. Got {what} "
            f"in {path} instead."
        )
    answers = table["present"].astype(str).str.strip().str.lower()
    answers = answers.replace({"nan": "", "<na>": "", "none": "", "true": "1", "false": "0"})
    # a column of numbers with gaps is read as floats
    answers = answers.replace({"1.0": "1", "0.0": "0"})
    wrong = ~answers.isin(["1", "0", ""])
    if bool(wrong.any()):
        row = int(np.flatnonzero(wrong)[0])
        raise DataError(
            f"'present' must be 1, 0 or empty. Got {table['present'].iloc[row]!r} in row "
            f"{row + 1} of {path} instead."
        )
    places = pd.Index(list(names)).get_indexer(pd.Index(table["concept"].astype(str)))
    if (places < 0).any():
        unknown = sorted(set(table["concept"].astype(str)[places < 0]))
        raise DataError(
            f"{path} judges {quantity(len(unknown), 'concept')} that the run did not count, such "
            f"as {unknown[:3]}. Use the names of its concepts.json."
        )
    side = table["side"].astype(str) if "side" in table else pd.Series([IMAGE_SIDE] * len(table))
    if not bool(side.isin([IMAGE_SIDE, TEXT_SIDE]).all()):
        raise DataError(f"'side' in {path} must be 'image' or 'text'.")
    judged = pd.DataFrame(
        {
            "key": table["key"].astype(str),
            "concept_id": places.astype(np.int64),
            "present": answers == "1",
            "side": side.to_numpy(),
            "stratum": _numbers(table, "stratum", 0),
            "n_stratum": _numbers(table, "n_stratum", np.nan),
            "sample_id": _numbers(table, "sample_id", -1),
        }
    )
    judged = judged[(answers != "").to_numpy()]
    same = ["side", "key", "concept_id", "sample_id"]
    # of an image one answer is enough, whichever of its samples was shown
    judged.loc[judged["side"] == IMAGE_SIDE, "sample_id"] = -1
    if len(judged.drop_duplicates(same)) != len(judged.drop_duplicates([*same, "present"])):
        raise DataError(f"{path} answers the same question twice, differently. Keep one answer.")
    judged = judged.drop_duplicates(same)
    return Judged(table=judged.reset_index(drop=True), n_open=int((answers == "").sum()))


def _numbers(table: pd.DataFrame, column: str, missing: float) -> np.ndarray:
    if column not in table:
        return np.full(len(table), missing)
    values = pd.to_numeric(table[column], errors="coerce").to_numpy(dtype=np.float64)
    return np.where(np.isnan(values), missing, values)


def _complete(file: Path, names: Sequence[str]) -> Judged:
    """Read complete labels: what is not listed of a listed image is not shown."""
    vocabulary = ConceptVocabulary(tuple(Concept(name=name) for name in names))
    labels = read_labels(file, vocabulary)
    keys = sorted(labels.shown)
    shown, _ = labels.tables(keys, len(names))
    table = pd.DataFrame(
        {
            "key": np.repeat(keys, len(names)),
            "concept_id": np.tile(np.arange(len(names)), len(keys)),
            "present": shown.ravel(),
            "side": IMAGE_SIDE,
            "stratum": 0.0,
            "n_stratum": np.nan,
            "sample_id": -1.0,
        }
    )
    return Judged(table=table, n_open=0)


def correct(
    run: str | Path, judged: str | Path, *, level: float | None = None
) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Put judged counts into the frequencies of a finished audit.

    Parameters
    ----------
    run : str or Path
        Its folder; ``frequencies.parquet`` and ``.csv`` are written anew.
    judged : str or Path
        See `read_judged`. A file without a design is taken for a simple random sample of images.
    level : float, optional
        Coverage of the intervals; the audit's by default.

    Returns
    -------
    table : pandas.DataFrame
        The frequencies.
    notes : tuple of str

    Raises
    ------
    ConfigError, DataError
        The folder holds no audit with image tags, or the judgements do not fit it.
    """
    folder = Path(run)
    if not (folder / MANIFEST).is_file():
        raise ConfigError(
            f"{run} is no finished audit: it holds no {MANIFEST}. Name the folder that "
            "'conceptaudit audit … -o RUN' wrote."
        )
    with exclusive(folder):
        for name in ("concepts.json", CELLS_FILE):
            check_written(folder / name)
        return put_judged(Path(run), judged, level=level)


def put_judged(
    folder: Path, judged: str | Path, *, level: float | None = None
) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Do what `correct` does in a folder that this process holds already."""
    names = concept_names(folder / "concepts.json")
    answers = read_judged(judged, names)
    table = read_parquet(folder / "frequencies.parquet")
    level = float(read_json(folder / MANIFEST)["level"]) if level is None else level
    added: dict[str, list[object]] = {name: [None] * len(names) for name in ADDED}
    rows = answers.table
    if bool((rows["side"] == IMAGE_SIDE).any()):
        _judge_images(folder, rows[rows["side"] == IMAGE_SIDE], added, level, str(judged))
    if bool((rows["side"] == TEXT_SIDE).any()):
        _judge_captions(table, rows[rows["side"] == TEXT_SIDE], added, level)
    for name in ADDED:
        old = table.get(name)
        new = pd.Series(added[name], dtype="str" if name == "judged_method" else "float64")
        if bool(new.isna().all()) and old is not None:
            continue  # an earlier file judged the other side
        if not bool(new.isna().all()):
            table[name] = new
    about = {"judged": {"file": str(judged), "sha256": file_digest(Path(judged))}}
    with ScratchFolder(folder) as scratch:
        files = {name: scratch / name for name in ("frequencies.parquet", "frequencies.csv")}
        write_parquet(files["frequencies.parquet"], table)
        write_csv(files["frequencies.csv"], table)
        replace_files(folder, files, about)
    notes = []
    if answers.n_open:
        notes.append(
            f"Without an answer, and not counted: {quantity(answers.n_open, 'row')} of {judged}."
        )
    if bool(rows["n_stratum"].isna().any()):
        notes.append(
            f"{judged} tells no design: its images are taken for a simple random sample of the "
            "audited ones."
        )
    return table, tuple(notes)


def _judge_images(
    folder: Path, rows: pd.DataFrame, added: dict[str, list[object]], level: float, file: str
) -> None:
    if not (folder / CELLS_FILE).exists():
        raise ConfigError(
            f"{folder} holds no {CELLS_FILE}: its images were not tagged. Audit with --clip, "
            "--concept-vectors or --image-tags."
        )
    cells = read_parquet(folder / CELLS_FILE)
    sizes = cells[list(CELL_COLUMNS)].to_numpy(dtype=np.float64)
    shares = cells[list(SHARE_COLUMNS)].to_numpy(dtype=np.float64)
    places = _cells_of(folder, rows, file)
    n_images = float(sizes[0].sum())
    for concept, group in _by_concept(rows.assign(cell=places)):
        stratum_sizes, strata = design_of(group, n_images)
        sample = JudgedSample(
            sizes=sizes[concept],
            predicted=shares[concept],
            cells=group["cell"].to_numpy(np.int64),
            present=group["present"].to_numpy(bool),
            strata=strata,
            stratum_sizes=stratum_sizes,
        )
        count = count_judged(sample, level=level, seed=concept)
        for side, numbers in (("image", count.image), ("joint", count.joint)):
            for end, number in zip(("", "_low", "_high"), numbers, strict=True):
                added[f"n_{side}_judged{end}"][concept] = number
        added["n_image_judged_sample"][concept] = count.n_judged
        added["n_image_judged_shown"][concept] = count.n_present
        added["judged_method"][concept] = count.method


def _by_concept(rows: pd.DataFrame) -> Iterator[tuple[int, pd.DataFrame]]:
    """Yield the judged rows of each concept."""
    for concept in np.unique(rows["concept_id"].to_numpy(np.int64)).tolist():
        yield concept, rows[rows["concept_id"] == concept]


def design_of(group: pd.DataFrame, n_images: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the sizes of strata and the stratum of every row; one stratum where none is told."""
    if bool(group["n_stratum"].isna().any()):
        return np.array([n_images]), np.zeros(len(group), dtype=np.int64)
    names, strata = np.unique(group["stratum"].to_numpy(), return_inverse=True)
    sizes = np.zeros(len(names))
    sizes[strata] = group["n_stratum"].to_numpy(dtype=np.float64)
    return sizes, strata.astype(np.int64)


def _cells_of(folder: Path, rows: pd.DataFrame, file: str) -> np.ndarray:
    """Look up what captions and tags say of the judged images, shape (n_rows,)."""
    wanted = pd.MultiIndex.from_frame(rows[["key", "concept_id"]])
    keys = set(rows["key"])
    known = False
    marks = []
    for stages in (("text", "mentions"), ("image",)):
        found = np.zeros(len(rows), dtype=bool)
        for path in (p for stage in stages for p in stage_tables(folder / stage)):
            tags = read_parquet(path, columns=["key", "concept_id"])
            tags = tags[tags["key"].isin(keys)]
            known = known or len(tags) > 0
            found |= wanted.isin(pd.MultiIndex.from_frame(tags.astype({"concept_id": np.int64})))
        marks.append(found)
    if not known:
        raise DataError(
            f"None of the {quantity(len(keys), 'key')} in {file} is in the tags of {folder}. Keys "
            "are those of the tags in a run folder: the img2dataset key, the path or the uid."
        )
    named, tagged = marks
    return np.where(named, np.where(tagged, 0, 1), np.where(tagged, 2, N_CELLS - 1))


def _judge_captions(
    table: pd.DataFrame, rows: pd.DataFrame, added: dict[str, list[object]], level: float
) -> None:
    counts = table["n_text"].to_numpy(dtype=np.float64, na_value=np.nan)
    for concept, group in _by_concept(rows):
        n, relevant = len(group), int(group["present"].sum())
        if np.isnan(counts[concept]):
            raise ConfigError("Captions were judged, and the run did not count captions.")
        value, low, high = share_judged(max(counts[concept], n), n, relevant, level=level)
        numbers = (value, low, high, n, relevant)
        for end, number in zip(("", "_low", "_high", "_sample", "_relevant"), numbers, strict=True):
            added[f"n_text_judged{end}"][concept] = number
