"""Migrations of the users database, run by Alembic: each file in `versions` is one step."""

NEWEST = "0004"
"""The number of the last step."""
