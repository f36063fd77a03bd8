"""Write small ONNX files in the format of exported models: valid ones of every kind, and damaged ones.

Usage: onnx_files.py DIRECTORY [NAME MODEL_DIGEST]

With a name, only the file of that name, exported from the model with that digest.
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

FOLDER = Path(sys.argv[1])


def field(number: int, content: bytes) -> bytes:
    """A field of a protocol buffer that has a length."""
    length = len(content)
    size = b""
    while length > 127:
        size, length = size + bytes([length & 127 | 128]), length >> 7
    return bytes([number << 3 | 2]) + size + bytes([length]) + content


def complete(content: bytes) -> bytes:
    """Append the digest."""
    digest = hashlib.sha256(content).hexdigest().encode()
    return content + field(14, field(1, b"sha256") + field(2, digest))


def model(
    nodes: list[Any], inputs: list[Any], outputs: list[Any], constants: dict[str, Any], **about: Any
) -> bytes:
    """An exported file without its digest."""
    tensors = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "model", inputs, outputs, tensors)
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("ai.onnx.ml", 3)]
    made = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    helper.set_model_props(made, {"transfer": json.dumps(description(**about)), **about.get("props", {})})
    return made.SerializeToString()


def description(**about: Any) -> dict[str, Any]:
    """The metadata."""
    return {
        "format_version": 1,
        "task": "classification",
        "modality": "image",
        "labels": ["a", "b", "c"],
        "state": {"nonconformity": [0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]},
        "embedding_width": 3,
        "precision": "float32",
        "backbone": {"name": "mean_color"},
        "recipe": {"seed": 0},
        "metrics": {"accuracy": 0.9},
        "warnings": [],
        "model_digest": "",
        "versions": {"onnx": onnx.__version__},
        "created_at": "2026-01-01T00:00:00+00:00",
        "preprocessing": {"decode_at_least": 8},
        **{name: value for name, value in about.items() if name != "props"},
    }


def value(name: str, kind: int, shape: list[Any]) -> Any:
    return helper.make_tensor_value_info(name, kind, shape)


def mean_color(task: str = "classification", **about: Any) -> bytes:
    """Outputs are the mean red, green and blue of an image: as classes, as labels, as values."""
    result = {"classification": "probabilities", "multi_label": "probabilities", "regression": "values"}[task]
    nodes = [
        helper.make_node("Cast", ["image"], ["wide"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["wide", "sides"], ["mean"], keepdims=0),
        helper.make_node("Div", ["mean", "white"], ["embedding"]),
        helper.make_node("Cast", ["embedding"], ["outputs"], to=TensorProto.DOUBLE),
        helper.make_node("Softmax" if task == "classification" else "Identity", ["outputs"], [result]),
    ]
    outputs = [value(result, TensorProto.DOUBLE, ["N", 3]), value("embedding", TensorProto.FLOAT, ["N", 3])]
    if task == "multi_label":
        nodes.append(helper.make_node("Greater", ["probabilities", "threshold"], ["positive"]))
        outputs.append(value("positive", TensorProto.BOOL, ["N", 3]))
    constants = {"sides": np.array([1, 2]), "white": np.float32(255), "threshold": np.float64(0.5)}
    return model(
        nodes, [value("image", TensorProto.UINT8, ["N", "H", "W", 3])], outputs, constants, task=task, **about
    )


def two_boxes() -> bytes:
    """The same two boxes, as shares of the photo's sides."""
    nodes = [
        helper.make_node("Cast", ["size"], ["sides"], to=TensorProto.DOUBLE),
        helper.make_node("Concat", ["sides", "sides"], ["extent"], axis=0),
        helper.make_node("Mul", ["shares", "extent"], ["corners"]),
        helper.make_node("Identity", ["kinds"], ["classes"]),
        helper.make_node("Identity", ["certain"], ["scores"]),
        helper.make_node("Shape", ["image"], ["unused"]),
    ]
    constants = {
        "shares": np.array([[0.25, 0.5, 0.75, 0.75], [0.0, 0.0, 0.125, 1.0]]),
        "kinds": np.array([2, 0]),
        "certain": np.array([0.75, 0.5]),
    }
    inputs = [value("image", TensorProto.UINT8, [1, "H", "W", 3]), value("size", TensorProto.INT64, [2])]
    outputs = [
        value("corners", TensorProto.DOUBLE, ["D", 4]),
        value("classes", TensorProto.INT64, ["D"]),
        value("scores", TensorProto.DOUBLE, ["D"]),
    ]
    preprocessing = {"decode_longer_at_least": 8}
    return model(nodes, inputs, outputs, constants, task="detection", preprocessing=preprocessing)


