"""Small repositories of PyTorch Hub, written into a folder."""

import sys
import types
import zipfile
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
import torch
from torch import nn

import transfer_core
from photos import class_folder
from transfer_core import backbones
from transfer_core.runtime.errors import (
    DependencyError,
    ModelFileError,
    RecipeError,
    WeightsNotFound,
)
from whole_job import check_frozen_and_kept, check_resumed, check_tuned

pytestmark = pytest.mark.slow

HUBCONF = '''
dependencies = ["torch"]

import torch as _torch
from enum import Enum as _Enum
from types import SimpleNamespace as _Namespace

from networks.residual import Residual as _Residual
from networks.tiny import Branching as _Branching, Headless as _Headless, Tiny as _Tiny


def residual(pretrained=False):
    """Like torchvision's ResNet."""
    network = _Residual()
    if pretrained:
        network.load_state_dict(_torch.hub.load_state_dict_from_url("https://example.org/residual.pth"))
    return network


def tiny(pretrained=False):
    return _Tiny()


def branching(**options):
    return _Branching()


def headless():
    return _Headless()


class _Weights(_Enum):
    FIRST = 1
    DEFAULT = 1

    def transforms(self):
        sizes = {"crop_size": [40], "resize_size": [48], "interpolation": _Namespace(value="bicubic")}
        return _Namespace(**sizes, mean=[0.5] * 3, std=[0.25] * 3)


def named(*, weights: _Weights | None = None):
    network = _Headless()
    if weights is not None:
        _torch.nn.init.ones_(network.convolution.weight)
    return network


def configured(pretrained=False):
    network = _Headless()
    pixels = {"mean": (0, 0, 0), "std": (1, 1, 1)}
    network.pretrained_cfg = {"input_size": (3, 48, 48), "crop_pct": 0.75, **pixels}
    return network


def no_tensor(pretrained=False):
    class Pair(_Headless):
        def forward(self, x):
            return {"out": super().forward(x)}
    return Pair()


def no_network(pretrained=False):
    return 5


def broken(pretrained=False):
    raise RuntimeError("no such luck")
'''

RESIDUAL = """
import torch
from torch import nn


class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x):
        return self.relu(x + self.bn(self.conv(x)))


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 3, stride=2, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(8)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(2)
        self.layer1 = nn.Sequential(Block(8), Block(8))
        self.wider = nn.Conv2d(8, 12, 1)
        self.layer2 = nn.Sequential(Block(12))
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(12, 10)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                nn.init.uniform_(module.running_var, 0.5, 1.5)
                nn.init.normal_(module.running_mean, 0, 0.1)

    def forward(self, x):
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        x = self.layer2(self.wider(self.layer1(x)))
        return self.fc(torch.flatten(self.avgpool(x), 1))
"""

TINY = '''
import torch
from torch import nn
from torch.nn import functional as F


class Tiny(nn.Module):
    """Like PyTorch's example of MNIST, for photos of 32 x 32."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 6, 5)
        self.conv2 = nn.Conv2d(6, 8, 5)
        self.fc1 = nn.Linear(8 * 5 * 5, 20)
        self.fc2 = nn.Linear(20, 10)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        x = F.relu(self.fc1(torch.flatten(x, 1)))
        return F.log_softmax(self.fc2(F.dropout(x, training=self.training)), dim=1)


class Branching(nn.Module):
    """Goes another way for other images, and has a head that it does not use."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 4, 3), nn.Conv2d(3, 4, 3)
        self.norm = nn.BatchNorm2d(4)
        self.unused = nn.Linear(4, 2)
        self.classifier = nn.Sequential(nn.Dropout(0.1), nn.Linear(4, 10))

    def forward(self, x):
        x = self.first(x) + self.second(x) if bool(x.mean() > -100) else self.second(x)
        return self.classifier(self.norm(x).mean((2, 3))).softmax(1)


class Headless(nn.Module):
    """Gives a map; its linear layer is only a gate."""

    def __init__(self):
        super().__init__()
        self.convolution = nn.Conv2d(3, 5, 3, stride=2)
        self.gate = nn.Linear(5, 5)

    def forward(self, x):
        x = self.convolution(x)
        return x * self.gate(x.mean((2, 3))).sigmoid()[:, :, None, None]
'''


