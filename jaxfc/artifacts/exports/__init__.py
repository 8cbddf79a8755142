"""Models for programs that know nothing of this library: ONNX, StableHLO, PyTorch."""
