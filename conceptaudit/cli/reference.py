"""``conceptaudit reference``: published counts that audits can be held against."""

from __future__ import annotations

from typing import TYPE_CHECKING

from conceptaudit.cli.arguments import AS_JSON
from conceptaudit.cli.console import emit_json, say, say_table
from conceptaudit.cli.generated import takes_options
from conceptaudit.options.fields import argument

if TYPE_CHECKING:
    from conceptaudit.frequency.reference import ReferenceCounts

ACTIONS = ("list", "show")

SHOWN = 5  # most frequent concepts shown of each evaluation set


@takes_options
def reference(
    action: str = argument("'list' all reference counts, or 'show' one: source, sets, counts."),
    name: str | None = argument("With 'show': such as laion400m or laion400m/paper.", default=None),
    *,
    as_json: bool = AS_JSON,
) -> None:
    """List published counts of class names: whose they are, how they were made, under what terms.

    They stand for an audit wherever counts are read, as reference:NAME: beside a run in
    `conceptaudit compare`, under `conceptaudit fit`, and as what `conceptaudit predict reference`
    rests on.

    \u0008
    Example:
      conceptaudit reference list
      conceptaudit reference show laion400m
      conceptaudit compare reference:laion400m runs/mine
    """
    from conceptaudit.errors import ConfigError
    from conceptaudit.frequency.reference import reference_counts, registry

    if action not in ACTIONS:
        raise ConfigError(f"The action must be one of {list(ACTIONS)}. Got {action!r} instead.")
    if (name is None) != (action == "list"):
        raise ConfigError("'reference show' needs one name, 'reference list' none.")
    if name is not None:
        _show(reference_counts(name), as_json=as_json)
        return
    if as_json:
        emit_json({"references": [_facts(one) for one in registry().values()]})
        return
    say_table(
        ["name", "samples", "counts", "by", "licence"],
        [
            [one.name, one.n_samples or "", " ".join(one.columns), one.by, one.licence]
            for one in registry().values()
        ],
    )


def _facts(one: ReferenceCounts) -> dict[str, object]:
    return {
        "name": one.name,
        "n_samples": one.n_samples,
        "counts": list(one.columns),
        "by": one.by,
        "method": one.method,
        "licence": one.licence,
        "url": one.url,
        "sha256": one.sha256,
    }


def _show(one: ReferenceCounts, *, as_json: bool) -> None:
    table = one.frequencies().table
    if as_json:
        rows = table.astype("object").where(table.notna(), None)
        emit_json({**_facts(one), "concepts": rows.to_dict("records")})
        return
    for key, value in _facts(one).items():
        text = ", ".join(value) if isinstance(value, list) else value
        say(f"{key.replace('_', ' ')}: {f'{text:,}' if isinstance(text, int) else text}")
    say()
    column = one.columns[0]
    say_table(
        ["set", "concepts", f"zero {column}", "most frequent"],
        [
            [
                str(dataset),
                len(rows),
                int((rows[column] == 0).sum()),
                ", ".join(rows.sort_values(column, ascending=False)["concept"].head(SHOWN)),
            ]
            for dataset, rows in table.groupby("dataset", sort=True)
        ],
    )
