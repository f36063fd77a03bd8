"""Graphs that are built here, run by ONNX Runtime itself and through a backbone; and a network of torch's."""

import copy
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

import transfer_core
from photos import class_folder
from transfer_core import backbones
from transfer_core.backbones.onnx.onnx_tensor_files import read_whole
from transfer_core.model.loading import load_model
from transfer_core.runtime.errors import DependencyError, ModelFileError, RecipeError, WeightsNotFound

pytestmark = [pytest.mark.slow, pytest.mark.extras]

SIZE = 8


def tensor(name, shape, kind=TensorProto.FLOAT):
    return helper.make_tensor_value_info(name, kind, shape)


def save(path, nodes, inputs, outputs, constants=(), said=None):
    """An .onnx file; `constants` are arrays by name, `said` is its metadata."""
    arrays = [numpy_helper.from_array(array, name) for name, array in dict(constants).items()]
    graph = helper.make_graph(nodes, "graph", inputs, outputs, arrays)
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("mine", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=9)
    helper.set_model_props(model, said or {})
    onnx.save(model, path)
    return f"onnx:{path}"


KERNEL = np.random.default_rng(0).normal(size=(5, 3, 3, 3)).astype(np.float32)
CONVOLUTION = helper.make_node("Conv", ["images", "kernel"], ["maps"])


def maps_of(path, shape=("n", 3, SIZE, SIZE), **words):
    """A graph that gives maps of features, (N, 5, H, W)."""
    return save(
        path, [CONVOLUTION], [tensor("images", shape)], [tensor("maps", None)], {"kernel": KERNEL}, **words
    )


def photos(count=5, size=SIZE, seed=0):
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(seed))


def runtime(path, **inputs):
    """What ONNX Runtime itself gives."""
    return onnxruntime.InferenceSession(path).run(None, {k: v.numpy() for k, v in inputs.items()})


def embeddings(name, images):
    with torch.no_grad():
        return backbones.load(name)(images).numpy()


# What goes in and what comes out.


def test_maps_become_their_averages(tmp_path):
    name = maps_of(tmp_path / "a.onnx")
    (maps,) = runtime(tmp_path / "a.onnx", images=photos())
    assert maps.shape == (5, 5, 6, 6)
    np.testing.assert_allclose(embeddings(name, photos()), maps.mean(axis=(2, 3)), atol=1e-6)
    facts = backbones.facts(name)
    assert (facts.embedding_width, facts.blocks, facts.trainable, facts.plain) == (
        5,
        ("graph",),
        False,
        False,
    )
    assert facts.default_weights.preprocessing == backbones.Preprocessing(
        8, 9, "bilinear", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    )


@pytest.mark.parametrize("batch", [1, 2])
def test_a_batch_of_a_fixed_size_is_kept_to(tmp_path, batch):
    maps_of(tmp_path / "any.onnx")
    name = maps_of(tmp_path / "fixed.onnx", (batch, 3, SIZE, SIZE))
    (maps,) = runtime(tmp_path / "any.onnx", images=photos())
    np.testing.assert_allclose(embeddings(name, photos()), maps.mean(axis=(2, 3)), atol=1e-6)


