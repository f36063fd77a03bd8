"""The catalogue, held against what is published, and against networks that are built."""

import json
import re
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import timm
import torch
import torchvision
from torch import nn
from transformers import AutoConfig, AutoModel

from transfer_core import backbones
from transfer_core.backbones.catalogue import TASKS, catalogue
from transfer_core.backbones.timm.timm_listed import all_listed, timm_list
from transfer_core.runtime import paths
from transfer_core.runtime.errors import RecipeError

pytestmark = [pytest.mark.slow, pytest.mark.extras]

# Small models of different kinds; `scripts/build_timm_facts.py --check` builds all.
BUILT = timm.list_models(
    ["*_atto", "*_xs", "*18", "*_050", "*_002", "*_tiny_224", "*_nano", "*_s12"],
    exclude_filters=["test_*", "*resnet*"],
)

# What the config.json of each model says that is not transformers' default for its type.
MINILM = {"hidden_size": 384, "intermediate_size": 1536}
ROBERTA = {"max_position_embeddings": 514, "type_vocab_size": 1}
CONFIGS = {
    "sentence-transformers/all-MiniLM-L6-v2": ("bert", {**MINILM, "num_hidden_layers": 6}),
    "sentence-transformers/all-mpnet-base-v2": ("mpnet", {"max_position_embeddings": 514}),
    "sentence-transformers/paraphrase-multilingual-MiniLM-L12-v2": ("bert", {**MINILM, "vocab_size": 250037}),
    "intfloat/e5-small-v2": ("bert", MINILM),
    "BAAI/bge-small-en-v1.5": ("bert", MINILM),
    "google-bert/bert-base-uncased": ("bert", {}),
    "distilbert/distilbert-base-uncased": ("distilbert", {}),
    "FacebookAI/roberta-base": ("roberta", {**ROBERTA, "vocab_size": 50265}),
    "distilbert/distilroberta-base": ("roberta", {**ROBERTA, "vocab_size": 50265, "num_hidden_layers": 6}),
    "FacebookAI/xlm-roberta-base": ("xlm-roberta", {**ROBERTA, "vocab_size": 250002}),
    "microsoft/deberta-v3-small": (
        "deberta-v2",
        {
            "vocab_size": 128100,
            "hidden_size": 768,
            "num_hidden_layers": 6,
            "num_attention_heads": 12,
            "intermediate_size": 3072,
            "type_vocab_size": 0,
            "relative_attention": True,
            "position_buckets": 256,
            "norm_rel_ebd": "layer_norm",
            "share_att_key": True,
            "pos_att_type": ["p2c", "c2p"],
            "position_biased_input": False,
        },
    ),
    "google/vit-base-patch16-224": ("vit", {}),
    "facebook/dinov2-small": (
        "dinov2",
        {"hidden_size": 384, "num_attention_heads": 6, "image_size": 518, "patch_size": 14},
    ),
}


def entries(**asked):
    return {entry.name: entry for entry in catalogue(**asked)}


# Against networks.


def seen_by_classifier(model):
    """Inputs of its first layer; of a model that has none, what timm calls its features."""
    found = model.get_classifier()
    classifier = found[0] if isinstance(found, tuple) else found
    for layer in classifier.modules():
        if isinstance(layer, nn.Linear | nn.Conv2d):
            return layer.in_features if isinstance(layer, nn.Linear) else layer.in_channels
    return model.num_features


def test_timms_numbers_are_those_of_timms_models():
    listed = {model.name: model for model in all_listed()}
    assert len(BUILT) > 20
    for name in BUILT:
        with torch.device("meta"):
            model = timm.create_model(name)
        known = listed[name]
        assert known.parameters == sum(p.numel() for p in model.parameters()), name
        assert known.embedding_width == seen_by_classifier(model), name


@pytest.mark.parametrize("name", CONFIGS)
def test_huggingfaces_numbers_are_those_of_transformers_models(name):
    kind, words = CONFIGS[name]
    with torch.device("meta"):
        model = AutoModel.from_config(AutoConfig.for_model(kind, **words))
    layers = {n: p.numel() for n, p in model.named_parameters() if not n.startswith("pooler")}
    entry = entries(source="huggingface")[f"hf/{name}"]
    assert entry.parameters == sum(layers.values())
    assert entry.embedding_width == getattr(model.config, "dim", model.config.hidden_size)


