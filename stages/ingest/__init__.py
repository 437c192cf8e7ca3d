"""Build the demo table."""
