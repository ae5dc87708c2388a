"""Captions to concept tags."""
