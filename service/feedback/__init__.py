"""Actual outcomes of predictions: the ids of predictions, the request bodies and the database table."""
