"""Translate the expressions of `features` to the part of the ONNX graph in front of the estimator."""
