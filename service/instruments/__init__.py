"""Instruments: what the service measures about itself, in Prometheus' terms."""
