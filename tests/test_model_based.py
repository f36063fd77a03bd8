"""Model-based transfer: L2-SP, WiSE-FT, gradual unfreezing, partial reuse and soups, with a tiny network."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import transfer_core
from photos import class_folder
from tiny_backbone import tiny_backbone, tiny_facts
from transfer_core import backbones
from transfer_core.features import extractor
from transfer_core.features.engines.choice import Choice
from transfer_core.finetune.near_published import COEFFICIENTS, copied, l2_sp
from transfer_core.model_file.format import read_model
from transfer_core.pipeline import five_steps
from transfer_core.pipeline.soup import _trained_on
from transfer_core.plan.relations import with_gradual_steps
from transfer_core.recipe.parser import parse_recipe
from transfer_core.recipe.relations import L2Sp
from transfer_core.recipe.steps import Train, Unfreeze
from transfer_core.runs import checkpoints
from transfer_core.runtime.errors import Cancelled, RecipeError
from transfer_core.training.relations import similarity

BLOCKS = ("stem", "middle", "last")
FINE_TUNE = {"type": "train", "epochs": 3, "batch_size": 8, "optimizer": "sgd", "learning_rate": 0.05}
STEPS = [{"type": "freeze"}, {"type": "train"}, {"type": "unfreeze", "last": 2}, FINE_TUNE]


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    return class_folder(tmp_path_factory.mktemp("photos"), per_class=6)


@pytest.fixture(autouse=True)
def tiny_network(monkeypatch):
    """These tests don't depend on the network."""

    def restore(name, tensors, *_):
        network = tiny_backbone()
        network.load_state_dict(tensors)
        return network

    facts = tiny_facts()
    monkeypatch.setattr(five_steps, "open_backbone", lambda *_: tiny_backbone())
    monkeypatch.setattr(five_steps, "describe", lambda *_: facts)
    monkeypatch.setattr(backbones, "facts", lambda *_: facts)
    monkeypatch.setattr(backbones, "restore", restore)
    monkeypatch.setattr(backbones, "load", lambda name, weights, *_: tiny_backbone(int(weights == "random")))
    # Timing of engines takes longer than everything else here.
    monkeypatch.setattr(extractor, "choose", lambda *_: Choice("torch", "", "float32", 16))
    monkeypatch.setattr(checkpoints, "SHORTEST_PAUSE_S", 0)
    monkeypatch.setattr(checkpoints, "PAUSE_PER_COST", 0)


def train(photos, until=None, **words):
    """A training; with `until` the id of one that is cancelled after so many epochs of fine-tuning."""
    told = []

    def cancelled():
        return (
            until is not None
            and sum(e["event"] == "epoch" and e["step"] == "fine_tune" for e in told) >= until
        )

    given = {"backbone": "tiny", "data": photos, "steps": STEPS, "device": "cpu", **words}
    if until is None:
        return transfer_core.train(**given)
    with pytest.raises(Cancelled) as error:
        transfer_core.train(**given, on_event=told.append, cancelled=cancelled)
    return error.value.run


def tensors(model):
    return {name: array.astype(np.float64) for name, array in read_model(model.path)[1].items()}


@pytest.fixture
def published():
    return {f"backbone.{name}": tensor.numpy() for name, tensor in tiny_backbone().state_dict().items()}


def far(model, published):
    return sum(np.square(tensors(model)[name] - array).sum() for name, array in published.items())


def test_l2_sp_adds_the_gradient_of_the_papers_penalty():
    backbone, head = tiny_backbone(), nn.Sequential(nn.Linear(6, 3))
    start = copied(backbone)
    weight, bias = backbone.blocks[2][0].weight, backbone.blocks[2][1].bias
    with torch.no_grad():
        weight.add_(1.5)
        bias.sub_(2)
    for part in (backbone.blocks[2], head):
        for parameter in part.parameters():
            parameter.grad = torch.ones_like(parameter)
    l2_sp(backbone, head, start, L2Sp(alpha=0.2, beta=0.5))()
    assert weight.grad == pytest.approx(torch.full_like(weight, 1 + 0.2 * 1.5))
    assert bias.grad == pytest.approx(torch.full_like(bias, 1 - 0.2 * 2))
    assert torch.allclose(head[0].weight.grad, 1 + 0.5 * head[0].weight)
    assert torch.equal(head[0].bias.grad, torch.ones(3))
    assert backbone.blocks[0][0].weight.grad is None


def test_l2_sp_keeps_weights_near_the_published_ones(photos, published):
    words = {"split": {"valid": 0}}
    plain = train(photos, **words)
    near = train(photos, regularize={"type": "l2_sp", "alpha": 5.0, "beta": 0}, **words)
    assert 0 < far(near, published) < 0.5 * far(plain, published)
    assert near.recipe.steps[-1].weight_decay == 0


def test_wise_ft_is_the_mean_of_published_and_fine_tuned_weights(photos, published):
    fine_tuned = tensors(train(photos))
    mixed = tensors(train(photos, regularize={"type": "wise_ft", "coefficient": 0.5}))
    for name, array in published.items():
        assert mixed[name] == pytest.approx((array + fine_tuned[name]) / 2, abs=1e-6)


def test_wise_ft_takes_the_coefficient_with_the_lowest_validation_loss(photos):
    model = train(photos, regularize="wise_ft")
    tried = [entry for entry in model.history if entry["step"] == "wise_ft"]
    assert [entry["coefficient"] for entry in tried] == list(COEFFICIENTS)
    losses = {entry["coefficient"]: entry["validation_loss"] for entry in tried}
    best = train(photos, regularize={"type": "wise_ft", "coefficient": min(losses, key=losses.get)})
    ours, theirs = tensors(model), tensors(best)
    assert all((ours[name] == theirs[name]).all() for name in ours)


