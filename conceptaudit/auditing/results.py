"""What an audit returns."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from conceptaudit.artifacts import Json
from conceptaudit.auditing.samples import tagged_samples, to_fiftyone
from conceptaudit.display import as_html, quantity, show
from conceptaudit.frequency.counting import Alignment
from conceptaudit.frequency.intervals import LEVEL
from conceptaudit.records import ConceptFrequencies

PARTIAL_COLUMN = "partial_share"
"""Share of the shards that a partial merge has counted; no column of whole audits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditRun:
    """A finished audit.

    Parameters
    ----------
    folder : Path
        The run folder.
    frequencies : ConceptFrequencies
        Counts with intervals, one row per concept.
    alignment : Alignment
        Agreement of captions and images.
    account : dict
        By side: samples read, used, dropped by reason; always adds up.
    notes : tuple of str
        What was detected, what could not be had, what never matches.
    redone : dict
        By stage: shards computed by this call and why; shards kept from before.
    misalignment : dict or None
        Where images were calibrated: captions that name nothing that is shown, corrected for
        what the tagger misses; see `conceptaudit.frequency.misalignment`.
    level : float
        Coverage of the intervals.
    """

    folder: Path
    frequencies: ConceptFrequencies
    alignment: Alignment
    account: Json
    notes: tuple[str, ...]
    redone: Json
    misalignment: Json = None
    level: float = LEVEL

    @property
    def table(self) -> pd.DataFrame:
        """The frequencies as a table."""
        return self.frequencies.table

    def samples(self, images: str | Path | None = None) -> pd.DataFrame:
        """Return the samples in which a concept was found, with what was found in each.

        Parameters
        ----------
        images : str or Path, optional
            Folder of image files whose names below it, without their endings, are the keys.

        Returns
        -------
        pandas.DataFrame
            See `conceptaudit.auditing.samples.tagged_samples`.
        """
        return tagged_samples(self.folder, images)

    def to_fiftyone(self, images: str | Path, name: str | None = None) -> Any:
        """Return a FiftyOne dataset of the images, with the concepts of each side as labels.

        Parameters
        ----------
        images : str or Path
            Folder of image files whose names below it, without their endings, are the keys.
        name : str, optional
            Of the FiftyOne dataset.

        Returns
        -------
        fiftyone.Dataset

        Raises
        ------
        MissingDependencyError
            FiftyOne is not installed.
        ConfigError
            No image belongs to a sample.
        """
        return to_fiftyone(self.folder, images, name)

    def explore(self, **options: Any) -> Any:
        """Look at the audit in a browser; a notebook shows the pages in a frame.

        Parameters
        ----------
        **options
            Of `conceptaudit.explore.explore`: ``dataset``, ``curve``, ``longtail``, ``judge`` …

        Returns
        -------
        conceptaudit.explore.Server
            With ``address`` and ``stop()``.

        Raises
        ------
        MissingDependencyError
            The extra ``explore`` is not installed.
        """
        return show("explore", self.folder, **options)

    def plot(self, *, width: float = 174.0) -> Any:
        """Draw the counts by rank; a notebook shows it, ``save(path)`` writes it.

        Parameters
        ----------
        width : float, default 174
            In millimetres.
        """
        return show("frequency", self.folder, width=width)

    def _repr_html_(self) -> str:
        title = (
            f"Audit of {self.frequencies.source or self.folder}: "
            f"{quantity(len(self.table), 'concept')}"
        )
        return as_html(title, self.table, self.notes)
