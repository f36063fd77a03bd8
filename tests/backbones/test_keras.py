"""Keras' own networks as oracles, on its torch backend."""

import json
import os
import random
import sys
import zipfile

import numpy as np
import pytest
import torch

import transfer_core
from photos import class_folder, pixels
from transfer_core import backbones
from transfer_core.backbones.keras import keras_library
from transfer_core.backbones.keras.keras_architecture import architecture
from transfer_core.backbones.keras.keras_blocks import arrange
from transfer_core.backbones.keras.keras_network import build
from transfer_core.backbones.keras.keras_published import published
from transfer_core.backbones.keras.keras_values import change_first_kernel, fill
from transfer_core.features.image_tensors import normalize, to_batch
from transfer_core.runtime.errors import (
    ConfigurationError,
    DependencyError,
    ModelFileError,
    RecipeError,
    WeightsNotFound,
)
from transfer_core.runtime.progress import Progress
from whole_job import check_frozen_and_kept, check_resumed, check_tuned

pytestmark = [
    pytest.mark.slow,
    pytest.mark.extras,
    pytest.mark.filterwarnings(
        "ignore:__array__ implementation:DeprecationWarning", "ignore:Skipping nested container:UserWarning"
    ),
]

# The smallest images that they take, or a little more.
SIZES = {
    "MobileNetV2": 32,
    "ResNet50": 32,
    "EfficientNetB0": 32,
    "VGG16": 32,
    "DenseNet121": 32,
    "ConvNeXtTiny": 32,
    "Xception": 71,
}


@pytest.fixture(scope="module")
def keras(tmp_path_factory):
    """Keras, imported as the library does it: on torch, and without a trace in the environment."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KERAS_HOME", str(tmp_path_factory.mktemp("keras")))
        patch.delenv("KERAS_BACKEND", raising=False)
        before = dict(os.environ)
        imported = keras_library.keras()
        assert dict(os.environ) == before
    assert imported.config.backend() == "torch"
    return imported


@pytest.fixture(autouse=True)
def keras_home(tmp_path, monkeypatch):
    """An empty cache of Keras'."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))


def saved(model, path):
    with keras_library.tensorflow_left_alone():
        model.save(path)
    return str(path)


@pytest.fixture(autouse=True)
def the_same_draws():
    """Kernels that Keras draws, by seeds of Python's: the same whenever a test is run."""
    random.seed(0)


def as_trained(model, seed=0):
    """Scales and shifts that are not the fresh ones, and norms that know what they are given."""
    rng = np.random.default_rng(seed)
    for variable in model.variables:
        if variable.path.endswith("gamma"):
            variable.assign(rng.uniform(0.5, 1.5, variable.shape))
        elif variable.path.endswith(("beta", "bias")):
            variable.assign(rng.normal(0, 0.1, variable.shape))
    for layer in model.layers:
        if type(layer).__name__ == "Normalization" and layer.input_mean is None:
            layer.adapt(images_of(8))
    norms = [layer for layer in model.layers if type(layer).__name__ == "BatchNormalization"]
    for norm in norms:
        norm.momentum = 0.0
    if norms:
        _, size, _, channels = model.input_shape
        with torch.no_grad():
            model(torch.from_numpy(images_of(size, 8, channels)), training=True)
    return model


def ours(model, trust=False):
    """The same model's network, blocks and pool."""
    with keras_library.tensorflow_left_alone():
        made = architecture(json.loads(model.to_json()), "it")
    network = build(made.graph, made.size, trust)
    fill(network.pieces, keras_library.variables(model))
    blocks, pool = arrange(network)
    return network, blocks, pool


@torch.no_grad()
def run(module, given):
    """A module of ours on what Keras has as (N, H, W, C), and its result likewise."""
    x = torch.from_numpy(given)
    result = module.eval()(x.permute(0, 3, 1, 2) if x.dim() == 4 else x)
    return (result.permute(0, 2, 3, 1) if result.dim() == 4 else result).numpy()


