"""ONNX files, run by ONNX Runtime; `source` comes first."""