def echo(with_pieces: bool) -> bytes:
    """Generates its source, without the first and the last token; numbers of tokens are the tokenizer's, or
    those of another vocabulary, 10 more."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    pieces = ["<unk>", "</s>", "▁", "▁open", "▁the", "▁pa", "ge", *"abcdefghijklmnopqrstuvwxyz"]
    tokenizer = Tokenizer(models.Unigram([(piece, -float(i)) for i, piece in enumerate(pieces)], 0, False))
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
    tokenizer.add_special_tokens(["<unk>", "</s>"])
    more = 10 if with_pieces else 0
    files = {"source_tokenizer.json": tokenizer.to_str()}
    if with_pieces:
        files["pieces.json"] = json.dumps({piece: i + more for i, piece in enumerate(pieces)})
    text = {
        "kind": "sequence",
        "max_length": 20,
        "prefix": "open ",
        "before": [1 + more],
        "after": [1 + more],
    }
    nodes = [
        helper.make_node("Squeeze", ["input_ids", "first"], ["row"]),
        helper.make_node("Slice", ["row", "start", "end"], ["tokens"]),
        helper.make_node("Identity", ["half"], ["score"]),
    ]
    constants = {
        "first": np.array([0]),
        "start": np.array([1]),
        "end": np.array([-1]),
        "half": np.float32([0.5]),
    }
    return model(
        nodes,
        [value("input_ids", TensorProto.INT64, [1, "S"])],
        [value("tokens", TensorProto.INT64, ["T"]), value("score", TensorProto.FLOAT, [1])],
        constants,
        task="translation",
        modality="text",
        labels=[],
        state={},
        text={**text, "unknown": more},
        props=files,
    )


def row_sum() -> bytes:
    """The sum of two numbers, and 100 for the category "ulm"."""
    nodes = [
        helper.make_node("Where", ["empty", "zero", "numbers"], ["known"]),
        helper.make_node("IsNaN", ["numbers"], ["empty"]),
        helper.make_node("ReduceSum", ["known", "last"], ["sum"], keepdims=1),
        helper.make_node(
            "LabelEncoder",
            ["categories"],
            ["is_ulm"],
            domain="ai.onnx.ml",
            keys_strings=["ulm"],
            values_int64s=[1],
            default_int64=0,
        ),
        helper.make_node("Cast", ["is_ulm"], ["one"], to=TensorProto.DOUBLE),
        helper.make_node("Mul", ["one", "hundred"], ["extra"]),
        helper.make_node("Add", ["sum", "extra"], ["values"]),
        helper.make_node("Cast", ["values"], ["embedding"], to=TensorProto.FLOAT),
    ]
    nodes = [nodes[1], nodes[0], *nodes[2:]]
    constants = {
        "zero": np.float64(0),
        "hundred": np.float64(100),
        "last": np.array([1]),
    }
    columns = [
        {"name": "rooms", "type": "number"},
        {"name": "city", "type": "category"},
        {"name": "area", "type": "number"},
    ]
    return model(
        nodes,
        [value("numbers", TensorProto.DOUBLE, ["N", 2]), value("categories", TensorProto.STRING, ["N", 1])],
        [value("values", TensorProto.DOUBLE, ["N", 1]), value("embedding", TensorProto.FLOAT, ["N", 1])],
        constants,
        task="regression",
        modality="table",
        labels=["price"],
        state={"nonconformity": [[1, 2, 3, 4, 5, 6, 7, 8, 9]]},
        embedding_width=1,
        columns=columns,
    )


def with_node(operator: str, domain: str = "") -> bytes:
    """The file of images with another operator in its graph."""
    made = onnx.load_from_string(mean_color())
    made.graph.node[0].op_type, made.graph.node[0].domain = operator, domain
    if domain:
        made.opset_import.append(helper.make_opsetid(domain, 1))
    return bytes(made.SerializeToString())


def with_external(place: str) -> bytes:
    """The file of images with an external tensor, in the graph, in an attribute, or in a subgraph."""
    made = onnx.load_from_string(mean_color())
    tensor = TensorProto(
        name="outside", data_type=TensorProto.FLOAT, dims=[1], data_location=TensorProto.EXTERNAL
    )
    tensor.external_data.add(key="location", value="/etc/passwd")
    if place == "graph":
        made.graph.initializer.append(tensor)
    elif place == "attribute":
        made.graph.node.append(helper.make_node("Constant", [], ["outside"], value=tensor))
    else:
        inner = helper.make_graph([], "inner", [], [value("outside", TensorProto.FLOAT, [1])], [tensor])
        made.graph.node.append(helper.make_node("If", ["c"], ["x"], then_branch=inner, else_branch=inner))
    return bytes(made.SerializeToString())


def with_version(number: int, **about: Any) -> bytes:
    made = onnx.load_from_string(mean_color(**about))
    made.opset_import[0].version = number
    return bytes(made.SerializeToString())


def large() -> bytes:
    """The file of images with 16 MB of weights that it uses."""
    made = onnx.load_from_string(mean_color())
    weights = np.ones((4_000_000,), np.float32)
    made.graph.initializer.append(numpy_helper.from_array(weights, "weights"))
    made.graph.node.append(helper.make_node("Add", ["weights", "one"], ["more"]))
    made.graph.node.append(helper.make_node("ReduceMax", ["more"], ["most"], keepdims=0))
    made.graph.input.append(value("one", TensorProto.FLOAT, []))
    made.graph.initializer.append(numpy_helper.from_array(np.float32(0), "one"))
    return bytes(made.SerializeToString())


def foreign() -> bytes:
    made = onnx.load_from_string(mean_color())
    del made.metadata_props[:]
    return bytes(made.SerializeToString())


FILES = {
    "classes.onnx": lambda: mean_color(),
    "labels.onnx": lambda: mean_color("multi_label", state={}),
    "values.onnx": lambda: mean_color(
        "regression", labels=["red", "green", "blue"], state={"nonconformity": [[0.1] * 9] * 3}
    ),
    "boxes.onnx": two_boxes,
    "texts.onnx": lambda: echo(False),
    "pieces.onnx": lambda: echo(True),
    "rows.onnx": row_sum,
    "operator.onnx": lambda: with_node("Frobnicate"),
    "domain.onnx": lambda: with_node("Frobnicate", "com.example"),
    "external.onnx": lambda: with_external("graph"),
    "external_attribute.onnx": lambda: with_external("attribute"),
    "external_subgraph.onnx": lambda: with_external("subgraph"),
    "opset.onnx": lambda: with_version(99),
    "newer.onnx": lambda: mean_color(format_version=2),
    "task.onnx": lambda: mean_color().replace(b'"classification"', b'"segmentations."'),
    "twice.onnx": lambda: mean_color(labels=["a", "a", "c"]),
    "large.onnx": large,
    "width.onnx": lambda: mean_color(labels=["a", "b"]),
}

if __name__ == "__main__":
    if len(sys.argv) > 2:
        FOLDER.joinpath(sys.argv[2]).write_bytes(complete(mean_color(model_digest=sys.argv[3])))
        sys.exit()
    for name, make in FILES.items():
        FOLDER.joinpath(name).write_bytes(complete(make()))
    FOLDER.joinpath("foreign.onnx").write_bytes(foreign())
    whole = FOLDER.joinpath("classes.onnx").read_bytes()
    FOLDER.joinpath("truncated.onnx").write_bytes(whole[:-100])
    FOLDER.joinpath("changed.onnx").write_bytes(whole.replace(b"embedding_width", b"embedding_wIdth"))
    FOLDER.joinpath("text.onnx").write_bytes(b"no model")
    FOLDER.joinpath("empty.onnx").write_bytes(b"")
