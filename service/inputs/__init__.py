"""Rows as callers send them, checked against the contract and encoded for the model."""