def test_gradual_unfreezing_adds_a_block_per_epoch():
    unfreeze = {"type": "unfreeze", "all": True, "gradually": True}
    words = {
        "backbone": "tiny",
        "data": "x",
        "steps": [{"type": "freeze"}, {"type": "train"}, unfreeze, FINE_TUNE],
    }
    steps = with_gradual_steps(parse_recipe(words), BLOCKS).steps[2:]
    assert [step.blocks for step in steps if isinstance(step, Unfreeze)] == [
        ("last",),
        ("middle",),
        ("stem",),
    ]
    assert [step.epochs for step in steps if isinstance(step, Train)] == [1, 1, 3]


def test_gradual_unfreezing_trains(photos):
    unfreeze = {"type": "unfreeze", "last": 2, "gradually": True}
    model = train(photos, steps=[*STEPS[:2], unfreeze, FINE_TUNE])
    assert [entry["epoch"] for entry in model.history if entry["step"] == "fine_tune"] == [1, 1, 2, 3]


def test_a_part_of_the_blocks_is_reused(photos, published):
    steps = [*STEPS[:2], {"type": "unfreeze", "blocks": ["middle"]}, FINE_TUNE]
    model = train(photos, reuse={"blocks": ["stem", "last"]}, steps=steps)
    found = tensors(model)
    for name, array in published.items():
        if "num_batches" not in name:
            assert (found[name] == array).all() == (".middle." not in name), name
    assert model.header.backbone.fine_tuned
    with pytest.raises(RecipeError, match="middle would keep random weights, as no step trains it"):
        train(photos, reuse={"first": 1}, steps=[*STEPS[:2], {"type": "unfreeze", "last": 1}, FINE_TUNE])


@pytest.mark.parametrize("word", ["l2_sp", "wise_ft"])
def test_a_regularized_training_resumes_bit_identical(photos, word):
    words = {"regularize": word, "steps": [*STEPS, FINE_TUNE]}
    whole, run = tensors(train(photos, **words)), train(photos, until=4, **words)
    resumed = tensors(transfer_core.resume(run))
    assert all((whole[name] == resumed[name]).all() for name in whole)


def test_a_soup_averages_fine_tuned_backbones(photos, tmp_path):
    models = [train(photos, seed=seed, split={"test": 0, "valid": 0.2}) for seed in (1, 2)]
    held_out = class_folder(tmp_path / "more", per_class=8, first_seed=1000)
    soup = transfer_core.soup(models, data=held_out, method="uniform")
    first, second, found = map(tensors, (*models, soup))
    for name in found:
        assert found[name] == pytest.approx((first[name] + second[name]) / 2, rel=1e-6, abs=1e-6), name
    assert soup.metrics["accuracy"] >= 0
    best = transfer_core.soup(models, data=held_out)
    assert best.history[0]["kept"]
    assert transfer_core.load(soup.path).labels == models[0].labels
    assert soup.warnings == ()


@pytest.mark.parametrize("steps", [STEPS, STEPS[:2]])
def test_a_soup_on_examples_that_trained_a_model_has_a_warning(tmp_path, steps):
    data = class_folder(tmp_path / "own", per_class=8)
    models = [train(data, seed=seed, steps=steps) for seed in (1, 2)]
    (found,) = transfer_core.soup(models, data=data).warnings
    assert re.match(r"\d+ of 24 examples also trained a model: the metrics are too high. Fix: give", found)
    # A model without stored examples has the place of its data.
    bare = [dataclasses.replace(model, novelty=None) for model in models]
    (found,) = _trained_on(bare, parse_recipe({"backbone": "tiny", "data": str(data)}), [])
    assert found.startswith("a model was trained on the same data: the metrics are too high")


SLOWLY = {"type": "train", "epochs": 10, "batch_size": 16, "optimizer": "adam", "learning_rate": 3e-3}
RELATIONS = ["kd", "rkd", "similarity", "contrastive"]


@pytest.fixture
def teacher(photos):
    """A model of the same photos with another network."""
    return train(photos, split={"valid": 0}, seed=7)


def test_a_student_is_trained_by_all_relations_and_resumes_bit_identical(photos, teacher):
    distill = {"from": str(teacher.path), "relation": RELATIONS}
    words = {"distill": distill, "unlabelled": photos, "steps": [*STEPS[:3], {**SLOWLY, "epochs": 3}]}
    whole = train(photos, **words)
    resumed = transfer_core.resume(train(photos, until=2, **words))
    first, second = tensors(whole), tensors(resumed)
    assert first.keys() == second.keys()
    assert all((first[name] == second[name]).all() for name in first)
    assert not any("projection" in name for name in first)
    assert whole.header.backbone.fine_tuned


@pytest.mark.parametrize("relation", RELATIONS[1:])
def test_embeddings_come_nearer_to_the_teachers(photos, teacher, relation):
    """In the sense of similarity-preserving distillation, whatever the relation."""
    pictures = sorted(str(path) for path in Path(photos).glob("*/*.png"))
    target = torch.from_numpy(teacher.embed(pictures))
    losses = []
    for words in ({}, {"distill": {"from": str(teacher.path), "relation": relation}}):
        model = train(photos, steps=[*STEPS[:3], SLOWLY], split={"valid": 0}, seed=1, **words)
        losses.append(float(similarity(torch.from_numpy(model.embed(pictures)), target)))
    assert losses[1] < losses[0]
