"""The pipeline: one public module per DVC stage, run as ``python -m stages.NAME``."""
