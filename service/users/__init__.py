"""The users database, and all that can be done with it."""