def test_every_encoder_of_the_list_is_built():
    assert {f"hf/{name}" for name in CONFIGS} == set(entries(source="huggingface"))


@pytest.mark.parametrize("name", ["MobileNetV2", "ResNet50"])
def test_kerass_numbers_are_those_of_kerass_models(name):
    model = getattr(keras.applications, name)(weights=None)
    assert entries(source="keras")[f"keras/{name}"].parameters == model.count_params()
    keras.backend.clear_session()


def test_torchvisions_numbers_are_torchvisions():
    for entry in catalogue(source="torchvision"):
        metrics = torchvision.models.get_model_weights(entry.backbone)[entry.weights].meta["_metrics"]
        published = {
            "ImageNet-1K top-1": ("ImageNet-1K", "acc@1"),
            "COCO box AP": ("COCO-val2017", "box_map"),
        }
        place, name = published[entry.metric]
        assert entry.metric_value == metrics[place][name]


# Against what is published.


def test_timms_accuracy_is_what_timms_table_says():
    # Lines of results/results-imagenet.csv, at the size that the weights were trained with.
    lite0 = entries(source="timm")["timm/tf_efficientnet_lite0"]
    assert (lite0.metric_value, lite0.input_size, lite0.license) == (74.846, 224, "Apache-2.0")
    of = {model.name: model.weights for model in all_listed()}
    assert of["resnet18"]["a1_in1k"].top1 == 71.504
    assert of["resnet18"]["a3_in1k"].top1 == 65.67
    assert of["eva02_large_patch14_448"]["mim_m38m_ft_in22k_in1k"].top1 == 90.056
    assert of["vit_base_patch16_224"]["dino"].top1 is None
    measured = [weights for model in all_listed() for weights in model.weights.values() if weights.top1]
    assert len(measured) > 1000


def test_papers_are_among_those_that_timm_names_in_the_code_of_a_model():
    named = 0
    for model in all_listed():
        if model.arxiv:
            source = Path(sys.modules[timm.model_entrypoint(model.name).__module__].__file__).read_text()
            assert model.arxiv in source, model.name
            assert model.arxiv in timm_list().papers
            named += 1
    assert named > 1300


def test_the_list_has_all_of_timms_models_but_those_that_take_no_square_photos():
    missing = set(timm.list_models()) - {model.name for model in all_listed()}
    assert timm_list().version == timm.__version__
    assert all(re.search("^test_|_enc$|sapiens2|^deepseek_vit", name) for name in missing)


# What is asked for.


def test_filters():
    everything = entries()
    small = entries(max_parameters=5e6, license="apache-2.0", source="timm")
    assert small
    assert all(
        e.parameters <= 5e6 and e.license == "Apache-2.0" and e.source == "timm" for e in small.values()
    )
    assert {e.modality for e in entries(task="text_classification").values()} == {"text"}
    assert {e.modality for e in entries(task="image-classification").values()} == {"image"}
    assert {e.source for e in everything.values()} == {
        "torchvision",
        "timm",
        "huggingface",
        "keras",
        "marian",
        "nanodet",
        "ssdlite",
    }


def test_each_backbone_comes_once_with_the_weights_that_fit():
    found = catalogue(task="image_classification")
    assert len({entry.backbone for entry in found}) == len(found)
    free = {entry.backbone: entry for entry in catalogue(license="Apache-2.0")}
    bound = {entry.backbone: entry for entry in catalogue(license="CC-BY-NC-4.0")}
    assert free["timm/resnet18"].license == "Apache-2.0"
    assert bound["timm/resnet18"].noncommercial
    assert bound["timm/resnet18"].name == f"timm/resnet18.{bound['timm/resnet18'].weights}"


def test_the_order_is_task_then_what_is_above_the_usual_for_a_size():
    found = catalogue(task="image_classification")
    kinds = [entry.trained_for == "classification" for entry in found]
    assert kinds == sorted(kinds, reverse=True)
    classifiers = [entry for entry in found if entry.trained_for == "classification"]
    ranked = [entry.relevance for entry in classifiers if entry.relevance is not None]
    assert ranked == sorted(ranked, reverse=True)
    assert [e.trained_for for e in catalogue(task="text_classification")][:3] == ["sentence embeddings"] * 3


