"""Tags to counts: frequencies with intervals, alignment, merging."""
