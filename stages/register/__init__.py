"""Compare with the baseline and register a candidate."""
