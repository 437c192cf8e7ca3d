"""Actual outcomes of predictions: the ids of predictions and the database table."""
