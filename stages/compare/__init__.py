"""Compare the models of two revisions on the same rows."""
