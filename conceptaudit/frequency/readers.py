"""Read concept frequencies: from a run, a table, published count files, or the registry."""

import glob
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from conceptaudit.artifacts import MANIFEST, read_json
from conceptaudit.display import quantity
from conceptaudit.errors import ConfigError, DataError
from conceptaudit.frequency.count_files import KNOWN_NAMES, PATTERNS, from_count_files
from conceptaudit.frequency.intervals import LEVEL
from conceptaudit.frequency.reference import PREFIX, reference_frequencies
from conceptaudit.reading import exact_texts, read_parquet
from conceptaudit.records import FREQUENCY_COLUMNS, ConceptFrequencies
from conceptaudit.store.checking import check_written

# What an audit leaves in its folder; the first that exists is read.
OUR_FILES = ("frequencies.parquet", "frequencies.csv")
TABLE_SUFFIXES = (".parquet", ".csv", ".tsv")
_LOW_HIGH = tuple(f"{column}_{end}" for column in FREQUENCY_COLUMNS for end in ("low", "high"))


def read_frequencies(
    source: str | Path | Sequence[str | Path],
    *,
    pretraining: str | None = None,
    searches: Mapping[str, str] | None = None,
) -> ConceptFrequencies:
    """Read how often concepts occur.

    Parameters
    ----------
    source : path or sequence of paths
        An audit's run folder; a CSV, TSV or parquet table with ``concept`` and ``n_text``,
        ``n_image`` or ``n_joint`` (optionally ``dataset``, ``corpus`` and ``n_*_low``,
        ``n_*_high``); the paper's or NeglectedTails' count files, as files, a folder or a glob; or
        ``"reference:NAME"`` of the registry (`frequency.reference`).
    pretraining : str, optional
        Which pretraining set to take from count files, or a table with a ``corpus`` column, of
        several.
    searches : mapping of str to str, optional
        Search to take for a count column, such as ``{"n_image": "rampp0.5"}``. Without it the
        only one present is taken, or that of the paper's main figures.

    Returns
    -------
    ConceptFrequencies
        One row per concept (per evaluation set for the paper's counts, in column ``dataset``);
        several searches of a concept are joined by its name into one row.

    Raises
    ------
    ConfigError
        A search or pretraining set that the files do not hold, or a choice that is needed.
    DataError
        A file is missing, damaged, of unknown name, or holds an impossible count.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "pets_cc3m_rampp0.7_search_counts.json"
    >>> _ = path.write_text('{"dog": 12, "cat": 0}')
    >>> frequencies = read_frequencies(path)
    >>> frequencies.source, frequencies.counted
    ('cc3m', ('n_image',))
    """
    named = _registered(source)
    if named is not None:
        return reference_frequencies(named)
    files = _files(source)
    tables = [path for path in files if path.suffix.lower() in TABLE_SUFFIXES]
    if len(tables) == len(files) == 1:
        if searches is not None:
            raise ConfigError(
                "The 'searches' parameter of read_frequencies is for the paper's count files. Got "
                f"it with the table {files[0]} instead."
            )
        return _from_table(files[0], pretraining)
    if tables:
        raise DataError(
            "Frequencies must come from one table or from the paper's count files. Got "
            f"{quantity(len(files), 'file')}, {tables[0]} among them, instead."
        )
    return from_count_files(files, pretraining, searches or {})


def _registered(source: str | Path | Sequence[str | Path]) -> str | None:
    """Name of the registry's counts that a source stands for, None for files."""
    items = [source] if isinstance(source, str | Path) else list(source)
    names = [str(item) for item in items if str(item).startswith(PREFIX)]
    if names and len(items) > 1:
        raise ConfigError(
            f"Reference counts stand alone: got {names[0]} beside {len(items) - 1} other sources."
        )
    return names[0] if names else None


