"""ONNX files that reach for other files, memory and time."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from transfer_core import backbones
from transfer_core.backbones import untrusted
from transfer_core.backbones.onnx import onnx_description
from transfer_core.backbones.onnx.onnx_tensor_files import read_whole, tensor_files
from transfer_core.runtime.errors import ModelFileError, OutOfMemory
from transfer_core.sandbox import landlock

pytestmark = [pytest.mark.slow, pytest.mark.extras]

confines = pytest.mark.skipif(not landlock.version(), reason="this kernel has no Landlock")

MEAN = helper.make_node("ReduceMean", ["images"], ["means"], axes=[2, 3], keepdims=0)
SUM = helper.make_node("ReduceSum", ["numbers"], ["more"], keepdims=0)
ADD = helper.make_node("Add", ["means", "more"], ["y"])


def value(name, shape, kind=TensorProto.FLOAT):
    return helper.make_tensor_value_info(name, kind, shape)


def model(nodes, constants=(), functions=(), sparse=()):
    """A graph of images (N, 3, 8, 8) whose output `y` is (N, 3)."""
    graph = helper.make_graph(
        nodes, "graph", [value("images", ["n", 3, 8, 8])], [value("y", ["n", 3])], list(constants)
    )
    graph.sparse_initializer.extend(sparse)
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("mine", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=9, functions=functions)


def elsewhere(location="secret", **more):
    """A thousand numbers that are in another file."""
    tensor = TensorProto(name="numbers", data_type=TensorProto.FLOAT, dims=[1000], data_location=1)
    for key, text in {"location": location, **more}.items():
        tensor.external_data.add(key=key, value=str(text))
    return tensor


def of_an_initializer():
    return model([MEAN, SUM, ADD], [elsewhere()])


def of_a_node():
    return model([helper.make_node("Constant", [], ["numbers"], value=elsewhere()), MEAN, SUM, ADD])


def of_a_branch():
    constant = helper.make_node("Constant", [], ["numbers"], value=elsewhere())
    branch = helper.make_graph([constant], "branch", [], [value("numbers", [1000])])
    condition = numpy_helper.from_array(np.array(True), "condition")
    choose = helper.make_node("If", ["condition"], ["numbers"], then_branch=branch, else_branch=branch)
    return model([choose, MEAN, SUM, ADD], [condition])


def of_a_function():
    constant = helper.make_node("Constant", [], ["numbers"], value=elsewhere())
    function = helper.make_function(
        "mine", "More", [], ["numbers"], [constant], [helper.make_opsetid("", 17)]
    )
    return model(
        [helper.make_node("More", [], ["numbers"], domain="mine"), MEAN, SUM, ADD], functions=[function]
    )


def of_a_sparse_tensor():
    values = elsewhere()
    indices = numpy_helper.from_array(np.arange(1000), "indices")
    return model([MEAN, SUM, ADD], sparse=[helper.make_sparse_tensor(values, indices, [1000])])


PLACES = [of_an_initializer, of_a_node, of_a_branch, of_a_function, of_a_sparse_tensor]


@pytest.fixture
def harmless(tmp_path):
    """A backbone whose file is what it should be."""
    more = numpy_helper.from_array(np.zeros(3, np.float32), "more")
    path = tmp_path / "harmless.onnx"
    onnx.save(model([MEAN, ADD], [more]), path)
    return backbones.load(f"onnx:{path}")


def inside(backbone, content):
    """The same as it is restored from a saved model that has other bytes."""
    tensors = dict(backbone.state_dict())
    (name,) = (name for name in tensors if name.startswith("assets."))
    tensors[name] = torch.frombuffer(bytearray(content), dtype=torch.uint8)
    return backbones.restore(backbone.facts, tensors, backbone.weights, backbone.weights_digest)


IMAGES = torch.zeros(2, 3, 8, 8)


# Other files.


@pytest.mark.parametrize("make", PLACES)
def test_a_saved_model_reads_no_file_beside_it(make, harmless, tmp_path, monkeypatch):
    content = make().SerializeToString()
    monkeypatch.chdir(tmp_path)
    Path("secret").write_bytes(np.full(1000, 7, np.float32).tobytes())
    assert [file.location for file in tensor_files(content, "a.onnx")] in (["secret"], ["secret"] * 2)
    (found,) = onnxruntime.InferenceSession(content).run(None, {"images": IMAGES.numpy()})
    assert (found == 7000).all()
    with pytest.raises(ModelFileError, match=r"its tensors must be in the file itself"):
        inside(harmless, content)(IMAGES)


@confines
def test_the_process_that_describes_a_graph_is_confined(tmp_path):
    (tmp_path / "secret").write_bytes(np.full(1000, 7, np.float32).tobytes())
    unchecked = """
