"""ONNX files, run by ONNX Runtime; `onnx_source` comes first."""
