"""From an audit to a better training set: weights, subsets, mixtures, and what they change."""

from conceptaudit.curate.build import Curated, curate
from conceptaudit.curate.mixing import parse_run
from conceptaudit.options.curate import CurateOptions

__all__ = ["CurateOptions", "Curated", "curate", "parse_run"]
