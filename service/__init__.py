"""The prediction service: the model's contract, the model and the API. The pipeline shares some modules."""