def whole(parts):
    _, blocks, pool = parts
    return torch.nn.Sequential(*blocks.values(), pool)


@torch.no_grad()
def theirs(model, images):
    found = model(torch.from_numpy(images), training=False)
    return [one.numpy() for one in found] if isinstance(found, list) else found.numpy()


def images_of(size, count=2, channels=3):
    """Each with a colour of its own, and coarse and fine patterns on it."""
    rng = np.random.default_rng(1)
    coarse = np.kron(
        rng.uniform(-80, 80, (count, 4, 4, channels)), np.ones((1, -(-size // 4), -(-size // 4), 1))
    )
    fine = rng.uniform(-40, 40, (count, size, size, channels))
    colour = rng.uniform(0, 255, (count, 1, 1, channels))
    return np.clip(colour + coarse[:, :size, :size] + fine, 0, 255).astype(np.float32)


def close(found, expected):
    np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max(), rtol=1e-4)


@pytest.mark.parametrize("name", SIZES)
def test_every_block_does_what_keras_does(keras, name):
    """Each is given what Keras gives it: a deep random network amplifies rounding beyond any tolerance."""
    size = SIZES[name]
    make = getattr(keras.applications, name)
    model = as_trained(make(weights=None, include_top=False, pooling="avg", input_shape=(size, size, 3)))
    network, blocks, pool = ours(model)
    operations = {operation.name: operation for operation in model.operations}
    last = [operations[end.layer[0]].output for end in ends_of(network, blocks)]
    images = images_of(size, 8)
    *between, embeddings = theirs(keras.Model(model.input, [*last, model.output]), images)
    for block, before, after in zip(blocks.values(), [images, *between], between, strict=False):
        close(run(block, before), after)
    found = run(pool, between[-1])
    close(found, embeddings)
    assert found.shape == (8, network.width)
    assert not any(piece.foreign for piece in network.pieces)
    trainable = sum(int(np.prod(v.shape)) for v in model.trainable_variables)
    assert network.parameters == trainable
    assert sum(p.numel() for block in blocks.values() for p in block.parameters()) == trainable


def ends_of(network, blocks):
    """The last node of each block."""
    nodes = {piece.name: piece.node for piece in network.pieces}
    for block in blocks.values():
        *_, last = (name for name, _ in block.named_children() if name in nodes)
        yield nodes[last]


def test_blocks_are_what_keras_calls_by_one_name(keras):
    known = backbones.facts("keras/MobileNetV2")
    assert known.blocks[:3] == ("Conv1", "expanded_conv", "block_1")
    assert known.blocks[-2:] == ("block_16", "Conv_1")
    assert len(known.blocks) == 19
    assert (known.embedding_width, known.parameters, known.plain) == (1280, 3538984, True)
    assert known.paper.startswith("MobileNetV2")
    again = published("MobileNetV2")
    assert known.default_weights.file == again.file


def residual(keras, x, filters, name):
    layers = keras.layers
    y = layers.Conv2D(filters, 3, padding="same", use_bias=False, name=f"{name}_conv")(x)
    y = layers.BatchNormalization(name=f"{name}_norm")(y)
    gate = layers.GlobalAveragePooling2D(keepdims=True, name=f"{name}_squeeze")(y)
    gate = layers.Dense(filters, activation="sigmoid", name=f"{name}_gate")(gate)
    y = layers.Multiply(name=f"{name}_scale")([y, gate])
    return layers.Activation("relu", name=f"{name}_relu")(layers.Add(name=f"{name}_add")([x, y]))


def small(keras, size=32, channels=3, classes=4):
    """Residual branches, a gate, uneven padding, norms, dropout and a classifier."""
    layers = keras.layers
    image = layers.Input((size, size, channels), name="picture")
    x = layers.Rescaling(1 / 127.5, offset=-1, name="scale")(image)
    x = layers.Conv2D(8, 3, strides=2, padding="same", name="stem")(x)
    x = layers.ReLU(6.0, name="stem_relu")(x)
    x = residual(keras, x, 8, "first")
    x = layers.SeparableConv2D(12, 3, strides=2, padding="same", activation="silu", name="wider")(x)
    x = layers.MaxPooling2D(3, 2, padding="same", name="smaller")(x)
    x = residual(keras, x, 12, "second")
    x = layers.GlobalAveragePooling2D(name="mean")(x)
    x = layers.Dropout(0.3, name="drop")(x)
    outputs = layers.Dense(classes, activation="softmax", name="answers")(x)
    return as_trained(keras.Model(image, outputs, name="small"))


@pytest.fixture(scope="module")
def file(keras, tmp_path_factory):
    """A `.keras` file, and the model in it up to its embedding."""
    model = small(keras)
    path = saved(model, tmp_path_factory.mktemp("models") / "small.keras")
    return path, keras.Model(model.input, model.get_layer("mean").output)


def test_a_file_of_ones_own(file):
    path, model = file
    known = backbones.facts(path)
    assert known.blocks == ("stem", "first_add", "wider", "second_add")
    assert (known.embedding_width, known.family, known.plain) == (12, "small", True)
    assert known.parameters == known.backbone_parameters + 12 * 4 + 4
    backbone = backbones.load(path)
    photos = [pixels((180, 60, 40), seed, size=32) for seed in range(3)]
    batch = normalize(to_batch(photos), backbone.preprocessing, torch.float32)
    with torch.no_grad():
        close(backbone(batch).numpy(), theirs(model, np.stack(photos).astype(np.float32)))


def test_random_weights_are_the_same_for_the_same_seed(file):
    path, _ = file
    first, second = (backbones.load(path, "random") for _ in range(2))
    assert first.weights_digest == second.weights_digest != backbones.load(path).weights_digest
    stem = first.state_dict()["blocks.stem.stem.weight"]
    bound = (6 / (3 * 9 + 8 * 9)) ** 0.5  # Glorot and Bengio 2010
    assert 0.9 * bound < stem.abs().max() <= bound
    assert first.weights is None


@pytest.mark.parametrize(
    "change",
    ["float64", "deepcopy", "assign"],
)
def test_it_is_a_module_like_any_other(file, change):
    import copy

    path, _ = file
    backbone = backbones.load(path)
    batch = torch.rand(2, 3, 32, 32)
    expected = backbone(batch)
    if change == "float64":
        assert backbone.double()(batch.double()).dtype == torch.float64
    elif change == "deepcopy":
        twin = copy.deepcopy(backbone)
        with torch.no_grad():
            twin.blocks.stem.stem.weight.zero_()
        assert torch.equal(backbone(batch), expected)
        assert not torch.equal(twin(batch), expected)
    else:
        doubled = {name: tensor * 2 for name, tensor in backbone.state_dict().items()}
        backbone.load_state_dict(doubled, assign=True)
        assert not torch.equal(backbone(batch), expected)


def test_the_whole_job(file, tmp_path, monkeypatch):
    path, _ = file
    words = {"backbone": path, "data": class_folder(tmp_path / "photos", per_class=4)}
    photo = f"{words['data']}/leaf/0.png"
    frozen = check_frozen_and_kept(words, photo)
    check_tuned(words, frozen, backbones.facts(path).blocks)
    check_resumed(words, monkeypatch)


def test_a_saved_model_needs_neither_the_file_nor_keras(keras, tmp_path, monkeypatch):
    path = saved(small(keras), tmp_path / "gone.keras")
    data = class_folder(tmp_path / "photos", per_class=3)
    model = transfer_core.train(backbone=path, data=data)
    photo = f"{data}/sky/1.png"
    expected = model.embed([photo])
    os.remove(path)
    monkeypatch.setitem(sys.modules, "keras", None)
    np.testing.assert_array_equal(transfer_core.load(model.path).embed([photo]), expected)


def nested(keras):
    """As Keras' guide to transfer learning makes them: layers that vary images, a model within the model."""
    layers = keras.layers
    inner = keras.Sequential(
        [layers.Input((24, 24, 3)), layers.Conv2D(6, 3, name="convolution"), layers.BatchNormalization()],
        name="inner",
    )
    image = layers.Input((24, 24, 3))
    x = keras.Sequential([layers.RandomFlip("horizontal"), layers.RandomRotation(0.1)], name="varied")(image)
    x = inner(x / 127.5 - 1)
    x = layers.Flatten()(1 - x)
    x = layers.Dense(10, activation="gelu", name="wide")(x)
    return keras.Model(image, layers.Dense(2)(x)), "wide"


def sequential(keras):
    layers = keras.layers
    model = keras.Sequential(
        [
            layers.Input((20, 20, 3)),
            layers.ZeroPadding2D(((1, 0), (2, 1))),
            layers.Conv2D(5, 4, strides=3, padding="same", dilation_rate=1, activation="hard_swish"),
            layers.LayerNormalization(),
            layers.AveragePooling2D(3, 1, padding="same"),
            layers.Reshape((-1, 5), name="tokens"),
            layers.GlobalMaxPooling1D(name="most"),
            layers.Dense(3),
        ]
    )
    return model, "most"


def shared(keras):
    """One layer for two halves, put side by side."""
    layers = keras.layers
    image = layers.Input((16, 16, 3))
    both = layers.Conv2D(4, 3, padding="same", name="both")
    left, right = layers.Cropping2D(((0, 0), (0, 8)))(image), layers.Cropping2D(((0, 0), (8, 0)))(image)
    x = layers.Concatenate(axis=2, name="beside")([both(left), both(right)])
    x = layers.Concatenate(name="deep")(
        [x, layers.Average()([x, x]), layers.Subtract()([x, image[..., :1] + x])]
    )
    x = layers.GlobalAveragePooling2D(name="mean")(x)
    return keras.Model(image, layers.Dense(2)(x)), "mean"


def grey(keras):
    return small(keras, size=28, channels=1), "mean"


def computed_by_keras(keras):
    """Layers without a counterpart: attention, a learned slope, a transposed convolution, a slice."""
    layers = keras.layers
    image = layers.Input((12, 12, 3))
    x = layers.PReLU(shared_axes=[1, 2], name="slope")(layers.Rescaling(1 / 127.5, -1)(image))
    x = layers.Conv2DTranspose(4, 3, strides=2, name="larger")(x[:, ::2])
    x = layers.Reshape((-1, 4))(x)
    x = layers.MultiHeadAttention(2, 4, name="attention")(x, x)
    x = layers.GlobalAveragePooling1D(name="mean")(x)
    return keras.Model(image, layers.Dense(2)(x)), "mean"


@pytest.mark.parametrize(
    ("make", "by_keras"),
    [
        (nested, set()),
        (sequential, set()),
        (shared, {"ops.GetItem"}),
        (grey, set()),
        (computed_by_keras, {"PReLU", "ops.GetItem", "Conv2DTranspose", "MultiHeadAttention"}),
    ],
)
def test_graphs_of_many_kinds(keras, make, by_keras):
    model, last = make(keras)
    as_trained(model)
    size, channels = model.input_shape[1], model.input_shape[3]
    parts = ours(model)
    embedding = keras.Model(model.inputs, model.get_layer(last).output)
    images = images_of(size)
    given = images @ np.float32([[0.299], [0.587], [0.114]]) if channels == 1 else images
    close(run(whole(parts), images), theirs(embedding, given))
    assert {piece.node.kind for piece in parts[0].pieces if piece.foreign} == by_keras


def test_uneven_average_pooling_leaves_out_what_is_beyond_the_border(keras):
    """As TensorFlow and JAX have it; Keras' torch backend repeats the border there."""
    layers = keras.layers
    image = layers.Input((4, 4, 3))
    parts = ours(keras.Model(image, layers.Flatten()(layers.AveragePooling2D(3, 2, padding="same")(image))))
    images = images_of(4, count=1)
    windows = [images[0, y : y + 3, x : x + 3].mean((0, 1)) for y in (0, 2) for x in (0, 2)]
    close(run(whole(parts), images), np.concatenate(windows)[None])


def test_pixels_become_what_keras_makes_of_them(keras):
    """Whatever the model, but for the order of its channels: those are changed in the first convolution."""
    names = [name for name in dir(keras.applications) if name[0].isupper() and "NASNet" not in name]
    assert len(names) == 38
    photo = images_of(4, 1)
    for name in names:
        known, module = published(name), sys.modules[getattr(keras.applications, name).__module__]
        batch = torch.from_numpy(photo).to(torch.uint8).permute(0, 3, 1, 2)
        found = normalize(batch, known.weights.preprocessing, torch.float32).permute(0, 2, 3, 1).numpy()
        expected = module.preprocess_input(batch.permute(0, 2, 3, 1).numpy().astype(np.float32))
        close(found[..., ::-1] if known.blue_first else found, expected)


def test_a_convolution_that_wants_blue_first_is_given_red_first(keras, tmp_path):
    model = keras.applications.VGG16(weights=None, include_top=False, pooling="avg")
    model.save_weights(tmp_path / "own.weights.h5")
    backbone = backbones.load("keras/VGG16", str(tmp_path / "own.weights.h5"))
    photo = pixels((180, 60, 40), seed=0, size=224)
    with torch.no_grad():
        found = backbone(normalize(to_batch([photo]), backbone.preprocessing, torch.float32)).numpy()
    given = keras.applications.vgg16.preprocess_input(photo[None].astype(np.float32))
    close(found, theirs(model, given.copy()))
    assert backbone.weights.name == str(tmp_path / "own.weights.h5")
    assert backbone.weights.license == "unknown"


def test_the_published_efficientnets_scale_their_channels(keras, tmp_path, monkeypatch):
    """Keras does so for its own weights alone: in a layer that is not in a model without them."""
    make = keras.applications.EfficientNetB0
    options = {"include_top": False, "pooling": "avg", "input_shape": (32, 32, 3)}
    plain = as_trained(make(weights=None, **options))
    plain.save_weights(tmp_path / "stand_in.weights.h5")
    monkeypatch.setattr(
        "keras.src.utils.file_utils.get_file", lambda *_, **__: str(tmp_path / "stand_in.weights.h5")
    )
    scaled = make(weights="imagenet", **options)
    parts = ours(plain)
    images = images_of(32)
    change_first_kernel(parts[0].pieces, False, published("EfficientNetB0").scale)
    expected = theirs(scaled, images)
    effect = np.abs(expected - theirs(plain, images)).max()
    assert effect > 0
    assert np.abs(run(whole(parts), images) - expected).max() < 0.01 * effect


def test_weights_with_a_classifier_do_too(keras, tmp_path):
    model = keras.applications.MobileNetV2(weights=None)
    model.save_weights(tmp_path / "whole.weights.h5")
    backbone = backbones.load("keras/MobileNetV2", str(tmp_path / "whole.weights.h5"))
    first = model.get_layer("Conv1").kernel.value.detach().permute(3, 2, 0, 1)
    assert torch.equal(backbone.blocks.Conv1.Conv1.weight, first)


def test_the_published_file_is_found(keras, tmp_path, monkeypatch):
    """In the folder of the user's, then in Keras' cache."""
    from keras.src.legacy.saving.legacy_h5_format import save_weights_to_hdf5_group

    h5py = pytest.importorskip("h5py")
    model = keras.applications.MobileNetV2(weights=None, include_top=False)
    cache = tmp_path / "keras" / "models"
    cache.mkdir(parents=True)
    with h5py.File(cache / published("MobileNetV2").file, "w") as store:
        save_weights_to_hdf5_group(store, model)
    monkeypatch.setenv("TRANSFER_WEIGHTS", str(tmp_path))
    backbone = backbones.load("keras/MobileNetV2")
    first = model.get_layer("Conv1").kernel.value.detach().permute(3, 2, 0, 1)
    assert torch.equal(backbone.blocks.Conv1.Conv1.weight, first)
    assert backbone.weights.name == "imagenet"
    strides = {"expanded_conv": 2, "block_2": 4, "block_5": 8, "block_12": 16, "Conv_1": 32}
    ends = ("expanded_conv_project_BN", "block_2_add", "block_5_add", "block_12_add", "out_relu")
    maps = keras.Model(model.input, [model.get_layer(name).output for name in ends])
    assert {declared.block: declared.stride for declared in backbone.facts.feature_maps} == strides
    images = torch.randn(2, 3, 96, 160, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = maps(images.permute(0, 2, 3, 1))
        for ours, theirs in zip(backbone.feature_maps(images), expected, strict=True):
            torch.testing.assert_close(ours, theirs.permute(0, 3, 1, 2), rtol=1e-4, atol=1e-5)


def test_weights_that_are_nowhere_or_altered(keras, tmp_path, monkeypatch):
    (tmp_path / published("ResNet50").file).write_bytes(b"altered")
    monkeypatch.setenv("TRANSFER_WEIGHTS", str(tmp_path))
    events = []
    with pytest.raises(WeightsNotFound) as raised:
        backbones.load("keras/ResNet50", progress=Progress(events.append))
    (warning,) = [event["message"] for event in events if event["event"] == "warning"]
    assert published("ResNet50").digest in warning
    for place in (f"TRANSFER_WEIGHTS: {tmp_path}", f"{tmp_path}/keras/models", "TRANSFER_OFFLINE"):
        assert place in str(raised.value)


def message_of(error, call, *arguments, **options):
    with pytest.raises(error) as raised:
        call(*arguments, **options)
    assert "\n" not in str(raised.value)
    return str(raised.value)


def test_what_can_be_wrong_with_names_and_files(keras, tmp_path):
    assert 'did you mean "MobileNetV2"?' in message_of(RecipeError, backbones.facts, "keras/MobilNetV2")
    nowhere = str(tmp_path / "nowhere.keras")
    assert nowhere in message_of(WeightsNotFound, backbones.facts, nowhere)
    (tmp_path / "torn.keras").write_bytes(b"PK")
    assert "torn.keras is not" in message_of(ModelFileError, backbones.facts, str(tmp_path / "torn.keras"))
    other = saved(
        keras.Sequential([keras.layers.Input((8, 8, 3)), keras.layers.Flatten()]), tmp_path / "o.keras"
    )
    misfit = message_of(ModelFileError, backbones.load, "keras/MobileNetV2", other)
    assert misfit.startswith(f"{other} does not fit mobilenetv2")
    assert "imagenet" in message_of(RecipeError, backbones.load, "keras/VGG16", "imagenet21k")
    pth = tmp_path / "w.pth"
    pth.write_bytes(b"")
    assert "is not a file of Keras" in message_of(ModelFileError, backbones.load, "keras/VGG16", str(pth))


def several_inputs(layers):
    ends = [layers.Input((8, 8, 3)) for _ in range(2)]
    return ends, layers.Add()(ends)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (several_inputs, "2 inputs and 1 outputs"),
        (lambda layers: ((x := layers.Input((8,))), layers.Dense(2)(x)), "takes [None, 8], not images"),
        (lambda layers: ((x := layers.Input((8, 6, 3))), layers.Flatten()(x)), "8 x 6 pixels"),
        (lambda layers: ((x := layers.Input((8, 8, 4))), layers.Flatten()(x)), "not images"),
    ],
)
def test_models_that_can_t_be_used(keras, make, said, tmp_path):
    path = saved(keras.Model(*make(keras.layers)), tmp_path / "odd.keras")
    assert said in message_of(RecipeError, backbones.facts, path)


@pytest.fixture(scope="module")
def with_code(keras, tmp_path_factory):
    """A model with a Python function in it."""
    layers = keras.layers
    image = layers.Input((8, 8, 3))
    x = layers.Lambda(lambda x: x * 2, name="twice", output_shape=(8, 8, 3))(layers.Rescaling(1 / 255)(image))
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(4, 3, name="convolution")(x))
    model = keras.Model(image, layers.Dense(2)(x))
    return saved(model, tmp_path_factory.mktemp("code") / "code.keras")


