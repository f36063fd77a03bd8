"""The plan is the fastest that keeps the published network's embeddings, and the same on every day."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_sample_images
from torch import nn
from torch.nn.functional import cosine_similarity

from tiny_backbone import tiny_backbone
from transfer_core import backbones
from transfer_core.features import build_extractor, normalize, plan, to_batch
from transfer_core.features.inference import Plan, Variants
from transfer_core.features.plan import BATCHES, agreeing_plan, measured_plan, plan_for
from transfer_core.features.probe import probe_photos
from transfer_core.runtime import measurements, paths

CPU = torch.device("cpu")


@pytest.fixture
def variants():
    return Variants(tiny_backbone(), CPU)


@pytest.fixture
def fast_in_bfloat16(monkeypatch):
    """A machine where bfloat16 is fast, be it so or not."""

    def pretend(seconds=lambda network: 1.0 + len(network.exact)):
        monkeypatch.setattr(plan, "fast_dtype", lambda device: "bfloat16")
        monkeypatch.setattr(plan, "_seconds", lambda network, batch: seconds(network) * (1 + len(batch)))

    return pretend


def test_the_probe_is_always_the_same_and_of_any_size():
    first, second = probe_photos(32), probe_photos(32)
    assert len(first) == 16
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))
    assert {image.shape for image in probe_photos(71)} == {(71, 71, 3)}
    assert all(image.dtype == np.uint8 and image.std() > 1 for image in first)


@torch.no_grad()
@pytest.mark.parametrize(
    "name", ["mobilenet_v2", pytest.param("timm/tf_efficientnet_lite0", marks=pytest.mark.extras)]
)
def test_real_weights_keep_their_embeddings_on_other_photos(name):
    """The promise is a cosine of 0.999 on any photo, also on one that shows little: the plan was chosen on
    made-up ones."""
    backbone = backbones.load(name)
    extractor = build_extractor(backbone, CPU, "auto")
    size = backbone.preprocessing.crop_size
    rng = np.random.default_rng(0)
    pixels = [
        _enlarged(image, side, size, rng)
        for image in load_sample_images().images
        for side in (427, 60, 16)
        for _ in range(6)
    ]
    expected = backbone(normalize(to_batch(pixels), backbone.preprocessing, torch.float32))
    found = torch.cat([extractor.embed(pixels[start : start + 8]) for start in range(0, len(pixels), 8)])
    assert cosine_similarity(found, expected).min() >= 0.999


@torch.no_grad()
def test_float32_is_exact(variants):
    chosen = measured_plan(variants, "float32")
    assert (chosen.exact, chosen.dtype, chosen.fused) == (3, "float32", True)
    images = torch.rand(4, 3, 16, 16)
    torch.testing.assert_close(variants.network(chosen)(images), variants.backbone(images))


def test_a_precision_that_the_user_chose_is_taken(variants):
    chosen = measured_plan(variants, "bfloat16")
    assert (chosen.exact, chosen.dtype) == (0, "bfloat16")
    assert variants.network(chosen)(torch.rand(2, 3, 16, 16)).dtype == torch.float32


def test_rounding_is_chosen_where_it_is_fast(variants, fast_in_bfloat16):
    fast_in_bfloat16()
    chosen = measured_plan(variants, "auto")
    assert chosen.dtype == "bfloat16"
    assert chosen.exact < 3


def test_and_not_where_it_is_slow(variants, fast_in_bfloat16):
    fast_in_bfloat16(seconds=lambda network: 1.0 + len(network.reduced))
    assert measured_plan(variants, "auto").exact == 3


class Sensitive(nn.Module):
    """Of a number near 1 keeps what bfloat16 does not have: its difference from 1, a thousandfold."""

    def forward(self, x):
        return (x / x.mean() * 1e-3 + 1 - 1) * 1e3


def test_as_few_blocks_stay_exact_as_the_agreement_takes(fast_in_bfloat16):
    fast_in_bfloat16()
    backbone = tiny_backbone()
    backbone.blocks.middle = nn.Sequential(backbone.blocks.middle, Sensitive())
    chosen = measured_plan(Variants(backbone, CPU), "auto")
    assert (chosen.exact, chosen.dtype) == (2, "bfloat16")


class SensitiveToLight(Sensitive):
    """The same where numbers are large; else it changes nothing."""

    def forward(self, x):
        return super().forward(x) if x.max() > 10 else x


def test_every_batch_of_the_probe_must_agree(fast_in_bfloat16):
    fast_in_bfloat16()
    backbone = tiny_backbone()
    backbone.blocks.middle = nn.Sequential(backbone.blocks.middle, SensitiveToLight())
    dark = torch.rand(2, 3, 16, 16)
    bright = 1000 * dark
    variants = Variants(backbone, CPU)
    found = [agreeing_plan(variants, "auto", probes).exact for probes in ([dark], [dark, bright], [bright])]
    assert found == [0, 2, 2]


def test_a_known_plan_gives_the_network_that_was_measured(variants):
    chosen = Plan(1, "bfloat16", 4, fused=True)
    known = Variants(variants.backbone, CPU).network(chosen)
    for dtype in ("float32", "bfloat16"):
        variants.blocks(dtype)
    images = torch.rand(2, 3, 16, 16)
    assert torch.equal(known(images), variants.network(chosen)(images))


def test_wrong_arithmetic_is_noticed_and_not_used(variants, monkeypatch):
    """Should oneDNN err on some processor, the publisher's own operations are slower and right."""
    prepared = variants.blocks("float32")
    prepared[1] = nn.Sequential(prepared[1], nn.Softmax(dim=1))
    chosen = measured_plan(variants, "auto")
    assert chosen == Plan(3, "float32", BATCHES["cpu"][0], fused=False)
    images = torch.rand(2, 3, 16, 16)
    torch.testing.assert_close(variants.network(chosen)(images), variants.backbone(images))


