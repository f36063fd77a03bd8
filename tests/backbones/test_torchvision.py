"""Each family against torchvision's own model: what its classifier sees is what the backbone must give."""

from functools import cached_property

import pytest
import torch
import torchvision
from torch import nn

from transfer_core.backbones import all_facts, facts, restore
from transfer_core.backbones.backbone import OnlyShapes

pytestmark = pytest.mark.slow

GOOGLE = {"transform_input": True, "init_weights": False}  # as their published weights are used

# One small member per family, and an image size that it can still take.
MEMBERS = [
    ("alexnet", 64, {}),
    ("vgg11", 32, {}),
    ("vgg11_bn", 32, {}),
    ("resnet18", 64, {}),
    ("resnext50_32x4d", 64, {}),
    ("wide_resnet50_2", 64, {}),
    ("densenet121", 64, {}),
    ("squeezenet1_0", 64, {}),
    ("squeezenet1_1", 64, {}),
    ("googlenet", 64, GOOGLE),
    ("inception_v3", 80, GOOGLE),
    ("shufflenet_v2_x0_5", 64, {}),
    ("mobilenet_v2", 64, {}),
    ("mobilenet_v3_small", 64, {}),
    ("mnasnet0_5", 64, {}),
    ("efficientnet_b0", 64, {}),
    ("efficientnet_v2_s", 64, {}),
    ("regnet_x_400mf", 64, {}),
    ("regnet_y_400mf", 64, {}),
    ("convnext_tiny", 64, {}),
    ("vit_b_32", 224, {}),
    ("swin_t", 64, {}),
    ("swin_v2_t", 64, {}),
    ("maxvit_t", 224, {}),
]


class Case:
    """torchvision's model with lively random numbers in every tensor, and a backbone of the same tensors."""

    def __init__(self, name, size, options):
        generator = torch.Generator().manual_seed(0)
        with OnlyShapes():
            model = torchvision.models.get_model(name, weights=None, **options)
        model.load_state_dict(lively(model.state_dict(), generator), assign=True)
        self.name = name
        self.model = model.eval()
        self.backbone = restore(facts(name), self.model.state_dict(), None, "")
        self.images = torch.randn(2, 3, size, size, generator=generator)

    @cached_property
    def embeddings(self):
        with torch.no_grad():
            return self.backbone(self.images)


def lively(tensors, generator):
    """Values that keep activations alive; BatchNorm's statistics are no defaults either.

    What a model computes rather than trains (counters, tables of positions) stays as it is.
    """
    for name, tensor in tensors.items():
        bound = (6 / tensor[0].numel()) ** 0.5 if tensor.dim() > 1 else 0.5
        centre = 1.0 if tensor.dim() == 1 and name.endswith(("weight", "running_var")) else 0.0
        if tensor.is_meta:
            low, high = centre - bound, centre + bound
            tensors[name] = torch.empty(tensor.shape).uniform_(low, high, generator=generator)
    return tensors


@pytest.fixture(scope="module", params=MEMBERS, ids=[member[0] for member in MEMBERS])
def case(request):
    return Case(*request.param)


def what_the_classifier_sees(model, images):
    """(N, width): the input of torchvision's last layer, caught on its way in."""
    seen = []
    last = [m for m in model.modules() if isinstance(m, nn.Linear)]
    layer = last[-1] if last else model.classifier  # SqueezeNet ends in a convolution
    handle = layer.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        model(images)
    handle.remove()
    return seen[0] if seen[0].dim() == 2 else seen[0].mean((2, 3))


def test_embeddings_are_what_the_published_classifier_sees(case):
    expected = what_the_classifier_sees(case.model, case.images)
    assert case.embeddings.shape == (2, facts(case.name).embedding_width)
    photos_differ_by = (expected[0] - expected[1]).abs().max().item()
    assert photos_differ_by > 0.1
    torch.testing.assert_close(case.embeddings, expected, rtol=0, atol=1e-5 * photos_differ_by)


def test_blocks_run_one_by_one_and_leave_their_input_alone(case):
    activations = case.images
    with torch.no_grad():
        for block in case.backbone.blocks:
            before = activations.clone()
            following = block(activations)
            assert torch.equal(activations, before)
            activations = following
        assert torch.equal(case.backbone.pool(activations), case.embeddings)


def test_all_parameters_are_in_the_named_blocks(case):
    backbone = case.backbone
    assert tuple(name for name, _ in backbone.blocks.named_children()) == facts(case.name).blocks
    assert all(key.startswith("blocks.") for key in backbone.state_dict())
    assert sum(p.numel() for p in backbone.parameters()) == facts(case.name).backbone_parameters
    assert all(p.requires_grad and p.device.type == "cpu" for p in backbone.parameters())
    assert not [m for m in backbone.pool.modules() if isinstance(m, nn.Dropout)]


def test_every_family_is_tried():
    tried = {facts(name).family for name, _, _ in MEMBERS}
    assert tried == {known.family for known in all_facts()}
