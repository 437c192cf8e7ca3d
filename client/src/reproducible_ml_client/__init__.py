"""Ask a prediction service: a DataFrame in, a DataFrame with the same index out."""

from reproducible_ml_client.client import Client
from reproducible_ml_client.errors import (
    CredentialError,
    FieldError,
    InvalidError,
    ServiceError,
    TooLargeError,
    UnavailableError,
)
from reproducible_ml_client.results import Feature, Model, ModelInfo, Prediction, Stored, Warned

__all__ = [
    "Client",
    "CredentialError",
    "Feature",
    "FieldError",
    "InvalidError",
    "Model",
    "ModelInfo",
    "Prediction",
    "ServiceError",
    "Stored",
    "TooLargeError",
    "UnavailableError",
    "Warned",
]
