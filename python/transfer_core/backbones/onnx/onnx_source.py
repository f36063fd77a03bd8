"""ONNX files as a source of backbones."""

from transfer_core.backbones.registry import Source, register

register(
    Source(
        name="onnx",
        loading="transfer_core.backbones.onnx.onnx_loading",
        prefixes=("onnx",),
        claims=lambda name: name.endswith(".onnx"),
        packages=("onnxruntime", "onnxruntime-gpu"),
    )
)