@pytest.mark.parametrize(("fastest", "expected"), [(4, 4), (8, 8), (16, 16)])
def test_the_batch_that_pays(variants, monkeypatch, fastest, expected):
    def seconds(network, batch):
        return len(batch) * (1e-4 + 1e-5 * abs(len(batch) - fastest))

    monkeypatch.setattr(plan, "_seconds", seconds)
    assert measured_plan(variants, "float32").batch == expected


def test_a_plan_is_measured_once_per_weights_and_precision(variants, monkeypatch):
    monkeypatch.setattr(measurements, "_here", {})
    first = plan_for(variants, "float32")
    with monkeypatch.context() as patched:
        patched.setattr(plan, "measured_plan", lambda *_: pytest.fail("measured again"))
        patched.setattr(measurements, "_here", {})
        assert plan_for(Variants(tiny_backbone(), CPU), "float32") == first
    plan_for(variants, "bfloat16")
    plan_for(Variants(tiny_backbone(seed=1), CPU), "float32")
    front = tiny_backbone()
    front.blocks = front.blocks[:2]
    plan_for(Variants(front, CPU), "float32")
    known = json.loads((paths.cache() / "measurements.json").read_text())
    assert len(known) == 4


@torch.no_grad()
def test_a_network_that_gives_maps_agrees_map_by_map():
    """Of the first blocks alone; where no channel is active, a place of a map has no direction."""
    backbone = tiny_backbone()
    backbone.blocks, backbone.pool = backbone.blocks[:1], nn.Identity()
    backbone.blocks.stem[1].bias.fill_(-9)
    chosen = measured_plan(Variants(backbone, CPU), "float32")
    assert chosen.fused


def test_later_changes_to_the_backbone_do_not_reach_the_network(variants):
    chosen = measured_plan(variants, "float32")
    images = torch.rand(2, 3, 16, 16)
    for fused in (True, False):
        network = variants.network(replace(chosen, fused=fused))
        before = network(images)
        with torch.no_grad():
            for parameter in variants.backbone.parameters():
                parameter.add_(1)
        assert torch.equal(network(images), before)


def _enlarged(image, side, size, rng):
    """Somewhere in a photo `side` x `side` pixels, shown with `size` x `size`."""
    left, top = rng.integers(0, image.shape[1] - side + 1), rng.integers(0, image.shape[0] - side + 1)
    box = (left, top, left + side, top + side)
    return np.asarray(Image.fromarray(image).resize((size, size), Image.Resampling.BICUBIC, box=box))
