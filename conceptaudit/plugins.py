"""What other installed packages add: objects that they name by entry points."""

from collections.abc import Iterator
from importlib.metadata import entry_points
from typing import TypeVar

from conceptaudit.errors import ConfigError

Kind = TypeVar("Kind")


def installed(group: str, kind: type[Kind]) -> Iterator[tuple[str, Kind]]:
    """Load the objects that installed packages name in an entry point group."""
    for point in entry_points(group=group):
        try:
            plugin = point.load()
        # a package that cannot be imported may raise anything
        except Exception as error:
            raise ConfigError(
                f"The entry point {point.name!r} of {group} cannot be loaded: {error}. Mend or "
                f"remove the package {point.value.partition(':')[0].partition('.')[0]}."
            ) from error
        if not isinstance(plugin, kind):
            raise ConfigError(
                f"The entry point {point.name!r} of {group} must name a {kind.__name__} "
                f"({kind.__module__}). Got {type(plugin).__name__} instead."
            )
        yield point.name, plugin
