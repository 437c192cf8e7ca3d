"""The serving side: the artifact's contract, the model behind it and the API."""
