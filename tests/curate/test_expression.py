"""Conditions over columns: what they mean, and that they can do nothing else."""

import numpy as np
import pandas as pd
import pytest

from conceptaudit.curate.expression import Condition
from conceptaudit.errors import ConfigError, DataError

COLUMNS = {
    "similarity": [0.1, 0.3, None, 0.5],
    "punsafe": [0.0, 0.9, 0.0, None],
    "language": ["en", "de", None, "en"],
    "WIDTH": [100, 200, 300, 400],
    "HEIGHT": [100, 100, 100, 100],
    "clip score": [1.0, 2.0, 3.0, 4.0],
}


def plain(row, text):
    """What Python itself says of one row without missing values."""
    return eval(text, {"__builtins__": {}}, row)


@pytest.mark.parametrize(
    "text",
    [
        "similarity >= 0.28",
        "similarity >= 0.28 and punsafe < 0.1",
        "0.2 < similarity <= 0.5 or language == 'en'",
        "not (WIDTH / HEIGHT > 3)",
        "language in ('en', 'fr') and WIDTH * HEIGHT >= 10000",
        "language not in ['en'] or punsafe == 0",
        "WIDTH - HEIGHT == 0",
        "-similarity < -0.2",
    ],
)
def test_it_means_what_python_means(text):
    whole = {name: list(COLUMNS[name]) for name in COLUMNS}
    rows = pd.DataFrame(whole).dropna()
    columns = {str(name): rows[name].tolist() for name in rows}
    expected = [plain(row, text) for row in rows.to_dict("records")]
    assert Condition(text).holds(columns).tolist() == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("similarity >= 0.0", [True, True, False, True]),
        ("not similarity < 0.0", [True, True, False, True]),  # unknown stays unknown
        ("not punsafe >= 0.5", [True, False, True, False]),
        ("similarity > 0.2 or WIDTH == 300", [False, True, True, True]),
        ("similarity is None or similarity > 0.4", [False, False, True, True]),
        ("language is not None", [True, True, False, True]),
        ("language != 'en'", [False, True, False, False]),
        ("`clip score` > 2", [False, False, True, True]),
    ],
)
def test_a_missing_value_is_unknown(text, expected):
    assert Condition(text).holds(COLUMNS).tolist() == expected


def test_columns_of_truth_values():
    columns = {"good": [True, False, None]}
    assert Condition("not good").holds(columns).tolist() == [False, True, False]


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').system('true')",
        "open('x')",
        "similarity.real > 1",
        "similarity[0] > 1",
        "(lambda: 1)() > similarity",
        "[x for x in y] == similarity",
        "similarity ** 99999 > 1",
        "f'{similarity}' == 'a'",
        "similarity if punsafe else 1",
        "similarity := 3",
        "similarity > 0.1; punsafe",
        "1 < 2",
        "similarity",
        "similarity +",
        "",
        "`open > 1",
        "similarity is 3",
        "(" * 400 + "similarity" + ")" * 400,
        "similarity > " + "1" * 3000,
    ],
)
def test_what_is_no_condition_is_refused(text):
    with pytest.raises(ConfigError, match="--keep"):
        Condition(text).holds(COLUMNS)


def test_texts_and_numbers_do_not_compare():
    with pytest.raises(DataError, match="Compare texts with texts"):
        Condition("language > 3").holds({"language": ["en", "de"]})


def test_a_column_of_arrays_works():
    assert Condition("a > 1").holds({"a": np.array([1.0, 2.0])}).tolist() == [False, True]
