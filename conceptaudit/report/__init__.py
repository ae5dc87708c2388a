"""Figures and reports of what was measured."""
