"""The pipeline: one public module per DVC stage, run as ``python -m stages.NAME``."""

import os

# Before Arrow is loaded: it returns memory to the system as soon as a column is no longer used.
os.environ.setdefault("MIMALLOC_PURGE_DELAY", "0")