def write_repository(folder, hubconf=HUBCONF):
    (folder / "networks").mkdir(parents=True)
    (folder / "hubconf.py").write_text(hubconf)
    (folder / "networks" / "residual.py").write_text(RESIDUAL)
    (folder / "networks" / "tiny.py").write_text(TINY)
    return folder


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    return write_repository(tmp_path_factory.mktemp("hub") / "repository")


def facts(repository, model, trust=True):
    return backbones.facts(f"torchhub:{repository}:{model}", trust)


def load(repository, model, weights="random"):
    return backbones.load(f"torchhub:{repository}:{model}", weights, trust=True)


def message_of(error, call, *arguments, **options):
    with pytest.raises(error) as raised:
        call(*arguments, **options)
    assert "\n" not in str(raised.value)
    return str(raised.value)


@torch.no_grad()
def before_the_classifier(network, classifier, images):
    """What the network's own forward pass gives its classifier."""
    given = []
    hook = network.get_submodule(classifier).register_forward_pre_hook(lambda _, x: given.append(x[0]))
    network.eval()(images)
    hook.remove()
    return given[0]


@pytest.mark.parametrize(
    ("model", "classifier", "size", "blocks"),
    [
        ("residual", "fc", 224, ("conv1", "layer1_0", "layer1_1", "wider", "layer2_0")),
        ("tiny", "fc2", 32, ("conv1", "conv2", "fc1")),
        ("branching", "classifier.1", 224, ("network",)),
    ],
)
def test_blocks_end_before_the_classifier(repository, model, classifier, size, blocks):
    known = facts(repository, model)
    assert known.blocks == blocks
    assert known.default_weights.preprocessing.crop_size == size
    backbone = load(repository, model)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = torch.hub.load(str(repository), model, source="local")
    images = torch.randn(3, 3, size, size, generator=torch.Generator().manual_seed(1))
    expected = before_the_classifier(network, classifier, images)
    with torch.no_grad():
        torch.testing.assert_close(backbone(images), expected)
    assert known.embedding_width == expected.shape[1]
    assert known.parameters == sum(parameter.numel() for parameter in network.parameters())


def test_a_network_without_a_classifier_is_averaged(repository):
    """Its last linear layer is a gate, which not all goes through."""
    backbone = load(repository, "headless")
    assert backbone.facts.blocks == ("convolution", "gate")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = torch.hub.load(str(repository), "headless", source="local").eval()
    images = torch.randn(2, 3, 224, 224)
    with torch.no_grad():
        torch.testing.assert_close(backbone(images), network(images).mean((2, 3)))


def test_what_an_embedding_does_not_depend_on_never_trains(repository):
    backbone = load(repository, "branching")
    assert "blocks.network.network.unused.weight" in dict(backbone.named_buffers())
    trained = [parameter.requires_grad_(True) for parameter in backbone.parameters()]
    embeddings = backbone(torch.randn(2, 3, 224, 224))
    assert all(gradient is not None for gradient in torch.autograd.grad(embeddings.square().sum(), trained))


@pytest.mark.parametrize("model", ["residual", "tiny", "branching"])
def test_the_whole_job(repository, model, tmp_path, monkeypatch):
    words = {
        "backbone": f"torchhub:{repository}:{model}",
        "weights": "random",
        "trust": True,
        "data": class_folder(tmp_path / "photos", per_class=3),
    }
    frozen = check_frozen_and_kept(words, f"{words['data']}/leaf/0.png")
    check_tuned(words, frozen, facts(repository, model).blocks)
    if model == "residual":
        check_resumed(words, monkeypatch)


def test_a_saved_model_needs_the_repository_again(repository, tmp_path):
    folder = write_repository(tmp_path / "repository")
    data = class_folder(tmp_path / "photos", per_class=3)
    model = transfer_core.train(backbone=f"torchhub:{folder}:tiny", weights="random", trust=True, data=data)
    expected = model.embed([f"{data}/sky/0.png"])
    folder.rename(tmp_path / "away")
    said = message_of(WeightsNotFound, transfer_core.load, model.path)
    assert said.startswith("a saved model has no code: ")
    assert str(folder) in said
    (tmp_path / "away").rename(folder)
    np.testing.assert_allclose(
        transfer_core.load(model.path).embed([f"{data}/sky/0.png"]), expected, rtol=1e-5
    )
    untrusted = message_of(RecipeError, backbones.restore, model.backbone.facts, {}, None, "", trust=False)
    assert untrusted.startswith("trust: ")


