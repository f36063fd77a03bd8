"""Engines reproduce torch's embeddings, and the fastest one that does is chosen once."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_sample_images
from torch import nn

from photos import save
from tiny_backbone import CROP, tiny_backbone
from transfer_core import backbones, cache
from transfer_core.features import build_extractor
from transfer_core.features.engines import choice as choice_module
from transfer_core.features.engines.choice import AGREEMENT, Choice, agree, choose, open_engine
from transfer_core.features.engines.engine import Unusable
from transfer_core.features.engines.reference import Reference
from transfer_core.features.probe import probe_photos
from transfer_core.runtime import measurements, paths
from transfer_core.runtime.devices import Device

CPU = Device("cpu")
ENGINES = ["openvino", "onnxruntime", "torch"]


def photos(count, size=CROP, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, size, size, 3), np.uint8)


@torch.no_grad()
def eager(backbone, pixels):
    """Torch's embeddings in float32, with pixels normalized here."""
    prepared = backbone.preprocessing
    values = (pixels / 255 - np.array(prepared.mean)) / np.array(prepared.std)
    return backbone(torch.from_numpy(values).float().permute(0, 3, 1, 2)).numpy()


def reference(backbone):
    return Reference(backbone, lambda: np.stack(probe_photos(backbone.preprocessing.crop_size)), CPU)


def opened(backbone, engine, precision="float32"):
    return open_engine(Choice(engine, "", precision, 4), backbone, reference(backbone), CPU)


def cosines(found, expected):
    found, expected = found.astype(float), expected.astype(float)
    lengths = np.linalg.norm(found, axis=1) * np.linalg.norm(expected, axis=1)
    return (found * expected).sum(axis=1) / lengths


def test_the_probe_is_always_the_same_and_of_any_size():
    first, second = probe_photos(32), probe_photos(32)
    assert len(first) == 16
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))
    assert {image.shape for image in probe_photos(71)} == {(71, 71, 3)}
    assert all(image.dtype == np.uint8 and image.std() > 1 for image in first)


@pytest.mark.parametrize("few", [False, True])
@pytest.mark.parametrize("engine", ENGINES)
def test_an_engine_gives_torch_s_embeddings(engine, few):
    backbone = tiny_backbone()
    for count in (1, 5):
        found = opened(backbone, engine).run(photos(count), few)
        assert (found.dtype, found.shape) == (np.float32, (count, backbone.facts.embedding_width))
        np.testing.assert_allclose(found, eager(backbone, photos(count)), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("engine", ENGINES)
def test_several_threads_get_their_own_embeddings(engine):
    backbone = tiny_backbone()
    run = opened(backbone, engine).run
    batches = [photos(4, seed=seed) for seed in range(24)]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(run, batches))
    assert all(np.array_equal(rows, run(batch)) for rows, batch in zip(found, batches, strict=True))


@pytest.mark.parametrize("engine", ENGINES)
def test_an_embedding_does_not_depend_on_its_place_or_on_later_changes(engine):
    backbone = tiny_backbone()
    run = opened(backbone, engine).run
    batch = photos(4)
    before = run(batch)
    with torch.no_grad():
        backbone.blocks.stem[0].weight.zero_()
    assert np.array_equal(run(batch[::-1].copy())[::-1], before)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["mobilenet_v2", pytest.param("timm/tf_efficientnet_lite0", marks=pytest.mark.extras)]
)
def test_real_weights_keep_their_embeddings_on_other_photos(name):
    """The promise is a cosine of 0.999 on any photo, also on one that shows little: the choice was made on
    made-up ones."""
    backbone = backbones.load(name)
    extractor = build_extractor(backbone, CPU, "auto")
    size = backbone.preprocessing.crop_size
    rng = np.random.default_rng(0)
    pixels = np.stack(
        [
            enlarged(image, side, size, rng)
            for image in load_sample_images().images
            for side in (427, 60, 16)
            for _ in range(6)
        ]
    )
    assert cosines(extractor.run(pixels), eager(backbone, pixels)).min() >= 0.999


def enlarged(image, side, size, rng):
    top, left = (rng.integers(0, length - side + 1) for length in image.shape[:2])
    return np.asarray(Image.fromarray(image[top : top + side, left : left + side]).resize((size, size)))


@pytest.mark.slow
def test_an_extractor_fills_batches_so_that_embeddings_stay_the_same(tmp_path):
    paths = [save(tmp_path / f"{i}.png", array) for i, array in enumerate(photos(9, 30))]
    extractor = build_extractor(backbones.build("mobilenet_v2"), CPU, "auto")

    def embedded(some):
        loads = [partial(extractor.load, path) for path in some]
        found = dict(pair for batch in extractor.embed_all(loads) for pair in batch)
        return np.stack([found[row] for row in range(len(some))])

    whole = embedded(paths)
    assert np.array_equal(embedded(paths[::-1])[::-1], whole)
    assert np.array_equal(embedded(paths[7:8]), whole[7:8])


def test_agreement():
    rows = np.random.default_rng(0).normal(size=(5, 40))
    assert agree(rows, rows)
    assert agree(rows * 1e-30, rows)
    assert not agree(-rows, rows)
    assert not agree(np.where(rows > 2, np.nan, rows), rows)
    one_off = rows.copy()
    one_off[3] += np.linalg.norm(rows[3]) * 0.05
    assert cosines(one_off, rows).min() < AGREEMENT
    assert not agree(one_off, rows)
    assert agree(np.zeros((1, 3)), np.zeros((1, 3)))
    assert not agree(np.zeros((1, 3)), np.ones((1, 3)))


# The choice.


