"""The parts of the report, one module each: from inputs to a `Section`."""