def test_weights_from_a_file(repository, tmp_path):
    network = torch.hub.load(str(repository), "residual", source="local")
    nn.init.constant_(network.conv1.weight, 0.5)
    torch.save(network.state_dict(), tmp_path / "own.pth")
    backbone = load(repository, "residual", str(tmp_path / "own.pth"))
    assert torch.all(backbone.blocks.conv1.conv1.weight == 0.5)
    assert backbone.weights.name == str(tmp_path / "own.pth")
    torch.save({"conv1.weight": torch.zeros(1)}, tmp_path / "other.pth")
    said = message_of(ModelFileError, load, repository, "residual", str(tmp_path / "other.pth"))
    assert "other.pth does not fit" in said
    torch.save(nn.Linear(1, 1), tmp_path / "pickled.pth")
    assert "is refused" in message_of(
        ModelFileError, load, repository, "residual", str(tmp_path / "pickled.pth")
    )


def test_pretrained_weights_that_torch_has_already(repository, tmp_path, monkeypatch):
    said = message_of(WeightsNotFound, load, repository, "residual", "pretrained")
    assert "TRANSFER_OFFLINE is set, https://example.org/residual.pth" in said
    network = torch.hub.load(str(repository), "residual", source="local")
    checkpoints = Path(torch.hub.get_dir()) / "checkpoints"
    checkpoints.mkdir(parents=True, exist_ok=True)
    torch.save(network.state_dict(), checkpoints / "residual.pth")
    backbone = load(repository, "residual", "pretrained")
    assert torch.equal(backbone.blocks.conv1.conv1.weight, network.conv1.weight)
    assert backbone.weights.name == "pretrained"


def test_random_weights_are_the_same_every_time(repository):
    first, second = (load(repository, "residual") for _ in range(2))
    assert first.weights_digest == second.weights_digest
    assert first.weights is None


def test_entry_points_that_take_weights_by_name(repository):
    """As torchvision's do: images are what the weights say."""
    preprocessing = facts(repository, "named").default_weights.preprocessing
    assert (preprocessing.crop_size, preprocessing.resize_size, preprocessing.interpolation) == (
        40,
        48,
        "bicubic",
    )
    assert (preprocessing.mean, preprocessing.std) == ((0.5,) * 3, (0.25,) * 3)
    for weights in ("pretrained", "FIRST"):
        tensors = load(repository, "named", weights).state_dict()
        (kernel,) = [tensor for name, tensor in tensors.items() if name.endswith("convolution.weight")]
        assert bool((kernel == 1).all())
    assert 'did you mean "FIRST"?' in message_of(RecipeError, load, repository, "named", "FIRS")
    assert "accepts no names of weights" in message_of(RecipeError, load, repository, "tiny", "FIRST")


def test_networks_that_say_what_images_must_be(repository):
    """In timm's way."""
    preprocessing = facts(repository, "configured").default_weights.preprocessing
    assert (preprocessing.crop_size, preprocessing.resize_size, preprocessing.std) == (48, 64, (1, 1, 1))


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("residul", 'did you mean "residual"?'),
        ("_Residual", "has no _Residual"),
        ("no_tensor", "it outputs dict, expected a tensor"),
        ("no_network", "returns int, expected a network"),
        ("broken", "fails: RuntimeError: no such luck"),
    ],
)
def test_models_that_can_t_be_used(repository, model, said):
    assert said in message_of(RecipeError, facts, repository, model)


@pytest.mark.parametrize(
    "name", ["torchhub:pytorch/vision/resnet18", "torchhub:pytorch/vision:resnet18", "torchhub:resnet18"]
)
def test_a_repository_needs_a_tag_or_a_commit(name):
    said = message_of(RecipeError, backbones.facts, name, trust=True)
    assert "REF is a tag or a commit" in said


def test_code_runs_only_if_it_is_trusted(tmp_path):
    folder = write_repository(tmp_path / "repository", "raise SystemExit('it ran')")
    said = message_of(RecipeError, facts, folder, "tiny", trust=False)
    assert said.startswith("trust: ")
    assert str(folder / "hubconf.py") in said
    said = message_of(RecipeError, backbones.facts, "torchhub:pytorch/vision:v0.20.0/resnet18")
    assert "pytorch/vision:v0.20.0" in said


