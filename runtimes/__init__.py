"""Weights files and what runs them: OneFlow, OpenVINO, ONNX; precision; download."""

import sys

sys.modules.setdefault("openvino_telemetry", None)  # OpenVINO would report every import to a server
