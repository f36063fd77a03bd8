"""Export models to ONNX: preprocessing, backbone, head and calibration as one graph of standard operators."""