def test_colours_may_be_last_and_values_may_be_levels(tmp_path):
    nodes = [
        helper.make_node("Cast", ["levels"], ["values"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["values"], ["means"], axes=[1], keepdims=0),
    ]
    levels = tensor("levels", ["n", None, None, 3], TensorProto.UINT8)
    name = save(tmp_path / "a.onnx", nodes, [levels], [tensor("means", None)])
    pixels = np.random.default_rng(0).integers(0, 256, (4, SIZE, SIZE, 3)).astype(np.uint8)
    images = torch.from_numpy(pixels / np.float32(255)).permute(0, 3, 1, 2)
    expected = pixels.astype(np.float64).mean(axis=(1, 2))
    np.testing.assert_allclose(embeddings(name, images), expected, rtol=1e-5)
    prepared = backbones.facts(name).default_weights.preprocessing
    assert (prepared.crop_size, prepared.mean, prepared.std) == (224, (0, 0, 0), (1, 1, 1))


def test_of_several_outputs_the_one_of_two_axes_or_the_last(tmp_path):
    pool = helper.make_node("GlobalMaxPool", ["maps"], ["peaks"])
    flat = helper.make_node("Flatten", ["peaks"], ["embedding"])
    images, constants = [tensor("images", ["n", 3, SIZE, SIZE])], {"kernel": KERNEL}
    nodes = [CONVOLUTION, pool, flat]
    first = [tensor("embedding", ["n", 5]), tensor("maps", None)]
    last = [tensor("maps", None), tensor("peaks", None)]
    for outputs in (first, last):
        name = save(tmp_path / "a.onnx", nodes, images, outputs, constants)
        (maps,) = runtime(tmp_path / "a.onnx", images=photos())[outputs is first :][:1]
        np.testing.assert_allclose(embeddings(name, photos()), maps.max(axis=(2, 3)), atol=1e-6)


def test_half_precision(tmp_path):
    kind = TensorProto.FLOAT16
    node = helper.make_node("GlobalAveragePool", ["images"], ["means"])
    images, means = tensor("images", ["n", 3, "h", "w"], kind), tensor("means", None, kind)
    name = save(tmp_path / "a.onnx", [node], [images], [means])
    expected = photos().mean(dim=(2, 3)).numpy()
    found = embeddings(name, photos())
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-3)


def test_what_the_file_says_of_images_is_done(tmp_path):
    said = {"mean": "[0.5, 0.5, 0.5]", "std": "[0.25, 0.25, 0.25]", "size": "48", "resize": "50"}
    name = maps_of(
        tmp_path / "a.onnx", ("n", 3, "h", "w"), said={**said, "interpolation": "bicubic", "x": "y"}
    )
    assert backbones.facts(name).default_weights.preprocessing == backbones.Preprocessing(
        48, 50, "bicubic", (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)
    )


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"size": "9"}, "declares size 9, but takes only images of 8 pixels"),
        ({"resize": "7"}, "declares resize 7, which is less than its size, 8"),
        (
            {"mean": "0.5"},
            "declares its preprocessing wrongly: Expected `array | null`, got `float` - at `$.mean`",
        ),
        (
            {"std": "[0, 1, 1]"},
            "declares its preprocessing wrongly: Expected `float` > 0.0 - at `$.std[0]`",
        ),
    ],
)
def test_what_the_file_says_wrongly(tmp_path, said, message):
    name = maps_of(tmp_path / "a.onnx", said=said)
    with pytest.raises(ModelFileError) as raised:
        backbones.facts(name)
    assert str(raised.value) == f"{name} {message}"


def test_a_network_of_torch_s_gives_the_same(tmp_path, mobilenet):
    network = torch.nn.Sequential(mobilenet.blocks, mobilenet.pool).eval()
    images = photos(2, 224)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter that needs no other package is the older one
        torch.onnx.export(
            network,
            (images[:1],),
            tmp_path / "m.onnx",
            dynamo=False,
            dynamic_axes={"x": {0: "n"}},
            input_names=["x"],
        )
    with torch.no_grad():
        expected = network(images).numpy()
    np.testing.assert_allclose(embeddings(str(tmp_path / "m.onnx"), images), expected, atol=1e-4)


# What is no extractor of images.


def two_inputs(path):
    both = [tensor("ids", ["n", "t"], TensorProto.INT64), tensor("mask", ["n", "t"], TensorProto.INT64)]
    return save(
        path, [helper.make_node("Mul", ["ids", "mask"], ["y"])], both, [tensor("y", None, TensorProto.INT64)]
    )


def whole_numbers(path):
    node = helper.make_node("ArgMax", ["images"], ["best"], axis=1)
    return save(path, [node], [tensor("images", ["n", 3, 8, 8])], [tensor("best", None, TensorProto.INT64)])


def of_its_own(path):
    node = helper.make_node("Magic", ["images"], ["y"], domain="mine")
    return save(path, [node], [tensor("images", ["n", 3, 8, 8])], [tensor("y", None)])


def wide(path):
    return maps_of(path, ("n", 3, 8, 16))


