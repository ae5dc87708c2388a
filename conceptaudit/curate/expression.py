"""Expressions over columns, such as ``similarity >= 0.28 and punsafe < 0.1``, parsed, never run.

Python's parser makes the tree; only comparisons, ``and``, ``or``, ``not``, ``in``, ``is None``,
arithmetic, numbers, texts and names of columns are taken from it, and NumPy computes them column by
column. There are no calls, attributes or subscripts, so an expression can do nothing but compare.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from conceptaudit.errors import ConfigError, DataError

BoolArray = npt.NDArray[np.bool_]
FloatArray = npt.NDArray[np.float64]

MOST_CHARACTERS = 2_000
"""Longer text is no condition that anybody wrote; it also bounds the depth of the tree."""

_COMPARISONS: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt, ast.GtE: operator.ge,
    ast.Eq: operator.eq, ast.NotEq: operator.ne,
}  # fmt: skip
_ARITHMETIC: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition on the columns of a table.

    Parameters
    ----------
    text : str
        As the user wrote it. Column names that are no identifiers stand in backquotes.

    Raises
    ------
    ConfigError
        It is no condition, or holds something else than comparisons of columns.

    Examples
    --------
    >>> condition = Condition("similarity >= 0.28 and punsafe < 0.1")
    >>> condition.columns
    ('punsafe', 'similarity')
    >>> columns = {"similarity": [0.3, 0.3, None], "punsafe": [0.0, 0.5, 0.0]}
    >>> condition.holds(columns).tolist(), condition.missing(columns).tolist()
    ([True, False, False], [False, False, True])
    """

    text: str

    def __post_init__(self) -> None:
        _check(self._tree(), self.text)

    def _tree(self) -> ast.expr:
        if len(self.text) > MOST_CHARACTERS:
            raise ConfigError(
                f"--keep must be at most {MOST_CHARACTERS:,} characters long. Got "
                f"{len(self.text):,} instead."
            )
        try:
            return ast.parse(_quoted(self.text).strip(), mode="eval").body
        except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
            why = error.msg if isinstance(error, SyntaxError) else str(error)
            raise ConfigError(
                f"--keep must be a condition such as 'similarity >= 0.28 and punsafe < 0.1'. Got "
                f"{self.text!r} instead ({why})."
            ) from error

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns, sorted."""
        names = {_plain(node.id) for node in ast.walk(self._tree()) if isinstance(node, ast.Name)}
        return tuple(sorted(names))

    def missing(self, columns: Mapping[str, Sequence[Any]]) -> BoolArray:
        """Tell which rows lack a value in any of the columns; shape (n,)."""
        gaps = [np.asarray(_series(columns[name]).isna()) for name in self.columns]
        return np.asarray(np.logical_or.reduce(gaps), dtype=np.bool_)

    def holds(self, columns: Mapping[str, Sequence[Any]]) -> BoolArray:
        """Tell for which rows the condition holds; where it depends on a missing value it does not.

        Parameters
        ----------
        columns : mapping of str to sequence of length n

        Returns
        -------
        numpy.ndarray of bool, shape (n,)

        Raises
        ------
        DataError
            Texts are compared with numbers.
        """
        values = {name: _series(columns[name]) for name in self.columns}
        try:
            truth = _truth(_value(self._tree(), values))
        except TypeError as error:
            raise DataError(
                f"--keep {self.text!r} does not fit the columns: {error}. Compare texts with "
                "texts ('UNLIKELY') and numbers with numbers."
            ) from error
        return np.asarray(truth == 1.0)


def _quoted(text: str) -> str:
    """Turn names in backquotes into identifiers that `_plain` turns back."""
    parts = text.split("`")
    if len(parts) % 2 == 0:
        raise ConfigError(f"--keep has an odd number of backquotes: {text!r}.")
    return "".join(
        f"column_{part.encode().hex()}_" if i % 2 else part for i, part in enumerate(parts)
    )


def _plain(name: str) -> str:
    if name.startswith("column_") and name.endswith("_"):
        try:
            return bytes.fromhex(name[7:-1]).decode()
        except ValueError:
            return name
    return name


def _series(values: Sequence[Any]) -> pd.Series[Any]:
    """Lay values out as numbers where all are, else as objects."""
    series = pd.Series(list(values))
    return series if series.dtype != object else series.infer_objects()


def _check(node: ast.expr, text: str) -> None:
    """Refuse whatever is not compared or computed here."""
    for one in ast.walk(node):
        if isinstance(one, ast.Constant):
            allowed = one.value is None or isinstance(one.value, int | float | str)
        else:
            allowed = isinstance(
                one,
                ast.BoolOp | ast.And | ast.Or | ast.UnaryOp | ast.Not | ast.USub | ast.Compare
                | ast.cmpop | ast.BinOp | ast.Name | ast.Load | ast.Tuple | ast.List,
            ) or type(one) in _ARITHMETIC  # fmt: skip
        if not allowed:
            raise ConfigError(
                "--keep may hold names of columns, numbers, texts, comparisons, and, or, not, in "
                f"and arithmetic. Got {ast.unparse(one) if isinstance(one, ast.expr) else one!r} "
                f"in {text!r} instead."
            )
    if not any(isinstance(one, ast.Name) for one in ast.walk(node)):
        raise ConfigError(f"--keep names no column: {text!r}.")


def _value(node: ast.expr, columns: Mapping[str, pd.Series[Any]]) -> Any:  # noqa: PLR0911 -- a kind each
    """Compute a value; truth is 1, 0 or one half, which is unknown (Kleene's logic)."""
    if isinstance(node, ast.Name):
        return columns[_plain(node.id)]
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, ast.Tuple | ast.List):
        return [_value(one, columns) for one in node.elts]
    if isinstance(node, ast.BinOp):
        left, right = _value(node.left, columns), _value(node.right, columns)
        return _ARITHMETIC[type(node.op)](left, right)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        return 1.0 - _truth(_value(node.operand, columns))
    if isinstance(node, ast.UnaryOp):
        return -_value(node.operand, columns)
    if isinstance(node, ast.BoolOp):
        parts = [_truth(_value(one, columns)) for one in node.values]  # noqa: PD011 -- of ast
        join = np.minimum if isinstance(node.op, ast.And) else np.maximum
        return join.reduce(np.broadcast_arrays(*parts))
    if isinstance(node, ast.Compare):
        sides = [_value(one, columns) for one in (node.left, *node.comparators)]
        pairs = zip(node.ops, sides, sides[1:], strict=False)
        # in a chain, as in Python: 0.1 < x <= 0.3
        return np.minimum.reduce(np.broadcast_arrays(*(_comparison(*pair) for pair in pairs)))
    raise ConfigError(f"--keep cannot hold {ast.unparse(node)!r}.")


