"""Weights files and what runs them: OneFlow, OpenVINO, ONNX; precision; download."""