def test_code_in_a_file_runs_only_if_it_is_trusted(with_code, tmp_path):
    refusal = message_of(RecipeError, backbones.facts, with_code)
    assert refusal.startswith("trust: ")
    assert "the layer twice (a Python function)" in refusal
    assert not backbones.facts(with_code, trust=True).plain
    words = {"backbone": with_code, "trust": True, "data": class_folder(tmp_path / "photos", per_class=3)}
    photo = f"{words['data']}/leaf/0.png"
    model = check_frozen_and_kept(words, photo)
    assert model.backbone.assets.files() == {}  # a saved model has no code
    away = f"{with_code}.away"
    os.rename(with_code, away)
    try:
        assert with_code in message_of(WeightsNotFound, transfer_core.load, model.path)
    finally:
        os.rename(away, with_code)


def test_code_put_into_a_saved_model_is_refused(file, with_code):
    """Whatever its recipe says about trust."""
    path, _ = file
    backbone = backbones.load(path)
    with zipfile.ZipFile(with_code) as archive:
        config = archive.read("config.json")
    altered = {
        **backbone.state_dict(),
        "assets.keras%2Ejson": torch.frombuffer(bytearray(config), dtype=torch.uint8),
    }
    refusal = message_of(
        RecipeError, backbones.restore, backbone.facts, altered, backbone.weights, "", trust=True
    )
    assert "the saved model contains code" in refusal