def _truth(value: Any) -> FloatArray:
    """Take a comparison, or a column of truth values, as truth."""
    if isinstance(value, pd.Series):
        known = np.asarray(value.notna())
        if not value[known].isin([True, False]).all():
            raise ConfigError("--keep can join comparisons and columns of true and false only.")
        return np.where(known, np.asarray(value.where(value.notna(), 0), dtype=np.float64), 0.5)
    if not isinstance(value, np.ndarray):
        raise ConfigError("--keep must be a comparison of columns, such as 'similarity >= 0.28'.")
    return value


def _comparison(op: ast.cmpop, left: Any, right: Any) -> FloatArray:
    if isinstance(op, ast.Is | ast.IsNot):
        if right is not None:
            raise ConfigError("--keep can ask 'is None' and 'is not None' of a column, no more.")
        null = np.asarray(pd.isna(left), dtype=np.float64)
        return null if isinstance(op, ast.Is) else 1.0 - null
    if isinstance(op, ast.In | ast.NotIn):
        if not isinstance(right, list) or not isinstance(left, pd.Series):
            raise ConfigError("--keep can ask whether a column is in a list: language in ('en',).")
        inside, known = np.asarray(left.isin(right)), np.asarray(left.notna())
        inside = inside if isinstance(op, ast.In) else ~inside
        return np.where(known, inside.astype(np.float64), 0.5)
    if isinstance(left, list) or isinstance(right, list):
        raise ConfigError("--keep can ask of a list only whether a column is in it.")
    known = np.asarray(pd.notna(left)) & np.asarray(pd.notna(right))
    if not known.shape:
        raise ConfigError("--keep must compare columns. Got a comparison of two constants.")
    result = np.full(known.shape, 0.5)
    parts = [one[known] if isinstance(one, pd.Series) else one for one in (left, right)]
    result[known] = np.asarray(_COMPARISONS[type(op)](*parts), dtype=np.float64)
    return result