def colours_unknown(path):
    node = helper.make_node("GlobalAveragePool", ["images"], ["y"])
    return save(path, [node], [tensor("images", ["n", "c", "h", "w"])], [tensor("y", None)])


def one_row(path):
    node = helper.make_node("ReduceMean", ["images"], ["y"], axes=[0, 2, 3], keepdims=0)
    return save(path, [node], [tensor("images", ["n", 3, 8, 8])], [tensor("y", None)])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            two_inputs,
            "takes ids: tensor(int64) ['n', 't'], mask: tensor(int64) ['n', 't'], expected one input "
            "(N, 3, H, W) or (N, H, W, 3), of float or uint8",
        ),
        (whole_numbers, "outputs best: tensor(int64), expected an output of floats"),
        (of_its_own, "can't be loaded: Fatal error: mine:Magic(-1) is not a registered function/op"),
        (wide, "takes images: tensor(float) ['n', 3, 8, 16], but only square images are supported"),
        (
            colours_unknown,
            "takes images: tensor(float) ['n', 'c', 'h', 'w'], expected one input (N, 3, H, W) or "
            "(N, H, W, 3): the axis of the 3 channels must be fixed",
        ),
        (one_row, "outputs y of shape (3,), expected a row for each of 1 images, with two to four axes"),
    ],
)
def test_a_graph_that_is_no_extractor_of_images_says_what_it_is(tmp_path, make, message):
    name = make(tmp_path / "a.onnx")
    with pytest.raises(ModelFileError) as raised:
        backbones.facts(name)
    assert str(raised.value) == f"{name} {message}"


