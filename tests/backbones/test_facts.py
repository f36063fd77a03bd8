import importlib.util
import os
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import msgspec
import pytest
import torchvision

from transfer_core.backbones import BackboneFacts, all_facts, backbone_names, facts
from transfer_core.backbones.representations import FeatureMap, TokenStates
from transfer_core.runtime.errors import RecipeError

SCRIPT = Path(__file__).parents[2] / "scripts/build_backbone_facts.py"


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("build_backbone_facts", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_catalogue_holds_all_80_classification_models_of_torchvision():
    assert list(backbone_names()) == torchvision.models.list_models(module=torchvision.models)
    assert len(all_facts()) == 80


def test_facts_are_those_that_the_script_counts_on_torchvision_today(script):
    counted = {name: script.describe(name) for name in script.names()}
    assert len(counted) == 80
    assert {known.name: known for known in all_facts()} == counted


@pytest.mark.parametrize(
    ("name", "width", "parameters", "backbone_parameters", "blocks", "last"),
    [
        ("mobilenet_v2", 1280, 3_504_872, 2_223_872, 19, "features_18"),
        ("resnet18", 512, 11_689_512, 11_176_512, 9, "layer4_1"),
        ("resnet50", 2048, 25_557_032, 23_508_032, 17, "layer4_2"),
        ("vgg16", 4096, 138_357_544, 134_260_544, 15, "fc7"),
        ("vit_b_16", 768, 86_567_656, 85_798_656, 14, "norm"),
        ("densenet121", 1024, 7_978_856, 6_953_856, 63, "norm5"),
        ("googlenet", 1024, 6_624_904, 5_599_904, 10, "inception5b"),
        ("squeezenet1_1", 512, 1_235_496, 722_496, 9, "fire9"),
    ],
)
def test_numbers_as_in_the_literature(name, width, parameters, backbone_parameters, blocks, last):
    known = facts(name)
    assert (known.embedding_width, known.parameters) == (width, parameters)
    assert (known.backbone_parameters, len(known.blocks), known.blocks[-1]) == (
        backbone_parameters,
        blocks,
        last,
    )


def test_what_the_classifier_had_is_all_that_the_backbone_lacks():
    # One dense layer of 1000 classes: (width + 1) · 1000, without bias in MaxViT. Inception's published
    # number counts its auxiliary head: two convolutions with BatchNorm and a dense layer.
    auxiliary = (768 * 128 + 2 * 128) + (128 * 768 * 25 + 2 * 768) + 769 * 1000
    for known in all_facts():
        classifier = known.embedding_width * 1000 + (0 if known.name == "maxvit_t" else 1000)
        extra = auxiliary if known.name == "inception_v3" else 0
        assert known.parameters == known.backbone_parameters + classifier + extra, known.name


def test_papers_are_those_that_torchvision_documents():
    mentioned = 0
    for known in all_facts():
        documentation = torchvision.models.get_model_builder(known.name).__doc__
        if "arxiv" in documentation:
            assert f"/{known.arxiv}" in documentation, known.name
            mentioned += 1
    assert mentioned == 79  # squeezenet1_1's page names a release instead of the paper
    assert facts("squeezenet1_1").arxiv == facts("squeezenet1_0").arxiv


def test_weights_are_described_as_torchvision_transforms_and_measures_them():
    swag = facts("vit_b_16").published("IMAGENET1K_SWAG_E2E_V1")
    assert (swag.preprocessing.crop_size, swag.preprocessing.interpolation) == (384, "bicubic")
    assert (swag.top1, swag.top5, swag.sha256) == (85.304, 97.65, "9ac1b537")
    first = facts("mobilenet_v2").published("IMAGENET1K_V1")
    assert first.file == "mobilenet_v2-b0353104.pth"
    assert (first.preprocessing.resize_size, first.preprocessing.mean) == (256, (0.485, 0.456, 0.406))
    assert facts("mobilenet_v2").default_weights.preprocessing.resize_size == 232
    assert facts("efficientnet_v2_l").default_weights.preprocessing.std == (0.5, 0.5, 0.5)


def test_only_what_was_trained_with_swag_forbids_commercial_use():
    for known in all_facts():
        for weights in known.weights:
            assert weights.noncommercial == ("swag" in weights.file), weights.file
            assert weights.license == ("CC-BY-NC-4.0" if weights.noncommercial else "BSD-3-Clause")


def test_the_default_is_free_wherever_free_weights_exist():
    bound = [known.name for known in all_facts() if known.default_weights.noncommercial]
    assert bound == ["regnet_y_128gf", "vit_h_14"]  # nothing else is published for them


def test_a_free_file_is_preferred_to_a_better_one_that_is_not(script):
    weights = facts("vit_b_16").weights
    assert script.choose_default(weights, "IMAGENET1K_SWAG_E2E_V1").name == "IMAGENET1K_V1"
    assert script.choose_default(weights, "IMAGENET1K_V1").name == "IMAGENET1K_V1"


def test_the_file_whose_classifier_is_nan_is_not_offered():
    assert [weights.name for weights in facts("vgg16").weights] == ["IMAGENET1K_V1"]


def test_block_names_can_name_modules():
    for known in all_facts():
        assert len(set(known.blocks)) == len(known.blocks)
        assert all(block.isidentifier() for block in known.blocks), known.name


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "mobilnet_v2",
            'backbone: unknown backbone "mobilnet_v2", did you mean "mobilenet_v2"? '
            "(`transfer backbones` lists them)",
        ),
        ("zebra", 'backbone: unknown backbone "zebra" (`transfer backbones` lists them)'),
    ],
)
def test_an_unknown_backbone_is_an_error_in_the_recipe(name, message):
    with pytest.raises(RecipeError) as raised:
        facts(name)
    assert str(raised.value) == message
    assert raised.value.problems[0].path == "backbone"


