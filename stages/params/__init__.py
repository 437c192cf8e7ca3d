"""``params.yaml`` as frozen, typed values."""
