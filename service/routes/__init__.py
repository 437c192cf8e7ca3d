"""What the API answers, one module per group of paths."""
