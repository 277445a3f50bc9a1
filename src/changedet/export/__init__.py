"""Networks as ONNX files that other programs compute."""