class Fake:
    """An engine of the test's making, `cost` seconds an image, whose embeddings are off by `error`."""

    def __init__(self, backbone, cost, error=0.0):
        self._backbone, self._cost, self._error = backbone, cost, error

    def prepare(self, few):
        pass

    def run(self, batch, few=False):
        CLOCK[0] += self._cost * len(batch)
        rows = eager(self._backbone, batch)
        return rows + self._error * np.linalg.norm(rows, axis=1, keepdims=True)


CLOCK = [0.0]


@pytest.fixture
def engines(monkeypatch):
    """`engines(openvino={"float32": engine}, …)`: only these can be opened, and time is what they cost."""

    def there(**known):
        def fake(choice, backbone, reference, device):
            if choice.precision not in known.get(choice.engine, {}):
                raise Unusable("not here")
            return known[choice.engine][choice.precision]

        monkeypatch.setattr(choice_module, "open_engine", fake)
        monkeypatch.setattr(choice_module, "_now", lambda device: CLOCK[0])

    return there


def chosen(backbone, precision="auto"):
    found = choose(backbone, reference(backbone), CPU, precision)
    return found.engine, found.precision


def test_the_fastest_is_chosen_by_a_clear_difference(engines):
    backbone = tiny_backbone()
    fast, near, slow = Fake(backbone, 1.0), Fake(backbone, 0.95), Fake(backbone, 3.0)
    engines(openvino={"float32": slow, "bfloat16": fast}, onnxruntime={"float32": near})
    assert chosen(backbone) == ("openvino", "bfloat16")
    assert chosen(backbone, "float32") == ("onnxruntime", "float32")


def test_an_engine_that_does_not_agree_is_not_chosen(engines):
    backbone = tiny_backbone()
    engines(
        openvino={"float32": Fake(backbone, 3.0), "bfloat16": Fake(backbone, 1.0, error=0.1)},
        onnxruntime={"float32": Fake(backbone, 1.0, error=0.1)},
    )
    assert chosen(backbone) == ("openvino", "float32")


def test_a_precision_that_the_user_chose_is_taken(engines):
    backbone = tiny_backbone()
    engines(openvino={"bfloat16": Fake(backbone, 9.0, error=0.1)}, torch={"bfloat16": Fake(backbone, 99.0)})
    assert chosen(backbone, "bfloat16") == ("openvino", "bfloat16")


def test_without_another_engine_torch_is_there(engines):
    backbone = tiny_backbone()
    engines(torch={"float32": Fake(backbone, 9.0)})
    assert chosen(backbone) == ("torch", "float32")


def test_a_choice_is_remembered(engines):
    backbone = tiny_backbone()
    engines(openvino={"float32": Fake(backbone, 1.0)})
    first = choose(backbone, reference(backbone), CPU, "auto")
    engines()
    measurements._here.clear()
    again = choose(backbone, reference(backbone), CPU, "auto")
    assert (again, again.seconds) == (first, first.seconds)


class Unconvertible(nn.Module):
    """A layer for which ONNX has no operator."""

    def forward(self, x):
        return x + torch.linalg.svdvals(x).sum()


def test_what_can_not_be_converted_runs_in_torch():
    backbone = tiny_backbone()
    backbone.blocks.middle = nn.Sequential(backbone.blocks.middle, Unconvertible())
    extractor = build_extractor(backbone, CPU, "auto")
    assert (extractor.choice.engine, extractor.choice.precision) == ("torch", "float32")
    np.testing.assert_allclose(extractor.run(photos(3)), eager(backbone, photos(3)), rtol=1e-4, atol=1e-5)


# The graph in the cache.


def graph_file():
    (file,) = paths.cache().glob("networks.*.graph.safetensors")
    return file


@pytest.mark.parametrize("damage", ["cut", "changed", "emptied"])
def test_a_damaged_graph_is_made_again(damage):
    backbone = tiny_backbone()
    whole = reference(backbone).graph()
    content = graph_file().read_bytes()
    place = content.index(b"Conv")
    graph_file().write_bytes(
        {
            "cut": content[:-100],
            "changed": content[:place] + b"conv" + content[place + 4 :],
            "emptied": b"",
        }[damage]
    )
    assert reference(backbone).graph() == whole
    assert reference(backbone).graph() == whole
    assert graph_file().stat().st_size == len(content)


def test_a_known_graph_and_its_embeddings_need_no_network():
    backbone = tiny_backbone()
    first = reference(backbone)
    graph, embeddings = first.graph(), first.embeddings
    backbone.module = None
    again = reference(backbone)
    assert again.graph() == graph
    assert np.array_equal(again.embeddings, embeddings)


def test_the_cache_s_upkeep_covers_graphs():
    first, second = reference(tiny_backbone()), reference(tiny_backbone(1))
    first.graph()
    second.graph()
    (part,) = [part for part in cache.stats()["parts"] if part["name"] == "networks"]
    assert part["files"] == 2
    damaged = sorted(paths.cache().glob("networks.*"))[0]
    damaged.write_bytes(damaged.read_bytes()[:-1])
    assert cache.verify()["files"] == [damaged.name]
    assert cache.prune(max_bytes=0)["left"] < part["bytes"] / 4
    first.graph()
    cache.clear()
    assert not list(paths.cache().glob("networks.*"))


def test_openvino_runs_without_its_telemetry(tmp_path):
    code = """
import sys
from transfer_core.features.engines.openvino_engine import OpenVinoEngine
try:
    OpenVinoEngine(lambda: b"", "float32").prepare(few=True)
except Exception as error:
    print(type(error).__name__)
print(sorted(name for name in sys.modules if "telemetry" in name or name == "torch"))
"""
    variables = {"HOME": str(tmp_path), "PATH": "/usr/bin:/bin", "PYTHONPATH": ":".join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=variables)
    assert done.stdout == "Unusable\n[]\n", done.stderr
    assert list(tmp_path.iterdir()) == []
