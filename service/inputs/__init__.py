"""Check the rows of requests against the contract, and encode them for the model."""
