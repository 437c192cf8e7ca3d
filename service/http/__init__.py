"""HTTP around every answer: connections, limits, headers, errors, logs."""
