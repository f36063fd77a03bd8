"""Adapters: what trains, what must not, and that merging them changes nothing that the network says."""

import copy

import msgspec
import numpy as np
import pytest
import torch
from torch import nn

import transfer_core
from photos import class_folder
from tiny_encoder import WIDTH, tiny_encoder
from transfer_core.backbones import build, facts, load
from transfer_core.data import Dataset
from transfer_core.features.tokens import Reader
from transfer_core.finetune import Examples, fine_tune
from transfer_core.finetune.lora import adapted, dense_layers, only_adapters, without_adapters
from transfer_core.model_file.format import read_model
from transfer_core.plan.phases import Phase, phases
from transfer_core.plan.plan import complete
from transfer_core.recipe.parser import parse_recipe
from transfer_core.recipe.schema import TextOptions
from transfer_core.recipe.steps import Lora, Train
from transfer_core.runtime.devices import Machine
from transfer_core.runtime.errors import Cancelled, DependencyError, RecipeError
from transfer_core.runtime.progress import Progress
from transfer_core.tasks.criteria import CrossEntropy

pytestmark = pytest.mark.extras

MACHINE = Machine(torch.device("cpu"), "float32")
RANK, ALPHA = 2, 6.0
STEP = Train(
    epochs=1,
    optimizer="sgd",
    learning_rate=0.5,
    momentum=0.0,
    weight_decay=0.0,
    batch_size=4,
    schedule="constant",
    warmup=0.0,
    early_stopping=0,
)
PHASE = Phase(STEP, (), Lora(rank=RANK, alpha=ALPHA))
TEXTS = ("good train", "a bad plane", "fine", "it was awful")


@pytest.fixture(scope="module", autouse=True)
def peft():
    """What it imports takes seconds, and sets variables of its own."""
    import os

    environment = dict(os.environ)
    import peft

    os.environ.clear()
    os.environ.update(environment)
    return peft


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("tiny")


@pytest.fixture
def tiny(folder):
    return load(tiny_encoder(folder, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0))


def state_of(module):
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


def head_of(seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(WIDTH, 2))


def images_of(texts):
    targets = torch.arange(len(texts)) % 2
    dataset = Dataset(tuple(texts), tuple(f"{i:064x}" for i in range(len(texts))), targets.numpy())
    return Examples(dataset, targets, torch.ones(len(texts)))


def tokens_of(backbone, texts=TEXTS):
    rows = [windows[0] for windows in Reader(backbone, TextOptions()).windows(texts)]
    batch = torch.full((len(rows), max(map(len, rows)), 2), -1, dtype=torch.int32)
    for row, tokens in zip(batch, rows, strict=True):
        row[: len(tokens)] = torch.from_numpy(tokens)
    return batch


def test_one_step_is_that_of_the_closed_form(tiny):
    """At first B = 0. So A gets no gradient, and B that of the whole weight G times Aᵀ alpha / rank."""
    published, head = state_of(tiny), head_of()
    plain = copy.deepcopy(tiny).requires_grad_(True)
    loss = nn.functional.cross_entropy(head(plain(tokens_of(tiny))), torch.arange(4) % 2)
    loss.backward()
    with adapted(copy.deepcopy(tiny), PHASE, seed=5):
        pass
    twin = copy.deepcopy(tiny)
    with adapted(twin, PHASE, seed=5):
        drawn = {n: p.detach().clone() for n, p in twin.blocks.named_parameters() if "lora_A" in n}
    history = fine_tune(
        tiny, head, PHASE, images_of(TEXTS), images_of(()), (), MACHINE, CrossEntropy(), 5, Progress()
    )
    assert history[0]["loss"] == pytest.approx(float(loss.detach()), abs=2e-3)
    checked = 0
    for name in dense_layers(tiny):
        gradient = plain.blocks.get_submodule(name).weight.grad
        first = drawn[f"{name}.lora_A.default.weight"]
        scale = ALPHA / RANK
        moved = -0.5 * scale * gradient @ first.T @ first * scale
        found = tiny.blocks.get_submodule(name).weight - published[f"blocks.{name}.weight"]
        torch.testing.assert_close(found, moved, atol=2e-3 * float(moved.abs().max() + 1), rtol=0)
        assert float(moved.abs().max()) > 0
        checked += 1
    assert checked == 3 * 6
    others = {name for name in published if not torch.equal(published[name], tiny.state_dict()[name])}
    assert others == {f"blocks.{name}.weight" for name in dense_layers(tiny)}