def test_unknown_weights_are_an_error_in_the_recipe():
    with pytest.raises(RecipeError) as raised:
        facts("mobilenet_v2").published("IMAGENET1K_V3")
    assert str(raised.value) == (
        'weights: unknown weights "IMAGENET1K_V3" for mobilenet_v2, did you mean "IMAGENET1K_V2"? '
        "(one of: pretrained, random, IMAGENET1K_V1, IMAGENET1K_V2, or a path)"
    )


def test_facts_are_plain_data_for_the_wire():
    plain = msgspec.to_builtins(facts("mobilenet_v2"))
    assert plain["weights"][0]["preprocessing"]["crop_size"] == 224
    assert msgspec.convert(plain, type(facts("mobilenet_v2"))) == facts("mobilenet_v2")


def test_facts_and_finding_weights_need_no_torch():
    code = (
        "import sys, transfer_core.backbones as b, transfer_core.backbones.weights as w;"
        "w.find_weights(b.facts('mobilenet_v2'));"
        "print(sorted({'torch', 'torchvision', 'numpy'} & set(sys.modules)))"
    )
    environment = {**os.environ, "PYTHONPATH": str(SCRIPT.parents[1] / "python")}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=30, env=environment
    )
    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_the_table_is_part_of_the_package():
    assert files("transfer_core.backbones.torchvision").joinpath("published.json").is_file()


def test_every_backbone_gives_a_pooled_vector_and_declared_maps_and_tokens_beside():
    pooled = facts("mobilenet_v2")
    assert pooled.gives >= {"pooled"}
    maps = (FeatureMap("stem", stride=4, channels=64),)
    both = msgspec.structs.replace(pooled, feature_maps=maps, token_states=TokenStates("norm", 768))
    assert both.gives == {"pooled", "feature_maps", "tokens"}
    assert msgspec.convert(msgspec.to_builtins(both), BackboneFacts) == both
