"""Metrics, their intervals and the gate."""
