"""The code's shape is measured, and does not get worse."""

from pathlib import Path

import house
import pytest

MOST_ENTERED = {house.text_audit: (58, 370), house.image_audit: (89, 584)}
"""Modules and functions that an audit may enter; lower them when it enters fewer."""


@pytest.mark.parametrize("audit", MOST_ENTERED, ids=lambda audit: audit.__name__)
def test_an_audit_does_not_walk_further_than_it_did(audit, tmp_path: Path):
    entered = house.walk(lambda: audit(tmp_path))
    assert all(n <= most for n, most in zip(entered, MOST_ENTERED[audit], strict=True)), entered


def test_a_circle_is_found():
    graph = {"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"d"}}
    assert house.circles(graph) == [["b", "c"], ["d"]]


def test_comments_are_counted_per_line_of_code(tmp_path: Path):
    module = tmp_path / "module.py"
    module.write_text(
        '"""Text."""\n\n# why\nx = 1  # noqa: E501\n\n\ndef f():\n    """Text."""\n    return 2\n'
    )
    assert house.comment_share([module]) == pytest.approx(100 / 3)