def test_merged_layers_give_what_layers_with_adapters_gave(tiny):
    published, tokens = state_of(tiny), tokens_of(tiny)
    with torch.no_grad():
        before = tiny(tokens)
        with adapted(tiny, PHASE, seed=0) as beside:
            assert torch.equal(tiny(tokens), before)  # nothing is said until they have learned
            for name, parameter in tiny.named_parameters():
                if "lora_B" in name:
                    parameter.normal_(generator=torch.Generator().manual_seed(len(name)))
            trained = tiny(tokens)
            bases = without_adapters(state_of(tiny))
        merged = tiny(tokens)
    assert beside == ("layer_0", "layer_1", "layer_2")
    assert bases.keys() == published.keys()
    assert all(torch.equal(bases[name], tensor) for name, tensor in published.items())
    assert float((trained - before).abs().max()) > 0.1
    torch.testing.assert_close(merged, trained, atol=1e-5, rtol=1e-5)
    assert tiny.state_dict().keys() == published.keys()
    assert all(type(layer) is nn.Linear for layer in map(tiny.blocks.get_submodule, dense_layers(tiny)))
    assert not hasattr(tiny.blocks, "peft_config")


def test_a_training_that_ends_badly_leaves_the_network_as_it_was(tiny):
    published = state_of(tiny)
    heard = []

    def cancelled():
        return any(event["event"] == "epoch" for event in heard)

    with pytest.raises(Cancelled):
        fine_tune(
            tiny,
            head_of(),
            PHASE,
            images_of(TEXTS),
            images_of(()),
            (),
            MACHINE,
            CrossEntropy(),
            0,
            Progress(heard.append, cancelled),
        )
    assert tiny.state_dict().keys() == published.keys()
    assert all(torch.equal(tiny.state_dict()[name], tensor) for name, tensor in published.items())


def test_of_a_block_with_adapters_only_these_train_and_a_block_that_is_unfrozen_has_none(tiny):
    phase = Phase(STEP, ("layer_2",), Lora(rank=RANK))
    with adapted(tiny, phase, seed=0) as beside:
        assert beside == ("layer_0", "layer_1")
        only_adapters(tiny.blocks.layer_0)
        trained = [name for name, p in tiny.blocks.layer_0.named_parameters() if p.requires_grad]
        assert len(trained) == 12
        assert all("lora_" in name for name in trained)
        assert not any("lora_" in name for name, _ in tiny.blocks.layer_2.named_parameters())


def test_adapters_beside_the_dense_layers_of_images():
    """torchvision's attention takes the weights out of its layers: only those that are called count."""
    convnext, vit = build("convnext_tiny"), build("vit_b_32")
    assert len(dense_layers(convnext)) == 2 * 18
    assert len(dense_layers(vit)) == 2 * 12
    images = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        before = convnext(images)
        with adapted(convnext, PHASE, seed=0):
            for name, parameter in convnext.named_parameters():
                if "lora_B" in name:
                    parameter.fill_(100.0)  # each block's share is scaled by 1e-6
            trained = convnext(images)
        assert float((trained - before).abs().max()) > 1e-3
        torch.testing.assert_close(convnext(images), trained, atol=1e-5, rtol=1e-5)


