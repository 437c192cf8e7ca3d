"""What MLflow keeps of a run, and what leads back to a commit."""
