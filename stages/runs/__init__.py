"""MLflow runs and registry, and what leads from a model back to a commit and its files."""