def test_packages_that_a_repository_needs(tmp_path):
    """They are told before any of its code runs."""
    folder = write_repository(tmp_path / "repository", "import nowhere\ndependencies = ['torch', 'nowhere']")
    said = message_of(DependencyError, facts, folder, "tiny")
    assert said.endswith(f"needs the package nowhere. Fix: {sys.executable} -m pip install nowhere")


def test_folders_without_a_model(tmp_path):
    for trust in (True, False):
        said = message_of(WeightsNotFound, facts, tmp_path / "nowhere", "tiny", trust=trust)
        assert "does not exist" in said
    (tmp_path / "empty").mkdir()
    assert "has no hubconf.py" in message_of(RecipeError, facts, tmp_path / "empty", "tiny")
    folder = write_repository(tmp_path / "failing", "1 / 0")
    assert "ZeroDivisionError" in message_of(RecipeError, facts, folder, "tiny")


def test_torch_s_copy_of_a_repository_needs_no_network():
    write_repository(Path(torch.hub.get_dir()) / "someone_networks_v1.0")
    known = backbones.facts("torchhub:someone/networks:v1.0/tiny", trust=True)
    assert known.blocks == ("conv1", "conv2", "fc1")
    assert known.code_url == "https://github.com/someone/networks/tree/v1.0"
    name = "torchhub:someone/networks:v2.0/tiny"
    said = message_of(WeightsNotFound, backbones.facts, name, trust=True)
    assert "someone_networks_v2.0" in said
    assert "TRANSFER_OFFLINE is set" in said


def test_a_repository_is_fetched(tmp_path, monkeypatch):
    """By torch, from the address of the tag's archive."""
    asked = []

    def download(url, path, *_, **__):
        asked.append(url)
        folder = write_repository(tmp_path / "networks-1.0")
        with zipfile.ZipFile(path, "w") as archive:
            archive.mkdir("networks-1.0")
            for file in folder.rglob("*.py"):
                archive.write(file, file.relative_to(tmp_path))

    monkeypatch.delenv("TRANSFER_OFFLINE")
    monkeypatch.setattr(torch.hub, "download_url_to_file", download)
    known = backbones.facts("torchhub:someone/networks:v1.0/tiny", trust=True)
    assert known.blocks == ("conv1", "conv2", "fc1")
    assert asked == ["https://github.com/someone/networks/zipball/v1.0"]

    def fail(url, *_, **__):
        raise URLError("no route to host")

    monkeypatch.setattr(torch.hub, "download_url_to_file", fail)
    said = message_of(WeightsNotFound, backbones.facts, "torchhub:someone/networks:v3/tiny", trust=True)
    assert "no route to host" in said


def test_two_repositories_with_modules_of_one_name(repository, tmp_path):
    """Each network is made by its own."""
    assert facts(repository, "tiny").embedding_width == 20
    other = write_repository(tmp_path / "other")
    tiny = other / "networks" / "tiny.py"
    tiny.write_text(tiny.read_text().replace("20", "30"))
    assert facts(other, "tiny").embedding_width == 30


def test_other_code_is_another_backbone(tmp_path):
    """Also where it has the same tensors, and within one process."""
    repository = write_repository(tmp_path / "changing")
    tiny = repository / "networks" / "tiny.py"
    first, again = load(repository, "tiny"), load(repository, "tiny")
    (repository / "networks" / "unused.py").write_text("")
    tiny.write_text(tiny.read_text().replace("relu", "tanh"))
    other = load(repository, "tiny")
    images = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        assert not torch.equal(first(images), other(images))
    assert first.weights_digest == other.weights_digest
    assert first.identity == again.identity != other.identity


def test_packages_installed_in_the_repository_stay_imported(repository, tmp_path):
    """As in a project's own folder, with its environment in it."""
    known = write_repository(tmp_path / "project")
    package = known / ".venv" / "site-packages" / "installed_here.py"
    package.parent.mkdir(parents=True)
    package.write_text("")
    module = types.ModuleType("installed_here")
    module.__file__ = str(package)
    sys.modules["installed_here"] = module
    try:
        first = load(known, "tiny").identity
        load(repository, "tiny")
        assert sys.modules["installed_here"] is module
        package.write_text("# another version")
        assert load(known, "tiny").identity == first
    finally:
        del sys.modules["installed_here"]
