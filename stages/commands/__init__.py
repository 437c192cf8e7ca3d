"""Commands that people type; `make` calls them."""
