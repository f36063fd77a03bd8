"""Give an ONNX file the interface of a converted backbone: normalized images in, embeddings out."""

from __future__ import annotations

from typing import Any

import numpy as np

from transfer_core.backbones.onnx.onnx_graph import embedding_output, image_input
from transfer_core.backbones.onnx.onnx_session import Session
from transfer_core.runtime.errors import DependencyError, ModelFileError

# Prefix of the names that are added to a file's own.
_PREFIX = "transfer_"
# Prefix that the file's own names get.
_OWN = "own/"


def with_standard_interface(content: bytes, name: str, given: str, result: str) -> bytes:
    """Add the nodes that map `given` to the file's own input, and its output to `result`.

    Parameters
    ----------
    content
        An ONNX file with all its tensors.
    name
        Its name in errors.
    given, result
        Names of the new input, images (N, 3, H, W) float32, and of the new output, (N, D) float32.

    Raises
    ------
    ModelFileError
        If its input or outputs are not supported, or it has an operator set without these operators.
    DependencyError
        If the package onnx is not installed.
    """
    try:
        import onnx
        import onnx.compose
        from onnx import TensorProto, helper, numpy_helper
    except ImportError:
        raise DependencyError("exporting an .onnx file", "onnx", "onnx") from None
    session = Session(content, name, trust=False)
    takes = image_input(session.inputs, name)
    output = next(each for each in session.outputs if each.name == embedding_output(session.outputs, name))
    rank = len(output.shape or ())
    if rank not in (2, 3, 4):
        raise ModelFileError(f"{name} outputs {output.name} without a known number of axes, expected 2 to 4")
    # The file may have used the new names itself.
    model = onnx.compose.add_prefix(onnx.load_model_from_string(content), _OWN)
    own_input, own_output = f"{_OWN}{takes.name}", f"{_OWN}{output.name}"
    graph = model.graph
    version = next(one.version for one in model.opset_import if one.domain in ("", "ai.onnx"))
    if version < 13:
        raise ModelFileError(
            f"{name} has the operator set {version}, expected 13 or newer. Fix: convert it with "
            "onnx.version_converter"
        )
    nodes: list[Any] = []

    def add(operator: str, inputs: list[str], **attributes: Any) -> str:
        made = f"{_PREFIX}{len(nodes)}"
        nodes.append(helper.make_node(operator, inputs, [made], **attributes))
        return made

    def constant(key: str, value: Any) -> str:
        graph.initializer.append(numpy_helper.from_array(np.asarray(value), f"{_PREFIX}{key}"))
        return f"{_PREFIX}{key}"

    x = given
    if takes.type is np.uint8:
        # Values 0..1 back to pixels, as `image_arrays.as_levels` does.
        x = add("Round", [add("Mul", [x, constant("levels", np.float32(255))])])
        x = add("Cast", [x], to=TensorProto.UINT8)
    elif takes.type is np.float16:
        x = add("Cast", [x], to=TensorProto.FLOAT16)
    if takes.channels_last:
        x = add("Transpose", [x], perm=[0, 2, 3, 1])
    nodes.append(helper.make_node("Identity", [x], [own_input]))
    before = len(nodes)
    y = own_output
    if rank == 4:
        y = _mean(add, y, [1, 2] if takes.channels_last else [2, 3], version, constant)
    elif rank == 3:
        y = _mean(add, y, [1], version, constant)
    nodes.append(helper.make_node("Cast", [y], [result], to=TensorProto.FLOAT))
    own = list(graph.node)
    batch, side = takes.batch or "N", takes.side
    del graph.node[:], graph.input[:], graph.output[:]
    graph.node.extend([*nodes[:before], *own, *nodes[before:]])
    sides = [side or "H", side or "W"]
    graph.input.append(helper.make_tensor_value_info(given, TensorProto.FLOAT, [batch, 3, *sides]))
    graph.output.append(helper.make_tensor_value_info(result, TensorProto.FLOAT, [batch, None]))
    return bytes(model.SerializeToString())


def _mean(add: Any, x: str, axes: list[int], version: int, constant: Any) -> str:
    """Append the mean over `axes`, which are an input from operator set 18 on."""
    if version >= 18:
        return str(add("ReduceMean", [x, constant("axes", np.array(axes, np.int64))], keepdims=0))
    return str(add("ReduceMean", [x], axes=axes, keepdims=0))