import sys
from transfer_core.backbones.onnx import onnx_description_process
{before}
usual = onnx_description_process.described
def described(content, name):
    from transfer_core.backbones.onnx import onnx_session
    onnx_session.tensor_files = lambda *_: []
    return usual(content, name)
onnx_description_process.described = described
onnx_description_process.main({{"name": "a.onnx", "memory": 1 << 30}})
"""
    content = of_an_initializer().SerializeToString()
    free = "onnx_description_process.confine = onnx_description_process.freeze = lambda *_: None"
    printed = [output_of(unchecked.format(before=before), content, tmp_path) for before in (free, "")]
    assert json.loads(printed[0])["interface"]["width"] == 3  # it has read the file
    assert json.loads(printed[1])["error"] == "ModelFileError"


def output_of(script, content, folder):
    variables = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", script]
    return subprocess.run(
        command, input=content, env=variables, cwd=folder, capture_output=True, check=True
    ).stdout


@pytest.mark.parametrize("location", ["/etc/hostname", "../secret", "link", "*/_ORT_MEM_ADDR_/*", ""])
def test_tensors_elsewhere_than_in_the_folder_are_refused(location, tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    (tmp_path / "secret").write_bytes(bytes(4000))
    (folder / "link").symlink_to(tmp_path / "secret")
    onnx.save(model([MEAN, SUM, ADD], [elsewhere(location, offset=0, length=4000)]), folder / "a.onnx")
    with pytest.raises(ModelFileError, match=r"outside its folder|does not exist|can't read"):
        read_whole(folder / "a.onnx")


def test_many_tensors_of_one_big_file_take_no_memory(tmp_path):
    with (tmp_path / "big").open("wb") as file:
        file.truncate(1 << 30)
    tensors = [elsewhere("big") for _ in range(3)]
    for number, tensor in enumerate(tensors):
        tensor.name, tensor.dims[0] = f"numbers{number}", 1 << 28
    onnx.save(model([MEAN], tensors), tmp_path / "a.onnx")
    with pytest.raises(ModelFileError, match=r"exceed the format's limit of 2 GB"):
        read_whole(tmp_path / "a.onnx")


def test_the_other_format_of_onnx_runtime_is_refused(harmless, tmp_path):
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "a.ort")
    options.add_session_config_entry("session.save_model_format", "ORT")
    more = numpy_helper.from_array(np.zeros(3, np.float32), "more")
    onnxruntime.InferenceSession(model([MEAN, ADD], [more]).SerializeToString(), options)
    content = (tmp_path / "a.ort").read_bytes()
    onnxruntime.InferenceSession(content).run(None, {"images": IMAGES.numpy()})
    with pytest.raises(ModelFileError, match=r"it is not an ONNX file, or damaged"):
        inside(harmless, content)(IMAGES)


def test_random_bytes_are_an_error_of_ours():
    generator = np.random.default_rng(0)
    content = model([MEAN, SUM, ADD], [elsewhere()]).SerializeToString()
    found = 0
    for _ in range(2000):
        damaged = bytearray(content)
        for place in generator.integers(0, len(content), 3):
            damaged[place] = generator.integers(0, 256)
        try:
            found += len(tensor_files(bytes(damaged), "a.onnx"))
        except ModelFileError:
            found += 1
    assert found > 1000


# Memory and time.


def ones(shape):
    one = numpy_helper.from_array(np.ones(1, np.float32))
    return [
        helper.make_node("ConstantOfShape", [shape], ["ones"], value=one),
        helper.make_node("ReduceSum", ["ones"], ["more"], keepdims=0),
        MEAN,
        ADD,
    ]


def of_a_length(count):
    """A tensor of so many numbers, whatever the images are."""
    return model(ones("shape"), [numpy_helper.from_array(np.array([count]), "shape")])


def of_the_images_length(count):
    """A tensor of so many numbers if the images are one, of none if they are zero."""
    nodes = [
        helper.make_node("ReduceMax", ["images"], ["most"], axes=[0, 1, 2, 3], keepdims=0),
        helper.make_node("Cast", ["most"], ["whole"], to=TensorProto.INT64),
        helper.make_node("Mul", ["whole", "count"], ["shape"]),
    ]
    return model(nodes + ones("shape"), [numpy_helper.from_array(np.array([count]), "count")])


def endless():
    """A loop that ends only if the images are zero."""
    again = helper.make_node("Identity", ["again"], ["again_too"])
    same = helper.make_node("Identity", ["x"], ["x_too"])
    body = helper.make_graph(
        [again, same],
        "body",
        [value("i", [], TensorProto.INT64), value("again", [], TensorProto.BOOL), value("x", None)],
        [value("again_too", [], TensorProto.BOOL), value("x_too", None)],
    )
    nodes = [
        MEAN,
        helper.make_node("ReduceMax", ["images"], ["most"], axes=[0, 1, 2, 3], keepdims=0),
        helper.make_node("Cast", ["most"], ["go"], to=TensorProto.BOOL),
        helper.make_node("Loop", ["", "go", "means"], ["y"], body=body),
    ]
    return model(nodes)


def folded(times):
    """Constants that ONNX Runtime multiplies when it loads the graph."""
    matrix = numpy_helper.from_array(np.full((1000, 1000), 1e-3, np.float32), "m0")
    nodes = [helper.make_node("MatMul", [f"m{i}", "m0"], [f"m{i + 1}"]) for i in range(times)]
    return model(
        [*nodes, helper.make_node("ReduceSum", [f"m{times}"], ["more"], keepdims=0), MEAN, ADD], [matrix]
    )


def test_a_graph_that_takes_all_memory_when_it_is_described(tmp_path, monkeypatch):
    monkeypatch.setattr(onnx_description, "machine_memory", lambda: (4 << 30, 1 << 28))
    onnx.save(of_a_length(1 << 29), tmp_path / "a.onnx")
    with pytest.raises(OutOfMemory, match=r"a.onnx needs more memory than it may take: "):
        backbones.facts(f"onnx:{tmp_path}/a.onnx")


def test_a_graph_that_takes_all_memory_later(tmp_path):
    onnx.save(of_the_images_length(1 << 29), tmp_path / "a.onnx")
    script = f"""
