"""From an audit to a clean, balanced test set of the rare concepts."""

from conceptaudit.longtail.build import build_long_tail
from conceptaudit.longtail.records import REASONS, LongTailSet
from conceptaudit.longtail.select import Selection, read_selection, select_concepts
from conceptaudit.longtail.set_storage import read_long_tail
from conceptaudit.options.longtail import LongTailOptions

__all__ = [
    "REASONS",
    "LongTailOptions",
    "LongTailSet",
    "Selection",
    "build_long_tail",
    "read_long_tail",
    "read_selection",
    "select_concepts",
]
