"""HTTP around every answer: limits, headers, errors, logs."""
