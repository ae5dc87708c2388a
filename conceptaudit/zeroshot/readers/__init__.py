"""Readers of per-concept accuracies: our tidy tables and the paper's published JSON."""

from conceptaudit.zeroshot.readers.accuracies import read_accuracies

__all__ = ["read_accuracies"]
