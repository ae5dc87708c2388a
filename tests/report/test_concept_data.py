"""The columns of the table of concepts: few at first, the others where they say something."""

from pathlib import Path

import pandas as pd

from conceptaudit.records import ConceptFrequencies
from conceptaudit.report.concept_data import EXTRA, MEANINGS, concept_data
from conceptaudit.report.inputs import RunRecord
from conceptaudit.report.sections.concept_table import concept_section


def run_of(**columns: list[object]) -> RunRecord:
    table = pd.DataFrame({"concept": ["yak", "dog"], **columns})
    return RunRecord(
        folder=Path(),
        frequencies=ConceptFrequencies(table),
        alignment={},
        manifest={"level": 0.9},
        concepts=("yak", "dog"),
    )


def ends(name: str, low: list[float], high: list[float]) -> dict[str, list[float]]:
    return {f"{name}_low": low, f"{name}_high": high}


def test_every_extra_column_is_explained() -> None:
    assert EXTRA.keys() == MEANINGS.keys()


def test_corrected_and_unique_counts_have_their_intervals() -> None:
    run = run_of(
        n_image=[1, 20],
        n_image_corrected=[2.4, 25.6],
        **ends("n_image_corrected", [0.0, 18.04], [9.0, 33.0]),
        n_image_unique=pd.array([1, 12], dtype="Int64"),
        n_senses=pd.array([pd.NA, 7], dtype="Int64"),
        n_joint_corrected=[float("nan")] * 2,
    )
    data = concept_data(run)
    assert data["names"] == ["dog", "yak"]
    extra = {column["id"]: column for column in data["extra"]}
    assert list(extra) == ["n_image_corrected", "n_image_unique", "n_senses"]
    assert extra["n_image_corrected"]["n"] == [26, 2]
    assert extra["n_image_corrected"]["low"] == [18.0, 0.0]
    assert extra["n_image_unique"] == {
        "id": "n_image_unique", "name": "different images", "n": [12, 1], "low": None,
        "high": None,
    }  # fmt: skip
    assert extra["n_senses"]["n"] == [7, None]
    page = concept_section(run).body
    assert 'id="all-columns"' in page
    assert '<td class="num extra">26<small>18–33</small></td>' in page
    assert '<td class="num extra">–</td>' in page


def test_the_full_count_is_shown_where_it_was_sampled() -> None:
    sampled = run_of(n_text=[5, 100], **ends("n_text_full", [5.0, 96.2], [5.0, 104.0]))
    [column] = concept_data(sampled)["extra"]
    assert (column["id"], column["n"]) == ("n_text_full", [100, 5])
    assert (column["low"], column["high"]) == ([96.2, 5.0], [104.0, 5.0])
    exact = run_of(n_text=[5, 100], **ends("n_text_full", [5.0, 100.0], [5.0, 100.0]))
    assert concept_data(exact)["extra"] == []
    assert 'id="all-columns"' not in concept_section(exact).body