def _files(source: str | Path | Sequence[str | Path]) -> list[Path]:
    files: list[Path] = []
    for item in [source] if isinstance(source, str | Path) else list(source):
        path = Path(item)
        if path.is_dir():
            ours = [path / name for name in OUR_FILES if (path / name).is_file()]
            found = ours[:1] or sorted(name for glob_ in PATTERNS for name in path.glob(glob_))
        elif path.exists():
            found = [path]
        else:
            found = [Path(name) for name in sorted(glob.glob(str(item)))]  # noqa: PTH207 -- absolute too
        if not found:
            raise DataError(
                f"There are no frequencies at {item}. Name an audit's folder (it holds "
                f"{OUR_FILES[0]}), a table with a 'concept' column and counts, or the paper's "
                f"files {KNOWN_NAMES}."
            )
        files.extend(found)
    if not files:
        raise DataError("No frequency files were named.")
    return list(dict.fromkeys(files))


def _from_table(path: Path, pretraining: str | None = None) -> ConceptFrequencies:
    check_written(path)
    try:
        if path.suffix.lower() == ".parquet":
            table = read_parquet(path)
        else:
            separator = "\t" if path.suffix.lower() == ".tsv" else ","
            table = exact_texts(
                pd.read_csv(
                    path, sep=separator, dtype="str", keep_default_na=False, encoding="utf-8-sig"
                )
            )
    except (OSError, ValueError, ImportError) as error:
        raise DataError(f"Cannot read {path} as a table: {error}.") from error
    table = table.rename(columns={name: str(name).strip().casefold() for name in table.columns})
    if not table.columns.is_unique:
        twice = table.columns[table.columns.duplicated()][0]
        raise DataError(f"{path} has the column {twice!r} twice. Keep one of them.")
    if "concept" not in table or not set(FREQUENCY_COLUMNS) & set(table):
        raise DataError(
            f"{path} must have a 'concept' column and one of {list(FREQUENCY_COLUMNS)}. It has "
            f"{list(table)}."
        )
    table = table.assign(concept=table["concept"].astype("str"))
    if "corpus" in table and "source" not in table:
        table = _of_corpus(path, table, pretraining)
    elif pretraining is not None:
        raise ConfigError(
            f"--pretraining {pretraining} chooses among count files of several pretraining sets, "
            f"or in a table by its 'corpus' column, which {path} has not."
        )
    for column in (*FREQUENCY_COLUMNS, *_LOW_HIGH):
        if column in table:
            table[column] = _numbers(path, table, column)
    sources = sorted({str(name) for name in table["source"]}) if "source" in table else []
    # a run is named after its folder, a file after itself, where no column says more
    own = path.parent.resolve().name if path.name in OUR_FILES else path.stem
    name = sources[0] if len(sources) == 1 else own
    n_samples, share = _sampled_share(path)
    return ConceptFrequencies(
        table.drop(columns="source", errors="ignore"),
        name,
        level=level_of(path),
        share=share,
        n_samples=n_samples,
    )


def holds_several(source: str | Path | Sequence[str | Path]) -> bool:
    """Whether a source may be of several pretraining sets: count files, or a table with a corpus.

    Raises `DataError` where there is nothing at `source`.
    """
    if _registered(source) is not None:
        return False
    files = _files(source)
    path = files[0]
    if len(files) > 1 or path.suffix.lower() not in TABLE_SUFFIXES:
        return not any(file.suffix.lower() in TABLE_SUFFIXES for file in files)
    if path.suffix.lower() == ".parquet":
        names = [str(name) for name in read_parquet(path)]
    else:
        with path.open(encoding="utf-8-sig", errors="replace") as lines:
            names = next(lines, "").replace("\t", ",").split(",")
    return "corpus" in {name.strip().strip('"').casefold() for name in names}


def _of_corpus(path: Path, table: pd.DataFrame, pretraining: str | None) -> pd.DataFrame:
    """Take the rows of one pretraining set, and name the source after it."""
    corpora = sorted({str(name) for name in table["corpus"]})
    if pretraining is None and len(corpora) > 1:
        raise ConfigError(
            f"{path} holds counts in several pretraining sets: {', '.join(corpora)}. Choose one "
            "with --pretraining."
        )
    corpus = pretraining or corpora[0]
    if corpus not in corpora:
        raise ConfigError(
            f"--pretraining must be one of {corpora}, which {path} holds. Got {pretraining!r} "
            "instead."
        )
    rows = table[table["corpus"].astype("str") == corpus].reset_index(drop=True)
    return rows.rename(columns={"corpus": "source"})


