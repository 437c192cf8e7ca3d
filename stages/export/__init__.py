"""Write the model as ONNX and compare it with scikit-learn."""
