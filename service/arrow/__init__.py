"""Parquet and Arrow: tables in binary, read with pyarrow, where it is installed."""