def level_of(path: Path) -> float:
    """Take the level of a table's intervals from its audit's manifest; 0.9 for other tables."""
    level = _manifest_of(path).get("level", LEVEL)
    if not isinstance(level, float) or not 0.0 < level < 1.0:
        raise DataError(
            f"{path.parent / MANIFEST}: level must lie in (0, 1). Got {level!r} instead."
        )
    return level


def _manifest_of(path: Path) -> dict[str, Any]:
    """Read the manifest of the audit that a table is of; empty for any other table."""
    manifest = path.parent / MANIFEST
    record = read_json(manifest) if path.name in OUR_FILES and manifest.is_file() else {}
    return record if isinstance(record, dict) else {}


def _sampled_share(path: Path) -> tuple[int | None, float]:
    """Take from its audit's manifest how many samples a table's counts are of, and of what share.

    Samples read, before drops, None for other tables; the share of the whole dataset in (0, 1], 1
    where nothing tells.
    """
    record = _manifest_of(path)
    account, sampled = record.get("account"), record.get("sampled")
    if sampled is None:
        sides = account.values() if isinstance(account, dict) else ()
        read = [side.get("n_samples") for side in sides if isinstance(side, dict)]
        known = [n for n in read if isinstance(n, int) and not isinstance(n, bool)]
        return max(known, default=None), 1.0
    try:
        n_read, whole = int(sampled["n_read"]), int(sampled["sampled_from"])
    except (KeyError, TypeError, ValueError):
        n_read, whole = 0, 0
    if not 0 < n_read <= whole:
        raise DataError(
            f"{path.parent / MANIFEST}: 'sampled' must hold n_read, above 0, and sampled_from, at "
            f"least that. Got {sampled!r} instead."
        )
    return n_read, n_read / whole


def with_share(
    frequencies: ConceptFrequencies, *, sampled_from: int | None, share: float | None
) -> ConceptFrequencies:
    """Mark counts as those of a sample, as a user says (``--sampled-from``, ``--share``)."""
    if sampled_from is None and share is None:
        return frequencies
    if sampled_from is not None and share is not None:
        raise ConfigError("--sampled-from and --share say the same: give one of them.")
    if share is not None:
        if not 0.0 < share <= 1.0:
            raise ConfigError(f"--share must lie in (0, 1], such as 0.01. Got {share:g} instead.")
        return replace(frequencies, share=share)
    read = frequencies.n_samples
    if read is None:
        raise ConfigError(
            "--sampled-from needs to know how many samples were read, and the counts of "
            f"{frequencies.source or 'this table'} do not say. Give the share instead: "
            "--share 0.01 for one sample in a hundred."
        )
    if sampled_from is None or sampled_from < read:
        raise ConfigError(
            f"--sampled-from must be at least the {quantity(read, 'sample')} read. Got "
            f"{sampled_from:,} instead."
        )
    return replace(frequencies, share=read / sampled_from)


def _numbers(path: Path, table: pd.DataFrame, column: str) -> "pd.Series[Any]":
    """Read a column; empty means not counted, anything else must be a count of at least 0."""
    given = table[column]
    values = pd.to_numeric(given, errors="coerce").astype("Float64")
    empty = given.isna()
    if not pd.api.types.is_numeric_dtype(given):
        empty |= given.astype("str").str.strip().isin(["", "NA", "nan", "None"])
    bad = (values.isna() & ~empty) | (values < 0).fillna(value=False)
    if bool(bad.any()):
        row = int(bad.to_numpy(dtype=bool).argmax())
        raise DataError(
            f"{path}, row {row + 1}: {column} must be a count of at least 0, or empty. Got "
            f"{given.iloc[row]!r} for concept {table['concept'].iloc[row]!r} instead."
        )
    whole = column in FREQUENCY_COLUMNS and bool((values.dropna() % 1 == 0).all())
    return values.astype("Int64") if whole else values
