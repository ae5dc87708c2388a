"""Options are checked by what their fields declare, and documented by it."""

import dataclasses
import math

import pytest

from conceptaudit.cli.generated import Only, made, takes_options
from conceptaudit.errors import ConfigError
from conceptaudit.options.audit import AuditOptions
from conceptaudit.options.fields import Interval, options_of
from conceptaudit.options.longtail import LongTailOptions
from conceptaudit.options.vocab import PhraseRule, VocabOptions
from conceptaudit.options.zeroshot import EvaluationOptions, RetrievalOptions

RECORDS = (AuditOptions, LongTailOptions, PhraseRule, VocabOptions, EvaluationOptions)
RANGES = [
    pytest.param(record, field, about, id=f"{record.__name__}.{field.name}")
    for record in RECORDS
    for field, about in options_of(record)
    if about.within is not None or about.choices
]


def outside(interval: Interval) -> list[float]:
    """Numbers just outside an interval, and at its open ends."""
    low = interval.low if interval.text[0] == "(" else interval.low - 1
    high = interval.high if interval.text[-1] == ")" else interval.high + 1
    return [end for end in (low, high) if math.isfinite(end)]


@pytest.mark.parametrize(("record", "field", "about"), RANGES)
def test_what_lies_outside_its_range_is_refused(record, field, about):
    for value in outside(about.within) if about.within is not None else ["nonsense"]:
        with pytest.raises(ConfigError, match=f"'{field.name}' parameter of {record.__name__}"):
            record(**{field.name: value})


@pytest.mark.parametrize("record", [*RECORDS, RetrievalOptions])
def test_every_option_is_documented_once(record):
    names = [field.name for field, _ in options_of(record)]
    assert [field.name for field in dataclasses.fields(record)] == names
    for name in names:
        assert record.__doc__.count(f"\n{name} : ") == 1
    assert record.__doc__.count("Parameters\n") == 1


def test_not_a_number_is_in_no_range():
    with pytest.raises(ConfigError, match="in \\(0, 1\\)"):
        AuditOptions(level=math.nan)


def test_a_verb_gets_records_and_typer_sees_options():
    seen = {}

    @takes_options
    def verb(data: str, *, options: VocabOptions, rule: PhraseRule, as_json: bool = False) -> None:
        seen.update(data=data, options=options, rule=rule, as_json=as_json)

    given = {name: one.default for name, one in verb.__signature__.parameters.items()}
    assert {"language", "min_count", "max_words", "workers"} <= set(given)
    assert not {"options", "rule", "languages"} & set(given)
    verb(**{**given, "data": "x", "language": ["en"], "phrases": False})
    assert seen["options"] == VocabOptions(languages=("en",), workers=None)
    assert seen["rule"] == PhraseRule(phrases=False)
    assert verb.renamed["languages"] == "language"


def test_a_verb_may_have_some_of_a_records_options():
    from typing import Annotated

    @takes_options
    def verb(*, options: Annotated[AuditOptions, Only(("clip",))]) -> None: ...

    assert list(verb.__signature__.parameters) == ["clip"]


@pytest.mark.parametrize(("text", "value"), [("0.95", 0.95), ("auto", "auto"), (None, None)])
def test_a_number_may_be_a_word(text, value):
    assert made(AuditOptions, {"near_duplicates": text}).near_duplicates == value


def test_lists_that_were_not_given_are_the_records_own():
    assert made(AuditOptions, {"templates": None}) == AuditOptions()
    assert made(AuditOptions, {"templates": ["a {}"]}).templates == ("a {}",)
