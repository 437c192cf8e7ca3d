"""Read a table, whatever its dialect."""
