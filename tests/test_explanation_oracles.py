"""Explanations against captum's implementations of the same methods."""

import numpy as np
import pytest
import sklearn.preprocessing  # noqa: F401  its first import changes the environment
import torch
from captum.attr import IntegratedGradients, LayerGradCam, LayerGradientXActivation, Occlusion

import transfer_core
from tiny_backbone import CROP
from tiny_case import tiny_case
from tiny_encoder import tiny_encoder
from transfer_core.explain.class_activation import class_activation, image_tensor
from transfer_core.explain.integrated_gradients import ENCODER_STEPS, HEAD_STEPS
from transfer_core.explain.occlusion import CELLS, COVERED, occluded_image

SENTENCE = "the awful train was late"


def network_of(head):
    """The head as a network of PyTorch, in float64."""
    layers = sorted({int(name.partition(".")[0]) for name in head.state_dict()})
    network = torch.nn.Sequential()
    for number in layers:
        weight, bias = (
            torch.from_numpy(head.state_dict()[f"{number}.{name}"]) for name in ("weight", "bias")
        )
        linear = torch.nn.Linear(*reversed(weight.shape))
        linear.weight.data, linear.bias.data = weight, bias
        network.extend([linear, torch.nn.ReLU()])
    return network[:-1].double()


def explained(case):
    """The backbone, and from images to the explained score."""
    network, direction = network_of(case.head), torch.from_numpy(case.direction)
    return case.backbone, lambda x: network(case.backbone(x).double()) @ direction


@pytest.mark.parametrize("hidden", [(), (5,)])
def test_hirescam_is_activation_times_gradient_and_here_grad_cam(hidden):
    for seed in range(3):
        case = tiny_case(seed, hidden)
        backbone, score = explained(case)
        x = image_tensor(case.loaded, backbone)
        found = class_activation(case).heatmap
        for method in (LayerGradientXActivation, LayerGradCam):
            # Pooled by a mean, a map has the same gradient at all places, which Grad-CAM takes the mean of.
            expected = method(score, backbone.blocks[-1]).attribute(x).sum(dim=1)[0]
            np.testing.assert_allclose(found, expected.detach(), rtol=1e-4, atol=1e-6)


def test_occlusion_of_an_image():
    case = tiny_case(hidden=(5,))
    backbone, score = explained(case)
    color = case.loaded.mean(axis=(0, 1)).astype(np.uint8)
    baseline = image_tensor(np.broadcast_to(color, case.loaded.shape), backbone)
    cell = CROP // CELLS
    expected = Occlusion(score).attribute(
        image_tensor(case.loaded, backbone),
        sliding_window_shapes=(3, COVERED * cell, COVERED * cell),
        strides=(3, cell, cell),
        baselines=baseline,
    )
    by_cell = expected[0, 0, ::cell, ::cell].detach()
    np.testing.assert_allclose(occluded_image(case).heatmap, by_cell, rtol=1e-3, atol=1e-5)


def test_integrated_gradients_of_a_row():
    rng = np.random.default_rng(0)
    rows = [
        {"input": {"a": float(a), "b": float(b)}, "label": "yes" if a * b > 0 else "no"}
        for a, b in rng.standard_normal((60, 2))
    ]
    model = transfer_core.train(
        backbone="sklearn:StandardScaler", data=rows, head={"type": "mlp", "hidden": [8]}, seed=1
    )
    row = {"a": 1.5, "b": 0.5}
    found = model.explain(row, label="yes", against="no")
    yes, no = (model.labels.index(label) for label in ("yes", "no"))
    network = network_of(model.head)
    x = torch.from_numpy(np.atleast_2d(model.embed(row)).astype(np.float64))
    mean = torch.from_numpy(model.novelty.examples.astype(np.float64).mean(axis=0))[None]
    expected = IntegratedGradients(lambda x: network(x)[:, yes] - network(x)[:, no]).attribute(
        x, mean, n_steps=HEAD_STEPS, method="riemann_middle"
    )
    assert found.method == "integrated_gradients"
    np.testing.assert_allclose(list(found.columns.values()), expected[0].detach(), rtol=1e-4)


def test_integrated_gradients_of_a_text(tmp_path):
    rows = [
        {"input": f"the {word} {what} was {word}", "label": label}
        for label, words in {"pleased": ["good", "fine"], "angry": ["bad", "awful"]}.items()
        for word in words
        for what in ("train", "plane", "late train", "early plane")
    ]
    model = transfer_core.train(backbone=tiny_encoder(tmp_path / "tiny"), data=rows, seed=1, device="cpu")
    found = model.explain(SENTENCE, label="angry", method="integrated_gradients")
    backbone, network = model.backbone.module(), network_of(model.head)
    tokens, words = model.predictor.extractor.reader.words(SENTENCE)
    states = backbone.blocks[0](torch.from_numpy(tokens)[None]).detach()
    column = model.labels.index("angry")

    def score(states):
        return network(backbone.pool(backbone.blocks[1:](states)).double())[:, column]

    expected = IntegratedGradients(score).attribute(states, n_steps=ENCODER_STEPS, method="riemann_middle")
    by_token = expected[0].sum(dim=1)
    assert [word for word, _ in found.tokens] == SENTENCE.split()
    for (_, value), (_, places) in zip(found.tokens, words, strict=True):
        assert value == pytest.approx(float(by_token[places].sum()), rel=1e-3, abs=1e-5)