@pytest.mark.parametrize(
    ("kind", "module"),
    [
        ("TFSMLayer", "keras.layers"),
        ("TorchModuleWrapper", "keras.layers"),
        ("StringLookup", "keras.layers"),
        ("load_model", "keras.models"),
        ("get_file", "keras.utils"),
        ("Dense", "os"),
        ("system", "keras.src.utils.python_utils"),
    ],
)
def test_classes_of_keras_that_do_more_than_compute_need_trust(file, kind, module, tmp_path):
    """In a file, and in a saved model, whatever the recipe says."""
    path, _ = file
    backbone = backbones.load(path)
    config = json.loads(backbone.assets.files()["keras.json"])
    layer = config["config"]["layers"][1]
    layer["class_name"], layer["module"] = kind, module
    content = json.dumps(config).encode()
    altered = {
        **backbone.state_dict(),
        "assets.keras%2Ejson": torch.frombuffer(bytearray(content), dtype=torch.uint8),
    }
    refusal = message_of(
        RecipeError, backbones.restore, backbone.facts, altered, backbone.weights, "", trust=True
    )
    assert f"(the class {layer.get('registered_name') or kind})" in refusal
    with zipfile.ZipFile(tmp_path / "a.keras", "w") as archive:
        archive.writestr("config.json", content)
    assert "contains code" in message_of(RecipeError, backbones.facts, str(tmp_path / "a.keras"))


