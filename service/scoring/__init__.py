"""The artifact in service: verified, loaded, scored, counted, and swapped for the next one."""
