"""The pipeline: one public module per DVC stage, run as ``python -m stages.NAME``."""

import os

# What these libraries read when they are loaded, unless the user has set it.
_SETTINGS = {
    "MIMALLOC_PURGE_DELAY": "0",  # Arrow returns memory to the system as soon as a column is no longer used
    "OMP_WAIT_POLICY": "PASSIVE",  # threads of OpenMP that wait don't spin, which would take the cores from each other
    "ORT_DISABLE_TELEMETRY": "1",  # ONNX Runtime sends nothing to its maker, and keeps no database in the home folder
}
for _name, _value in _SETTINGS.items():
    os.environ.setdefault(_name, _value)
