"""The command line: one module per verb, thin, and the only place that prints."""
