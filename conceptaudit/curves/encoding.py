"""Records as JSON values and back: what curves, and fitted families within them, are stored as."""

import math
import types
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from typing import Any, Self, get_args, get_origin, get_type_hints


class Stored:
    """Mixin of a fitted family whose fields are all that it has learned."""

    __slots__ = ()

    @property
    def parameters(self) -> dict[str, Any]:
        """See `FittedFamily.parameters`."""
        values: dict[str, Any] = plain(self)
        return values

    @classmethod
    def restore(cls, parameters: Mapping[str, Any]) -> Self:
        """Build the fitted family again from its `parameters`."""
        restored: Self = built(cls, parameters)
        return restored


def plain(value: Any) -> Any:
    """Turn records into JSON values; NaN, which JSON has not, becomes null."""
    if is_dataclass(value):
        return {item.name: plain(getattr(value, item.name)) for item in fields(value)}
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def built(kind: Any, value: Any) -> Any:
    """Build a value of a type from what `plain` made of it, and check it on the way."""
    if isinstance(kind, types.UnionType) and value is not None:
        kind = get_args(kind)[0]
    if kind is Any or isinstance(kind, types.UnionType):
        return value
    if is_dataclass(kind) and isinstance(kind, type):
        hints = get_type_hints(kind)
        # a field with a default may be younger than the file
        absent = {f.name for f in fields(kind) if f.default is not MISSING} - set(value)
        given = hints.keys() - absent
        return kind(**{name: built(hints[name], value[name]) for name in given})
    if get_origin(kind) is tuple:
        return tuple(built(get_args(kind)[0], item) for item in value)
    if get_origin(kind) is dict:
        return {str(key): built(get_args(kind)[1], item) for key, item in value.items()}
    if kind is float:
        if value is not None and not isinstance(value, int | float):
            raise TypeError(f"expected a number, found {value!r}")
        return math.nan if value is None else float(value)
    if isinstance(kind, types.GenericAlias) or not isinstance(value, kind):
        raise TypeError(f"expected {kind}, found {value!r}")
    return value
