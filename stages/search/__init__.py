"""Search hyperparameters by cross-validation on the training rows."""
