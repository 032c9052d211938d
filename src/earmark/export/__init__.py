"""A trained model -> one ONNX file."""
