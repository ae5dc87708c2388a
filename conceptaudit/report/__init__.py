"""Figures, and the self-contained HTML report."""

from conceptaudit.report.writing import write_report

__all__ = ["write_report"]
