"""Feature maps and token states, compared with what the libraries themselves return."""

import msgspec
import pytest
import torch
import torchvision
from torch import nn
from torchvision.models.feature_extraction import create_feature_extractor

from tiny_backbone import tiny_backbone
from transfer_core import backbones
from transfer_core.backbones import Backbone, all_facts
from transfer_core.backbones.block_outputs import describe_outputs
from transfer_core.backbones.huggingface.repository import local_repository
from transfer_core.backbones.representations import EXAMPLES, FeatureMap, TokenStates
from transfer_core.backbones.torchvision.torchvision_blocks import arrange
from transfer_core.runtime.errors import ModelFileError, RecipeError
from transfer_core.runtime.progress import Progress

# Our blocks and the nodes of torchvision's own feature extractor.
NODES = {
    "resnet18": {"layer1_1": "layer1", "layer2_1": "layer2", "layer3_1": "layer3", "layer4_1": "layer4"},
    "mobilenet_v2": {
        "features_1": "features.1",
        "features_3": "features.3",
        "features_6": "features.6",
        "features_13": "features.13",
        "features_18": "features.18",
    },
    "convnext_tiny": {
        "features_1_2": "features.1",
        "features_3_2": "features.3",
        "features_5_8": "features.5",
        "features_7_2": "features.7",
    },
    "swin_t": {
        "features_1_1": "features.1",
        "features_3_1": "features.3",
        "features_5_5": "features.5",
        "norm": "norm",
    },
}


def images(height=96, width=160):
    return torch.randn(2, 3, height, width, generator=torch.Generator().manual_seed(0))


def random_torchvision(name):
    """torchvision's model with random weights, and a backbone of the same modules."""
    known = backbones.facts(name)
    torch.manual_seed(0)
    model = torchvision.models.get_model(name, weights=None).eval()
    return model, Backbone(known, *arrange(model, known.family)).eval()


@pytest.mark.parametrize("name", NODES)
@torch.no_grad()
def test_torchvision_s_maps_are_those_of_its_feature_extractor(name):
    model, backbone = random_torchvision(name)
    expected = create_feature_extractor(model, {node: block for block, node in NODES[name].items()})(images())
    found = backbone.feature_maps(images())
    assert backbone.gives == {"pooled", "feature_maps"}
    assert [declared.block for declared in backbone.facts.feature_maps] == list(NODES[name])
    for declared, map_ in zip(backbone.facts.feature_maps, found, strict=True):
        theirs = expected[declared.block]
        torch.testing.assert_close(map_, theirs.permute(0, 3, 1, 2) if name == "swin_t" else theirs)
        assert map_.shape == (2, declared.channels, 96 // declared.stride, 160 // declared.stride)


@torch.no_grad()
def test_torchvision_s_vit_gives_the_tokens_of_its_encoder():
    model, backbone = random_torchvision("vit_b_16")
    expected = create_feature_extractor(model, {"encoder.ln": "tokens"})(images(224, 224))["tokens"]
    states, mask = backbone.token_states(images(224, 224))
    torch.testing.assert_close(states, expected)
    assert states.shape == (2, 197, backbone.facts.token_states.width)
    assert mask.all()


def test_all_of_torchvision_s_networks_declare_maps_or_tokens_but_those_of_one_size():
    neither = {known.name for known in all_facts() if known.gives == {"pooled"}}
    assert neither == {"maxvit_t"}
    for known in all_facts():
        strides = [declared.stride for declared in known.feature_maps]
        assert strides == sorted(set(strides))
        assert {declared.block for declared in known.feature_maps} <= set(known.blocks)


@pytest.mark.extras
@pytest.mark.parametrize(
    ("name", "strides"),
    [
        ("resnet18", (4, 8, 16, 32)),
        ("efficientnet_b0", (2, 4, 8, 16, 32)),
        ("convnext_atto", (4, 8, 16, 32)),
        ("regnetx_002", (2, 4, 8, 16, 32)),
    ],
)
@torch.no_grad()
def test_timm_s_maps_are_those_of_features_only(name, strides):
    import timm

    known = backbones.facts(f"timm/{name}")
    backbone = random_timm(known)
    model = timm.create_model(name, features_only=True).eval()
    tensors = _timm_model(name).state_dict().values()  # in the same order, under other names
    model.load_state_dict(dict(zip(model.state_dict(), tensors, strict=False)))
    expected = dict(zip(model.feature_info.reduction(), model(images()), strict=True))
    found = dict(zip(strides, backbone.feature_maps(images()), strict=True))
    assert tuple(declared.stride for declared in known.feature_maps) == strides
    compared = [stride for stride in strides if expected[stride].shape == found[stride].shape]
    assert len(compared) >= len(strides) - 1  # of some, timm leaves out the widening layer at the end
    for stride in compared:
        torch.testing.assert_close(found[stride], expected[stride], rtol=1e-4, atol=1e-5)


def random_timm(known):
    from transfer_core.backbones.timm import timm_loading

    return timm_loading.load(known, "random", False, Progress())


def _timm_model(name):
    """timm's model with the weights that `random` draws."""
    import timm

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return timm.create_model(name).eval()


@pytest.mark.extras
@pytest.mark.parametrize(
    "name", ["vit_tiny_patch16_224", "deit_tiny_distilled_patch16_224", "beit_base_patch16_224"]
)
@torch.no_grad()
def test_timm_s_tokens_are_its_forward_features(name):
    backbone = random_timm(backbones.facts(f"timm/{name}"))
    states, mask = backbone.token_states(images(224, 224))
    expected = _timm_model(name).forward_features(images(224, 224))
    torch.testing.assert_close(states, expected, rtol=1e-4, atol=1e-5)
    assert mask.all()


@pytest.mark.parametrize("needed", ["pooled", "feature_maps", "tokens"])
def test_the_suggested_backbones_have_the_representation(needed):
    for name in EXAMPLES[needed]:
        if not name.startswith("hf/") or local_repository(name):
            assert needed in backbones.facts(name).gives


@pytest.mark.extras
def test_a_network_of_fixed_size_has_no_maps():
    known = backbones.facts("timm/maxvit_rmlp_pico_rw_256")
    assert known.feature_maps == ()


def test_layouts_and_strides_from_shapes():
    class ChannelsLast(nn.Module):
        def forward(self, x):
            return x.permute(0, 2, 3, 1)

    blocks = {
        "unpadded": nn.Conv2d(3, 5, 3, stride=2),
        "same": nn.Conv2d(5, 6, 3, padding=1),
        "last": nn.Sequential(nn.MaxPool2d(2), ChannelsLast()),
    }
    expected = (FeatureMap("same", 2, 6), FeatureMap("last", 4, 6, channels_last=True))
    assert describe_outputs(blocks, 64) == (expected, None)


def test_the_error_names_backbones_that_have_what_is_missing():
    backbone = tiny_backbone()
    with pytest.raises(
        RecipeError, match=r"tiny has no tokens. Fix: use a backbone that has them, such as vit_b_16"
    ):
        backbone.token_states(images())
    backbone.facts = msgspec.structs.replace(backbone.facts, token_states=TokenStates("absent", 6))
    with pytest.raises(ModelFileError, match="declares outputs of the blocks absent, which it lacks"):
        backbone.token_states(images())