def test_a_file_that_is_damaged_or_missing(tmp_path):
    maps_of(tmp_path / "a.onnx")
    content = (tmp_path / "a.onnx").read_bytes()
    (tmp_path / "cut.onnx").write_bytes(content[: len(content) // 2])
    with pytest.raises(ModelFileError, match=r"cut.onnx can't be loaded: it is not an ONNX file, or damaged"):
        backbones.facts(f"{tmp_path}/cut.onnx")
    with pytest.raises(WeightsNotFound) as raised:
        backbones.facts(f"onnx:{tmp_path}/none.onnx")
    assert str(raised.value) == f"backbone: the file {tmp_path}/none.onnx does not exist"


def test_other_weights_than_its_own(tmp_path):
    name = maps_of(tmp_path / "a.onnx")
    with pytest.raises(RecipeError) as raised:
        backbones.load(name, "random")
    assert str(raised.value) == (
        f"weights: {name} has only the weights that it was saved with (got random). Fix: remove it"
    )


# Weights in files of their own.


def test_weights_beside_the_file_are_taken_in(tmp_path):
    maps_of(tmp_path / "one.onnx")
    model = onnx.load(tmp_path / "one.onnx")
    onnx.save(model, tmp_path / "two.onnx", save_as_external_data=True, location="two.bin", size_threshold=0)
    (maps,) = runtime(tmp_path / "one.onnx", images=photos())
    name = f"onnx:{tmp_path}/two.onnx"
    np.testing.assert_allclose(embeddings(name, photos()), maps.mean(axis=(2, 3)), atol=1e-6)
    assert KERNEL.tobytes() in read_whole(tmp_path / "two.onnx")
    (tmp_path / "two.bin").unlink()
    with pytest.raises(ModelFileError, match=r"two.onnx: can't read its weights: .*two.bin"):
        backbones.facts(name)


def test_weights_outside_the_folder_are_refused(tmp_path):
    (tmp_path / "in").mkdir()
    maps_of(tmp_path / "one.onnx")
    model = onnx.load(tmp_path / "one.onnx")
    onnx.save(model, tmp_path / "in/a.onnx", save_as_external_data=True, location="secret", size_threshold=0)
    (tmp_path / "in/secret").rename(tmp_path / "secret")
    model = onnx.load(tmp_path / "in/a.onnx", load_external_data=False)
    model.graph.initializer[0].external_data[0].value = "../secret"
    onnx.save(model, tmp_path / "in/a.onnx")
    with pytest.raises(ModelFileError, match=r"in '../secret', which points outside its folder"):
        read_whole(tmp_path / "in/a.onnx")


@pytest.mark.parametrize(
    ("missing", "feature"),
    [("onnxruntime", "an .onnx file"), ("onnx", "{path}, whose weights are in other files,")],
)
def test_without_its_library_there_is_the_line_that_installs_it(tmp_path, monkeypatch, missing, feature):
    path = tmp_path / "a.onnx"
    name = maps_of(path)
    if missing == "onnx":
        onnx.save(onnx.load(path), path, save_as_external_data=True, location="b", size_threshold=0)
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(DependencyError) as raised:
        backbones.facts(name)
    expected = feature.format(path=path)
    fix = f"{sys.executable} -m pip install 'transfer-core[onnx]'"
    assert str(raised.value) == f"{expected} needs the package {missing}. Fix: {fix}"


# As a backbone.


def test_there_is_one_of_it_on_many_threads(tmp_path):
    backbone = backbones.load(maps_of(tmp_path / "a.onnx"))
    assert copy.deepcopy(backbone.blocks)[0] is backbone.blocks[0]
    assert backbone.to(torch.float64).eval().requires_grad_(False) is backbone
    batches = [photos(3, seed=seed) for seed in range(16)]
    alone = [backbone(batch) for batch in batches]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(backbone, batches))
    assert all(torch.equal(one, other) for one, other in zip(alone, together, strict=True))


def test_a_training_its_second_run_and_its_saved_model(tmp_path, monkeypatch):
    name = maps_of(tmp_path / "net.onnx", said={"resize": "16"})
    data = class_folder(tmp_path / "photos", per_class=6)
    events = []
    model = transfer_core.train(backbone=name, data=data, on_event=events.append)
    assert {"event": "progress", "step": "freeze", "done": 18, "total": 18, "unit": "images"} in events

    (tmp_path / "net.onnx").rename(tmp_path / "moved.onnx")  # the saved model has it inside
    loaded = load_model(model.save(tmp_path / "model.transfer"))
    paths = [f"{data}/{label}/0.png" for label in ("brick", "leaf", "sky")]
    assert [answer["label"] for answer in loaded.predict(paths)] == ["brick", "leaf", "sky"]
    np.testing.assert_allclose(loaded.embed(paths), model.embed(paths), atol=1e-5)
    small = model.save(tmp_path / "small.transfer", backbone=False)
    with pytest.raises(WeightsNotFound):
        load_model(small)

    (tmp_path / "moved.onnx").rename(tmp_path / "net.onnx")
    np.testing.assert_allclose(load_model(small).embed(paths), model.embed(paths), atol=1e-5)

    def start(*_):
        raise AssertionError("nothing is to be run")

    monkeypatch.setattr("transfer_core.backbones.onnx.onnx_network.open_graph", start)
    monkeypatch.setattr("transfer_core.backbones.onnx.onnx_description.subprocess", start)
    assert transfer_core.train(backbone=name, data=data).metrics == model.metrics


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (
            {"preset": "balanced"},
            "preset: balanced fine-tunes, but {name} can only be used as it is: leave it frozen",
        ),
        (
            {"steps": [{"type": "train"}, {"type": "unfreeze", "last": 1}, {"type": "train"}]},
            "steps[1]: {name} can only be used as it is: leave it frozen",
        ),
        (
            {"precision": "bfloat16"},
            "precision: {name} runs in the precision that it was saved in: leave it out",
        ),
    ],
)
def test_what_can_not_be_done_with_it(tmp_path, words, problem):
    name = maps_of(tmp_path / "a.onnx")
    with pytest.raises(RecipeError) as raised:
        transfer_core.train(backbone=name, data=str(tmp_path), **words)
    assert str(raised.value) == problem.format(name=name)


def test_a_saved_model_without_its_graph_is_refused(tmp_path):
    backbone = backbones.load(maps_of(tmp_path / "a.onnx"))
    with pytest.raises(ModelFileError, match=r"the saved model lacks the file model.onnx of .*a.onnx"):
        backbones.restore(backbone.facts, {}, backbone.weights, backbone.weights_digest)
