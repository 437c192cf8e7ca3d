"""Decide about releases and write them."""