def test_a_recipe_with_adapters_from_photos_to_a_plain_saved_model(tmp_path):
    tiny_encoder(tmp_path / "vit")  # a folder to write into
    (tmp_path / "vit/tokenizer.json").unlink()
    config = '{"model_type": "vit", "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, '
    (tmp_path / "vit/config.json").write_text(
        config + '"intermediate_size": 24, "image_size": 32, "patch_size": 16}'
    )
    photos = class_folder(tmp_path / "photos", per_class=6)
    steps = [
        {"type": "lora", "rank": 2},
        {"type": "train", "epochs": 2, "batch_size": 8, "learning_rate": 0.01},
    ]
    titles = []
    model = transfer_core.train(
        backbone=f"hf/{tmp_path / 'vit'}",
        data=photos,
        weights="random",
        steps=steps,
        split={"valid": 0},
        on_event=lambda event: titles.append(event.get("title")),
    )
    assert "fine-tune adapters of rank 2" in titles
    assert [type(step).__name__ for step in model.recipe.steps][-2:] == ["Lora", "Train"]
    published = load(f"hf/{tmp_path / 'vit'}", "random").state_dict()
    saved = {
        name.removeprefix("backbone."): t
        for name, t in read_model(model.path)[1].items()
        if "head" not in name
    }
    assert saved.keys() == published.keys()
    moved = {name for name, tensor in published.items() if not np.array_equal(saved[name], tensor.numpy())}
    assert moved == {f"blocks.layer_{i}.{part}.weight" for i in (0, 1) for part in PARTS}
    first = next(iter(tmp_path.rglob("*.png")))
    again = transfer_core.load(model.path).predict(str(first))["scores"]
    assert again == pytest.approx(model.predict(str(first))["scores"], abs=1e-5)


PARTS = ("query", "key", "value", "attended", "dense.widen", "dense.narrow")


def test_refused_where_there_is_nothing_to_adapt(tmp_path):
    steps = [{"type": "freeze"}, {"type": "train"}, {"type": "lora"}, {"type": "train"}]
    with pytest.raises(RecipeError) as raised:
        transfer_core.train(backbone="mobilenet_v2", data=class_folder(tmp_path / "photos"), steps=steps)
    assert str(raised.value) == (
        "steps[2]: mobilenet_v2 has no dense layers for adapters. Fix: unfreeze blocks instead"
    )


def test_refused_for_what_can_only_be_used_as_it_is():
    fixed = msgspec.structs.replace(facts("mobilenet_v2"), trainable=False)
    recipe = parse_recipe({"data": "x", "backbone": "x", "steps": [{"type": "lora"}, {"type": "train"}]})
    with pytest.raises(
        RecipeError, match=r"^steps\[0\]: mobilenet_v2 can only be used as it is: leave it frozen$"
    ):
        complete(recipe, fixed)


def test_without_peft(folder, monkeypatch, tmp_path):
    monkeypatch.setitem(__import__("sys").modules, "peft", None)
    rows = [{"input": text, "label": "ab"[i % 2]} for i, text in enumerate(TEXTS * 3)]
    with pytest.raises(
        DependencyError,
        match=r"^LoRA needs the package peft\. Fix: .* install 'transfer-core\[peft\]'$",
    ):
        transfer_core.train(
            backbone=tiny_encoder(folder), data=rows, steps=[{"type": "lora"}, {"type": "train"}]
        )


def test_adapters_learn_faster_than_whole_blocks_unless_it_is_said():
    def rates(*steps):
        recipe = parse_recipe({"data": "x", "backbone": "x", "steps": [{"type": "train"}, *steps]})
        done = complete(recipe, facts("mobilenet_v2"))
        return [step.learning_rate for step in done.steps if isinstance(step, Train)][1:]

    lora, train, thaw = {"type": "lora"}, {"type": "train"}, {"type": "unfreeze", "last": 1}
    assert rates(lora, train) == [3e-4]
    assert rates(thaw, train) == [1e-4]
    assert rates(lora, {**train, "learning_rate": 0.1}, {**train, "optimizer": "sgd"}) == [0.1, 1e-3]


def phases_of(*steps):
    plain = [{"type": step} if isinstance(step, str) else step for step in steps]
    recipe = parse_recipe({"data": "x", "backbone": "x", "steps": plain})
    return [(phase.trainable, phase.lora is not None) for phase in phases(recipe, ("a", "b"))]


def test_adapters_stay_until_the_whole_backbone_is_frozen_again():
    assert phases_of(
        "freeze", "lora", "train", {"type": "freeze", "first": 1}, "train", "freeze", "train"
    ) == [
        ((), True),
        ((), True),
        ((), False),
    ]
    assert phases_of("freeze", {"type": "unfreeze", "last": 1}, "lora", "train") == [(("b",), True)]
