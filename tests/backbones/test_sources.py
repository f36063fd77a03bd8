"""The registry of sources; their packages are read as text: importing them needs every optional library."""

import ast
import inspect
import subprocess
import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

import transfer_core
from photos import class_folder
from transfer_core import backbones
from transfer_core.backbones import registry
from transfer_core.backbones.registry import Loading, Source, bare_name, register, source_of, sources

CORE = Path(transfer_core.__file__).parent
ROOM = CORE / "backbones"
BUILT_IN = {
    "joint", "marian", "nanodet", "ssdlite",
    "huggingface", "keras", "onnx", "scikit_learn", "tensorflow", "timm", "torch_hub", "torchvision",
}  # fmt: skip

TOY = '''
"""A source in one file: three convolutions, whose number of channels is the name."""

from transfer_core.backbones.facts import BackboneFacts, Preprocessing, WeightsFacts
from transfer_core.backbones.registry import Source, bare_name, register

register(Source(name="toy", loading=__name__, prefixes=("toy",)))


def facts(name, trust):
    size = Preprocessing(32, 32, "bilinear", (0.0,) * 3, (1.0,) * 3)
    return BackboneFacts(
        name=name, source="toy", family="toy", paper="", arxiv="", code_license="MIT", code_url="",
        embedding_width=int(bare_name(name)), parameters=0, backbone_parameters=0, default="seeded",
        blocks=("first", "second"), weights=(WeightsFacts("seeded", preprocessing=size),),
    )


def load(facts, weights, trust, progress):
    import torch

    with torch.random.fork_rng():
        torch.manual_seed(0)
        return _network(facts, facts.default_weights, "0" * 64).eval()


def restore(facts, tensors, weights, digest, trust):
    backbone = _network(facts, weights, digest)
    backbone.load_state_dict(tensors)
    return backbone.eval()


def _network(facts, weights, digest):
    from torch import nn

    from transfer_core.backbones import Backbone

    blocks = {
        "first": nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU()),
        "second": nn.Sequential(nn.Conv2d(8, facts.embedding_width, 3, 2, 1), nn.ReLU()),
    }
    return Backbone(facts, blocks, nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()), weights, digest)
'''


def parsed(path):
    return ast.parse(path.read_text("utf-8"))


@pytest.fixture
def own_registry(monkeypatch):
    """Whatever a test registers is gone afterwards."""
    monkeypatch.setattr(registry, "_registered", dict(sources()))


def test_every_package_with_a_source_registers_it():
    assert set(sources()) == BUILT_IN == {path.parent.name for path in ROOM.glob("*/*_source.py")}


def test_sources_register_without_torch_or_an_optional_library():
    code = (
        "import sys; from transfer_core.backbones.registry import sources; sources();"
        "slow = {'torch', 'numpy', 'timm', 'transformers', 'keras', 'onnxruntime', 'sklearn', 'tensorflow'};"
        "print(sorted(slow & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize(
    ("name", "source", "bare"),
    [
        ("mobilenet_v2", "torchvision", "mobilenet_v2"),
        ("nobody/knows", "torchvision", "nobody/knows"),
        ("timm/resnet18.a1_in1k", "timm", "resnet18.a1_in1k"),
        ("hf/org/name@main", "huggingface", "org/name@main"),
        ("torchhub:owner/repo:v1/model", "torch_hub", "owner/repo:v1/model"),
        ("models/own.keras", "keras", "models/own.keras"),
        ("timm.onnx", "onnx", "timm.onnx"),
        ("onnx:folder/a.onnx", "onnx", "folder/a.onnx"),
        ("https://tfhub.dev/google/x/1", "tensorflow", "https://tfhub.dev/google/x/1"),
        ("sklearn:PCA", "scikit_learn", "PCA"),
    ],
)
def test_a_name_belongs_to_one_source(name, source, bare):
    assert source_of(name).name == source
    assert bare_name(name) == bare


def test_a_source_in_one_file_trains_saves_loads_and_predicts(tmp_path, monkeypatch, own_registry):
    (tmp_path / "toy_backbones.py").write_text(TOY)
    monkeypatch.syspath_prepend(tmp_path)
    import_module("toy_backbones")
    photos = class_folder(tmp_path / "photos", per_class=6)
    trained = transfer_core.train(backbone="toy:12", data=photos)
    assert trained.backbone.facts == backbones.facts("toy:12")
    trained.save(tmp_path / "a.transfer")
    restored = transfer_core.load(tmp_path / "a.transfer")
    some = sorted(map(str, Path(photos).rglob("*.*")))[:4]
    for first, second in zip(trained.predict(some), restored.predict(some), strict=True):
        assert first == second
    reference = backbones.load("toy:12").state_dict()
    for name, tensor in restored.backbone.module().state_dict().items():
        assert torch.equal(tensor, reference[name])


def test_names_and_prefixes_are_taken_once(own_registry):
    with pytest.raises(ValueError, match=r'source other: the prefix "timm" of timm is taken'):
        register(Source(name="other", loading="", prefixes=("timm",)))
    with pytest.raises(ValueError, match=r'source onnx: the name "onnx" is taken'):
        register(Source(name="onnx", loading=""))


@pytest.mark.parametrize("name", sorted(BUILT_IN))
def test_a_package_imports_nothing_by_itself(name):
    (statement,) = parsed(ROOM / name / "__init__.py").body
    assert isinstance(statement, ast.Expr)
    assert isinstance(statement.value.value, str)


@pytest.mark.parametrize("name", sorted(BUILT_IN))
def test_a_source_has_the_functions_of_the_interface(name):
    functions = {
        statement.name: [argument.arg for argument in statement.args.args]
        for statement in parsed(ROOM / name / f"{name}_loading.py").body
        if isinstance(statement, ast.FunctionDef)
    }
    for wanted in ("facts", "load", "restore"):
        _, *expected = inspect.signature(getattr(Loading, wanted)).parameters
        assert functions[wanted] == expected


def test_no_two_modules_have_a_name_that_is_also_in_this_room():
    own = [path.name for path in ROOM.rglob("*.py") if path.name != "__init__.py"]
    others = [path.name for path in CORE.rglob("*.py") if ROOM not in path.parents]
    assert len(own) == len(set(own))
    assert set(own).isdisjoint(others)


@pytest.mark.extras
@pytest.mark.skipif(find_spec("tensorflow") is None, reason="needs TensorFlow")
def test_tensorflow_s_process_imports_no_torch():
    code = (
        "import sys, transfer_core.backbones.tensorflow.tensorflow_server; sys.modules['keras'] = None;"
        "import transfer_core.backbones.tensorflow.graph_endpoint;"
        "print('tensorflow' in sys.modules, 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "False"]
