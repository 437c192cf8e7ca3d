"""Score tables without a server: the answers of POST /predict for files of any size."""