def test_a_saved_model_names_no_file_that_is_opened_without_trust(file):
    path, _ = file
    backbone = backbones.load(path)
    tensors = {n: t for n, t in backbone.state_dict().items() if not n.startswith("assets.")}
    arguments = (backbones.restore, backbone.facts, tensors, backbone.weights, "")
    assert message_of(RecipeError, *arguments).startswith("trust: ")


@pytest.mark.parametrize("kind", ["external", "link", "virtual"])
@pytest.mark.parametrize("packed", [True, False])
def test_weights_that_refer_to_other_files_are_refused(file, kind, packed, tmp_path):
    import h5py

    (tmp_path / "secret").write_bytes(bytes(400))
    weights = tmp_path / "model.weights.h5"
    with h5py.File(weights, "w") as written:
        if kind == "external":
            written.create_dataset("a/b", (100,), "f4", external=[(str(tmp_path / "secret"), 0, 400)])
        elif kind == "link":
            written["a"] = h5py.ExternalLink(str(tmp_path / "secret"), "/")
        else:
            layout = h5py.VirtualLayout((100,), "f4")
            layout[:] = h5py.VirtualSource(str(tmp_path / "secret"), "x", (100,))
            written.create_virtual_dataset("a", layout)
    path, _ = file
    words = {"weights": str(weights)}
    if packed:
        with zipfile.ZipFile(path) as known, zipfile.ZipFile(tmp_path / "a.keras", "w") as archive:
            archive.writestr("config.json", known.read("config.json"))
            archive.writestr("metadata.json", known.read("metadata.json"))
            archive.write(weights, "model.weights.h5")
        path, words = str(tmp_path / "a.keras"), {}
    assert "it refers to other files" in message_of(ModelFileError, backbones.load, path, **words)