def test_the_usual_is_a_line_by_least_squares():
    found = [entry for entry in _all() if entry.metric == "ImageNet-1K top-1"]
    sizes, values = np.log10([e.parameters for e in found]), [e.metric_value for e in found]
    above = values - np.polyval(np.polyfit(sizes, values, 1), sizes)
    np.testing.assert_allclose([entry.relevance for entry in found], above, atol=0.051)


def _all():
    from transfer_core.backbones.catalogue import _with_relevance

    return _with_relevance()


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (
            {"task": "image_clasification"},
            'task: unknown task "image_clasification", did you mean "image_classification"? '
            f"(one of: {', '.join(sorted(TASKS))})",
        ),
        (
            {"source": "tim"},
            'source: unknown source "tim", did you mean "timm"? '
            "(one of: huggingface, keras, marian, nanodet, ssdlite, timm, torchvision)",
        ),
        ({"license": "apache2"}, 'license: unknown license "apache2", did you mean "Apache-2.0"?'),
    ],
)
def test_an_unknown_word_gives_the_nearest(asked, message):
    with pytest.raises(RecipeError) as raised:
        catalogue(**asked)
    assert str(raised.value).startswith(message)


# What this machine has.


def test_offline_lists_what_a_training_would_find(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    packaged = {
        "mobilenet_v2": "IMAGENET1K_V1",
        "timm/tf_efficientnet_lite0.ml_illustrated": "ml_illustrated",
        "timm/tf_efficientnet_lite2.ml_illustrated": "ml_illustrated",
        "hf/sentence-transformers/all-MiniLM-L6-v2": "pretrained",
        "marian/en-pt": "pretrained",
        "marian/pt-en": "pretrained",
        "ssdlite_person": "PEDESTRIANS",
    }
    assert {e.name: e.weights for e in catalogue(offline=True)} == packaged
    snapshot = tmp_path / "hf/hub/models--timm--resnet18.a1_in1k/snapshots/0123456789"
    snapshot.mkdir(parents=True)
    (snapshot / "model.safetensors").touch()
    folder = tmp_path / "keras/models"
    folder.mkdir(parents=True)
    (folder / "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5").touch()
    (tmp_path / "torch/hub/checkpoints").mkdir(parents=True)
    (tmp_path / "torch/hub/checkpoints/tf_efficientnet_b0_ns-c0e6a31c.pth").touch()
    found = {e.name for e in catalogue(offline=True)} - set(packaged)
    assert found == {"timm/resnet18", "timm/tf_efficientnet_b0", "keras/MobileNetV2"}


def test_speed_is_what_a_training_has_measured_here():
    def speeds():
        return {e.name: e.images_per_second for e in catalogue(source="timm", max_parameters=5e6)}

    assert set(speeds().values()) == {None}
    backbone = backbones.load("timm/mobilenetv3_small_050", "random")
    from transfer_core.features import image_extractor
    from transfer_core.runtime.devices import Device

    chosen = image_extractor(backbone, Device("cpu")).choice
    assert chosen.seconds > 0
    assert speeds()["timm/mobilenetv3_small_050"] == pytest.approx(1 / chosen.seconds, abs=0.1)
    known = json.loads((paths.cache() / "measurements.json").read_text())
    assert [key for key in known if "engine: timm/mobilenetv3_small_050[:14]" in key]


def test_the_catalogue_needs_neither_torch_nor_timm():
    code = (
        "import sys; from transfer_core.backbones.catalogue import catalogue; catalogue(offline=True);"
        "print(sorted({'torch', 'timm', 'numpy', 'transformers', 'keras'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_offline_lists_only_backbones_whose_library_is_installed():
    code = (
        "import sys; {block}; from transfer_core.backbones.catalogue import catalogue\n"
        "print(sorted({{entry.source for entry in catalogue(offline=True)}}))"
    )
    found = {
        block: subprocess.run(
            [sys.executable, "-c", code.format(block=block)], capture_output=True, text=True, check=True
        ).stdout
        for block in ("pass", "sys.modules['timm'] = None")
    }
    assert "timm" in found["pass"]
    assert "timm" not in found["sys.modules['timm'] = None"]
    assert "torchvision" in found["sys.modules['timm'] = None"]
