"""Check the raw table."""
