"""The frequency curve, and the table of all concepts with search and sort."""

from __future__ import annotations

from conceptaudit.report.concept_data import EXTRA, MEANINGS, concept_data
from conceptaudit.report.count_charts import frequency_chart
from conceptaudit.report.inputs import RunRecord
from conceptaudit.report.templating import Section

WITHOUT_SCRIPT = 50
"""Rows in the page itself, for readers without scripts and for print."""


def frequency_section(run: RunRecord) -> Section:
    """Build the frequency curve."""
    return Section(
        identifier="frequencies",
        title="How often each concept occurs",
        short="Frequencies",
        values={"chart": frequency_chart(run)},
    )


def concept_section(run: RunRecord) -> Section:
    """Build the table of all concepts."""
    data = concept_data(run)
    meanings = [(EXTRA[column["id"]], MEANINGS[column["id"]]) for column in data["extra"]]
    return Section(
        identifier="concepts",
        title="All concepts",
        short="All concepts",
        values={"level": run.level, "data": data, "meanings": meanings, "most": WITHOUT_SCRIPT},
    )
