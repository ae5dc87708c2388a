"""The explorer: a local server of pages to look at an audit, and to judge samples in."""

from conceptaudit.explore.serving import Server, explore
from conceptaudit.explore.session import ExploreOptions

__all__ = ["ExploreOptions", "Server", "explore"]
