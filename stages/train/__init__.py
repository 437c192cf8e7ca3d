"""Fit the model."""
