"""Decide about every column and split the rows."""
