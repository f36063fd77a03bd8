"""Backbones as ONNX graphs, run by ONNX Runtime and compared with torch."""

import msgspec
import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from tiny_backbone import CROP, tiny_backbone
from tiny_encoder import tiny_encoder
from transfer_core import backbones
from transfer_core.backbones.backbone import Backbone
from transfer_core.backbones.graph import onnx_graph
from transfer_core.runtime.errors import RecipeError

pytestmark = [pytest.mark.extras]

# Beyond the reach of rounding in float32.
CLOSE = 1e-5

DEBERTA = {
    "model_type": "deberta-v2",
    "relative_attention": True,
    "share_att_key": True,
    "pos_att_type": ["p2c", "c2p"],
    "position_buckets": 8,
    "norm_rel_ebd": "layer_norm",
    "position_biased_input": False,
    "type_vocab_size": 0,
}
ENCODERS = {
    "bert": {},
    "roberta": {"model_type": "roberta", "type_vocab_size": 1},
    "mpnet": {"model_type": "mpnet"},
    "deberta": DEBERTA,
}


def run(content, batch):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    (given,), (result,) = session.get_inputs(), session.get_outputs()
    assert result.name == "embeddings"
    return session.run(None, {given.name: np.asarray(batch)})[0]


def assert_same(found, expected):
    assert found.shape == expected.shape
    assert found.dtype == np.float32
    assert np.abs(found - expected).max() <= CLOSE * np.abs(expected).max()


def images(count, size):
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(count))


def assert_converted(backbone):
    """The same embeddings for batches of several sizes, none of which it was traced with."""
    content, size = onnx_graph(backbone), backbone.preprocessing.crop_size
    for count in (1, 3):
        with torch.no_grad():
            expected = backbone(images(count, size)).numpy()
        assert_same(run(content, images(count, size)), expected)
    return content


def test_norms_are_folded():
    content = assert_converted(tiny_backbone())
    operators = [node.op_type for node in onnx.load_from_string(content).graph.node]
    assert "Conv" in operators
    assert "BatchNormalization" not in operators


def test_levels_are_normalized_within():
    backbone = tiny_backbone()
    levels = np.random.default_rng(0).integers(0, 256, (3, CROP, CROP, 3), np.uint8)
    prepared = backbone.preprocessing
    values = (levels / 255 - np.array(prepared.mean)) / np.array(prepared.std)
    with torch.no_grad():
        expected = backbone(torch.from_numpy(values).float().permute(0, 3, 1, 2)).numpy()
    assert_same(run(onnx_graph(backbone, from_levels=True), levels), expected)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    ["mobilenet_v2", "resnet18", "efficientnet_b0", "vit_b_16", "swin_t", "convnext_tiny", "regnet_y_400mf"],
)
def test_torchvision(name):
    assert_converted(backbones.build(name))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "convnext_atto", "tf_efficientnet_lite0"])
def test_timm(name):
    assert_converted(backbones.load(f"timm/{name}", "random"))


@pytest.mark.slow
def test_keras():
    assert_converted(backbones.load("keras/MobileNetV2", "random"))


@pytest.mark.parametrize("family", ENCODERS)
def test_texts_of_any_length(family, tmp_path):
    backbone = backbones.load(tiny_encoder(tmp_path / family, **ENCODERS[family]))
    content = onnx_graph(backbone)
    rng = np.random.default_rng(0)
    for count, length in ((1, 5), (3, 24)):
        tokens = np.zeros((count, length, 2), np.int32)
        tokens[..., 0] = rng.integers(5, 20, (count, length))
        tokens[-1, length // 2 :] = -1
        with torch.no_grad():
            expected = backbone(torch.from_numpy(tokens)).numpy()
        assert_same(run(content, tokens), expected)


@pytest.mark.parametrize("kind", ["floats", "levels", "half"])
def test_an_onnx_file_keeps_its_own_graph(kind, tmp_path):
    name = onnx_file(tmp_path / "a.onnx", kind)
    backbone = backbones.load(name)
    batch = torch.rand(3, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = backbone(batch).numpy()
    content = onnx_graph(backbone)
    found = run(content, batch)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=1e-3 if kind == "half" else 1e-6)
    assert [each.name for each in onnx.load_from_string(content).graph.input] == ["images"]


def test_an_onnx_file_may_use_the_names_of_the_interface(tmp_path):
    onnx_file(tmp_path / "a.onnx", "floats")
    model = onnx.load(tmp_path / "a.onnx")
    for node in model.graph.node:
        for names in (node.input, node.output):
            names[:] = [{"x": "images", "y": "embeddings"}.get(name, name) for name in names]
    model.graph.input[0].name, model.graph.output[0].name = "images", "embeddings"
    onnx.save(model, tmp_path / "b.onnx")
    batch = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    found = [run(onnx_graph(backbones.load(str(tmp_path / name))), batch) for name in ("a.onnx", "b.onnx")]
    np.testing.assert_array_equal(*found)


def onnx_file(path, kind):
    """Averages of maps of images, of each colour's values, or of values in half precision."""
    if kind == "levels":
        given = helper.make_tensor_value_info("x", TensorProto.UINT8, ["n", None, None, 3])
        nodes = [helper.make_node("Cast", ["x"], ["y"], to=TensorProto.FLOAT)]
        shape, arrays, type = ["n", None, None, 3], [], TensorProto.FLOAT
    else:
        type = TensorProto.FLOAT if kind == "floats" else TensorProto.FLOAT16
        given = helper.make_tensor_value_info("x", type, ["n", 3, 8, 8])
        kernel = np.random.default_rng(0).normal(size=(5, 3, 3, 3))
        arrays = [
            numpy_helper.from_array(kernel.astype(np.float32 if kind == "floats" else np.float16), "kernel")
        ]
        nodes = [helper.make_node("Conv", ["x", "kernel"], ["y"])]
        shape = ["n", 5, 6, 6]
    result = helper.make_tensor_value_info("y", type, shape)
    graph = helper.make_graph(nodes, "graph", [given], [result], arrays)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return f"onnx:{path}"


class Unsupported(nn.Module):
    """A layer for which ONNX has no operator."""

    def forward(self, x):
        return torch.linalg.svdvals(x)


def test_a_layer_without_an_operator_is_named():
    tiny = tiny_backbone()
    backbone = Backbone(tiny.facts, {"stem": Unsupported()}, nn.Flatten())
    with pytest.raises(RecipeError, match=r"tiny can't be converted to ONNX: .*svdvals"):
        onnx_graph(backbone)


def test_a_source_with_a_library_of_its_own_is_named():
    facts = backbones.facts("mobilenet_v2")
    backbone = tiny_backbone()
    backbone.facts = msgspec.structs.replace(facts, name="tensorflow:x", source="tensorflow", plain=False)
    with pytest.raises(RecipeError, match="tensorflow:x can't be converted to ONNX: backbones of tensorflow"):
        onnx_graph(backbone)