def test_a_class_of_one_s_own_is_code(keras, tmp_path):
    class Twice(keras.layers.Layer):
        def call(self, x):
            return 2 * x

    image = keras.layers.Input((8, 8, 3))
    path = saved(
        keras.Model(image, keras.layers.Flatten()(Twice(name="mine")(image))), tmp_path / "own.keras"
    )
    assert "the layer mine (the class" in message_of(RecipeError, backbones.facts, path)
    assert "mine" in message_of(RecipeError, backbones.facts, path, trust=True)


def test_layers_that_keras_computes_train_and_keep_their_statistics(keras, tmp_path):
    model, _ = computed_by_keras(keras)
    path = saved(model, tmp_path / "attention.keras")
    known = backbones.facts(path)
    assert not known.plain
    words = {"backbone": path, "data": class_folder(tmp_path / "photos", per_class=3)}
    frozen = check_frozen_and_kept(words, f"{words['data']}/leaf/0.png")
    check_tuned(words, frozen, known.blocks)


def test_a_model_that_does_not_scale_pixels_is_told_of(keras, tmp_path):
    layers = keras.layers
    image = layers.Input((8, 8, 3))
    path = saved(keras.Model(image, layers.Flatten()(layers.Conv2D(2, 3)(image))), tmp_path / "raw.keras")
    events = []
    backbones.load(path, progress=Progress(events.append))
    (warning,) = [event["message"] for event in events if event["event"] == "warning"]
    assert "pixels from 0 to 255" in warning


def test_keras_is_missing(monkeypatch):
    monkeypatch.delitem(sys.modules, "keras")
    monkeypatch.setattr("importlib.import_module", missing)
    said = message_of(DependencyError, keras_library.keras)
    assert "pip install 'transfer-core[keras]'" in said


def missing(name):
    raise ModuleNotFoundError(f"No module named {name!r}", name=name)


def test_keras_runs_on_another_backend(keras, monkeypatch):
    monkeypatch.setattr(keras.config, "backend", lambda: "jax")
    model, _ = computed_by_keras(keras)
    with keras_library.tensorflow_left_alone():
        made = architecture(json.loads(model.to_json()), "it")
    said = message_of(ConfigurationError, build, made.graph, made.size, False)
    assert "the layer slope" in said
    assert "jax" in said
