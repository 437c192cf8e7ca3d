"""The users database's history: each file in `versions` is one step from the tables before to those after."""

NEWEST = "0003"
"""The last of the steps."""