import torch
from transfer_core import backbones
from transfer_core.backbones.onnx import onnx_session
onnx_session.machine_memory = lambda: (4 << 30, 1 << 30)
backbone = backbones.load("onnx:{tmp_path}/a.onnx")
print(backbone(torch.zeros(1, 3, 8, 8)).tolist())
try:
    backbone(torch.ones(1, 3, 8, 8))
except Exception as error:
    print(type(error).__name__)
"""
    variables = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    ran = subprocess.run(
        [sys.executable, "-c", script], env=variables, capture_output=True, text=True, check=True
    )
    assert ran.stdout.splitlines() == ["[[0.0, 0.0, 0.0]]", "OutOfMemory"]


def test_a_graph_that_never_ends(tmp_path, monkeypatch):
    onnx.save(endless(), tmp_path / "a.onnx")
    backbone = backbones.load(f"onnx:{tmp_path}/a.onnx")
    assert backbone(IMAGES).shape == (2, 3)
    monkeypatch.setattr(untrusted, "BATCH_S", 0.2)
    monkeypatch.setattr(untrusted, "IMAGE_S", 0.0)
    with pytest.raises(ModelFileError, match=r"it exceeded the time limit\. Fix: `trust: true` lifts it"):
        backbone(IMAGES + 1)


def test_a_graph_that_takes_hours_to_load(tmp_path, monkeypatch):
    onnx.save(folded(20_000), tmp_path / "a.onnx")
    monkeypatch.setattr(onnx_description, "LOAD_S", 3)
    with pytest.raises(ModelFileError, match=r"can't be loaded: it exceeded the limit of 3 s"):
        backbones.facts(f"onnx:{tmp_path}/a.onnx")


@pytest.mark.parametrize(
    ("shape", "limits"),
    [((1 << 20, 3, 8, 8), "at most 1024 images"), (("n", 3, 1 << 20, 1 << 20), "of at most 2048 pixels")],
)
def test_numbers_out_of_bounds(shape, limits, tmp_path):
    node = helper.make_node("GlobalAveragePool", ["images"], ["y"])
    graph = helper.make_graph([node], "graph", [value("images", shape)], [value("y", None)])
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9),
        tmp_path / "a.onnx",
    )
    with pytest.raises(ModelFileError, match=limits):
        backbones.facts(f"onnx:{tmp_path}/a.onnx")
