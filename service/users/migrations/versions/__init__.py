"""The steps of the migration, in the order of their numbers."""
