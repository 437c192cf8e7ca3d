"""The processes of a running service: a supervisor and its workers."""
