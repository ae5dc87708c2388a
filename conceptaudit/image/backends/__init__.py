"""The ways to find proposals for tags: one interface, equal results, different machines."""
