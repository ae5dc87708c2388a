"""True counts of a simulated dataset, as an auditor without fault would find them."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pandas as pd

from conceptaudit.lab.config import LabConfig
from conceptaudit.lab.sample_faults import SampleFaults, faults_of
from conceptaudit.lab.truth import image_is_ok, read_settings, text_is_ok, truth_file
from conceptaudit.lab.zipf import lab_vocabulary
from conceptaudit.records import MODALITIES, ConceptFrequencies

if TYPE_CHECKING:
    import pyarrow as pa

BoolArray = npt.NDArray[np.bool_]


def true_frequencies(
    path: Path | str, *, lost: bool = False, damaged: bool = False, copies: bool = True
) -> ConceptFrequencies:
    """Add up the true number of samples per concept, one row group at a time.

    Parameters
    ----------
    path : path
        The dataset's folder.
    lost : bool
        Also count samples that could not be downloaded.
    damaged : bool
        Also count sides (image, caption) that damage has made unreadable.
    copies : bool
        False counts an original and all its exact and near copies once, if at least one of
        them can be counted.

    Returns
    -------
    ConceptFrequencies
        ``concept, n_text, n_image, n_joint``; one row per concept in use, zeros included, in
        the order of the frequency law.

    Raises
    ------
    DataError
        A file is missing.
    """
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    file = pq.ParquetFile(truth_file(path))
    config = read_settings(path)
    names = lab_vocabulary(config).names
    position = {name: row for row, name in enumerate(names)}
    counts = {side: np.zeros(len(names), dtype=np.int64) for side in MODALITIES}
    seen = {side: _Seen(config, side, lost=lost, damaged=damaged) for side in MODALITIES}
    for group in range(file.num_row_groups):
        table = file.read_row_group(group)
        for side, total in counts.items():
            rows = _countable(table, side, lost=lost, damaged=damaged)
            if not copies:
                rows = seen[side].first_of_each(table, rows)
            found = pc.value_counts(pc.list_flatten(table[side].filter(rows)))
            values, numbers = found.field("values").to_pylist(), found.field("counts").to_pylist()
            for value, number in zip(values, numbers, strict=True):
                total[position[str(value)]] += int(str(number))
    columns = {f"n_{side}": total for side, total in counts.items()}
    return ConceptFrequencies(pd.DataFrame({"concept": names, **columns}), source=Path(path).name)


def _countable(table: "pa.Table", side: str, *, lost: bool, damaged: bool) -> BoolArray:
    """Select the rows whose `side` counts."""
    gone = np.asarray(table["link_rot"])
    rows = np.full(table.num_rows, True) if lost else ~gone
    for part in ("text", "image"):
        if side in (part, "joint") and not damaged:
            rows &= np.asarray(table[f"{part}_ok"]) | gone
    return rows


class _Seen:
    """Remembers which originals have been counted through one of their copies.

    Only originals that cannot be counted themselves have to be remembered.
    """

    def __init__(self, config: LabConfig, side: str, *, lost: bool, damaged: bool) -> None:
        self._config, self._side = config, side
        self._lost, self._damaged = lost, damaged
        self._through_copies: set[int] = set()

    def first_of_each(self, table: "pa.Table", rows: BoolArray) -> BoolArray:
        """Leave out the copies whose content has been counted before."""
        rows = rows.copy()
        copied = np.asarray(table["duplicate_of"].is_valid())
        for row in np.flatnonzero(rows & copied):
            source = faults_of(self._config, int(str(table["index"][int(row)]))).source
            known = source in self._through_copies or self._counts(faults_of(self._config, source))
            rows[row] = not known
            self._through_copies |= set() if known else {source}
        return rows

    def _counts(self, faults: SampleFaults) -> bool:
        if faults.link_rot:
            return self._lost
        needed = {"text": (text_is_ok,), "image": (image_is_ok,)}
        checks = needed.get(self._side, (text_is_ok, image_is_ok))
        return self._damaged or all(check(faults) for check in checks)
