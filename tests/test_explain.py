"""Explanations: sums against closed forms, places against images whose labels depend on a known square."""

import io
import json
from dataclasses import replace
from types import SimpleNamespace

import msgspec
import numpy as np
import pytest
import sklearn.linear_model  # noqa: F401  its first import changes the environment
import torch
from PIL import Image

import transfer_core
from photos import png
from tiny_case import tiny_case
from tiny_encoder import LAYERS, tiny_encoder
from transfer_core.explain.alignment import Alignment
from transfer_core.explain.attention import relevance_by_attention, rolled_out
from transfer_core.explain.case import Case
from transfer_core.explain.class_activation import class_activation, image_tensor
from transfer_core.explain.explanation import Explanation
from transfer_core.explain.occlusion import occluded_image
from transfer_core.explain.rise import randomly_masked_image
from transfer_core.heads.dense import DenseHead, named
from transfer_core.runtime.errors import ConfigurationError, ModelFileError, RecipeError

SIDE, SQUARE = 224, 64


@pytest.fixture(scope="module", autouse=True)
def home(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRANSFER_HOME", str(tmp_path_factory.mktemp("home")))
        yield


def test_hirescam_adds_up_to_the_difference_of_two_logits():
    for seed in range(3):
        case = tiny_case(seed)
        bias = case.direction @ case.head.state_dict()["0.bias"]
        heatmap = class_activation(case).heatmap
        assert heatmap.shape == (2, 2)
        assert heatmap.sum() == pytest.approx(case.score([case.loaded])[0] - bias, abs=1e-4)


def test_hirescam_of_an_mlp_is_activation_times_numeric_gradient():
    case = tiny_case(hidden=(5,))
    with torch.no_grad():
        maps = case.backbone.blocks(image_tensor(case.loaded, case.backbone)).double()

    def score(maps):
        embedding = maps.mean(dim=(2, 3)).numpy().astype(np.float64)
        return float((case.head(embedding) @ case.direction)[0])

    expected = np.zeros((2, 2))
    for channel, row, column in np.ndindex(*maps.shape[1:]):
        up, down = maps.clone(), maps.clone()
        up[0, channel, row, column] += 1e-4
        down[0, channel, row, column] -= 1e-4
        slope = (score(up) - score(down)) / 2e-4
        expected[row, column] += slope * float(maps[0, channel, row, column])
    np.testing.assert_allclose(class_activation(case).heatmap, expected, atol=1e-4)


class ChannelsLast(torch.nn.Module):
    def forward(self, x):
        return x.permute(0, 2, 3, 1)


@pytest.mark.parametrize("last", [False, True])
def test_hirescam_finds_the_maps_of_a_backbone_that_declares_none(last):
    case = tiny_case()
    expected = class_activation(case).heatmap
    backbone = case.backbone
    backbone.facts = msgspec.structs.replace(backbone.facts, feature_maps=())
    if last:
        backbone.blocks.append(ChannelsLast())
        backbone.pool.forward = lambda x: x.mean(dim=(1, 2))
    np.testing.assert_allclose(class_activation(case).heatmap, expected, atol=1e-5)


def test_occlusion_of_an_even_image_is_zero():
    case = tiny_case()
    case.loaded[:] = 90
    np.testing.assert_allclose(occluded_image(case).heatmap, 0, atol=1e-6)


def square_image(label, seed):
    """Noise with a red or a striped square at a random place; returns the image and the place."""
    rng = np.random.default_rng([seed, label])
    image = rng.normal(110, 12, (SIDE, SIDE, 3))
    top, left = rng.integers(0, SIDE - SQUARE, 2)
    patch = np.full((SQUARE, SQUARE, 3), 20.0)
    patch[..., 0] = 220
    if label:
        patch[:] = np.where(np.arange(SQUARE) // 8 % 2, 240.0, 10.0)[None, :, None]
    image[top : top + SQUARE, left : left + SQUARE] = patch
    return np.clip(image, 0, 255).astype(np.uint8), (top, left)


def photo_rows(count):
    return [
        {"input": png(square_image(i % 2, i)[0]), "label": ["red", "striped"][i % 2]} for i in range(count)
    ]


@pytest.fixture(scope="module")
def photos_model():
    return transfer_core.train(backbone="mobilenet_v2", data=photo_rows(16), device="cpu", seed=1)


def test_heatmap_points_at_the_square_and_its_places_matter_more_than_random_ones(photos_model):
    hits, ordered, random = 0, [], []
    for seed in range(100, 104):
        image, (top, left) = square_image(seed % 2, seed)
        found = photos_model.explain(png(image))
        assert (found.method, found.heatmap.shape) == ("hirescam", found.image.shape[:2])
        # The network computes on the center crop of the image.
        scale = SIDE / photos_model.backbone.preprocessing.resize_size
        offset = SIDE * (1 - scale * found.image.shape[0] / SIDE) / 2
        row, column = np.unravel_index(found.heatmap.argmax(), found.heatmap.shape)
        y, x = offset + scale * row, offset + scale * column
        margin = 16  # half a place of the map
        hits += top - margin <= y < top + SQUARE + margin and left - margin <= x < left + SQUARE + margin
        cells = found.heatmap.reshape(7, 32, 7, 32).mean(axis=(1, 3)).ravel()
        ordered.append(deletion(photos_model, found, np.argsort(-cells)))
        random.append(deletion(photos_model, found, np.random.default_rng(seed).permutation(49)))
    assert hits >= 3
    assert np.mean(ordered) < 0.7 * np.mean(random), (ordered, random)


def deletion(model, found, order):
    """The mean margin of the label while cells are covered in this order (Petsiuk et al. 2018)."""
    image, views = found.image.copy(), []
    for cell in order[:12]:
        row, column = divmod(int(cell), 7)
        image[32 * row : 32 * row + 32, 32 * column : 32 * column + 32] = 110
        views.append(png(image))
    outputs = model.head(model.embed(views))
    place = model.labels.index(found.label)
    return float((outputs[:, place] - outputs[:, 1 - place]).mean())


def test_explanation_of_a_random_head_differs(photos_model):
    """The randomization check of Adebayo et al. 2018."""
    image = png(square_image(0, 100)[0])
    head = {
        name: np.random.default_rng(5).permutation(array.ravel()).reshape(array.shape)
        for name, array in photos_model.head.state_dict().items()
    }
    trained = photos_model.explain(image, label="red")
    random = replace(photos_model, head=DenseHead(head)).explain(image, label="red")
    assert np.corrcoef(trained.heatmap.ravel(), random.heatmap.ravel())[0, 1] < 0.7


def test_numbers_that_are_not_finite_are_an_error(photos_model):
    head = {name: np.full_like(array, 3e38) for name, array in photos_model.head.state_dict().items()}
    with pytest.raises(ModelFileError, match="its contributions are not finite numbers"):
        replace(photos_model, head=DenseHead(head)).explain(png(square_image(0, 100)[0]))


def test_labels_contrast_and_files(photos_model, tmp_path):
    image = png(square_image(0, 100)[0])
    red, striped = (photos_model.explain(image, label=label) for label in ("red", "striped"))
    both = photos_model.explain(image, label="red", against="striped")
    assert both.score == pytest.approx(red.score - striped.score, abs=1e-6)
    np.testing.assert_allclose(both.heatmap, red.heatmap - striped.heatmap, atol=1e-4)
    drawn = Image.open(io.BytesIO(red.overlay))
    assert (drawn.format, drawn.size) == ("PNG", red.image.shape[1::-1])
    assert red.save(tmp_path / "why.png").read_bytes() == red.overlay
    saved = json.loads(red.save(tmp_path / "why.json").read_text())
    np.testing.assert_allclose(saved.pop("heatmap"), red.heatmap, rtol=1e-6)
    expected = {"label": "red", "against": None, "method": "hirescam", "score": red.score, "base": None}
    assert saved == expected
    with pytest.raises(ConfigurationError, match=r"expected a name that ends with \.png, \.html or \.json"):
        red.save(tmp_path / "why.gif")
    with pytest.raises(RecipeError, match='no label "rde", did you mean "red"'):
        photos_model.explain(image, label="rde")
    with pytest.raises(RecipeError, match="against: expected another label"):
        photos_model.explain(image, label="red", against="red")
    with pytest.raises(RecipeError, match="expected one image, got several"):
        photos_model.explain([image])


def homes(count=80):
    rng = np.random.default_rng(0)
    rooms, noise = rng.integers(1, 7, count), rng.standard_normal(count)
    towns = rng.choice(["Ulm", "Bonn", "Kiel"], count)
    prices = 10.0 * rooms + 20.0 * (towns == "Bonn") + 0.1 * noise
    return [
        {"input": {"rooms": int(r), "town": str(t), "noise": float(n)}, "label": float(p)}
        for r, t, n, p in zip(rooms, towns, noise, prices, strict=True)
    ]


def test_contributions_of_columns_add_up_to_the_predicted_value():
    model = transfer_core.train(backbone="sklearn:ColumnTransformer", data=homes(), seed=1)
    first = {"rooms": 2, "town": "Ulm", "noise": 0.5}
    found = model.explain(first)
    assert (found.method, found.against) == ("linear", None)
    assert found.score == pytest.approx(model.predict(first)["value"], abs=1e-3)
    assert found.base + sum(found.columns.values()) == pytest.approx(found.score, abs=1e-3)
    # The base is the mean training example; a room is worth 10, the town 20.
    more = model.explain({**first, "rooms": 5}).columns
    other = model.explain({**first, "town": "Bonn"}).columns
    assert more["rooms"] - found.columns["rooms"] == pytest.approx(30, rel=0.05)
    assert other["town"] - found.columns["town"] == pytest.approx(20, rel=0.05)
    assert abs(found.columns["noise"]) < 1


def test_contributions_to_a_label_of_several_add_up_to_its_logit():
    rows = [
        {**row, "label": ["bonn"] * (row["input"]["town"] == "Bonn") + ["big"] * (row["input"]["rooms"] > 3)}
        for row in homes()
    ]
    model = transfer_core.train(backbone="sklearn:ColumnTransformer", data=rows, task="multi_label", seed=1)
    row = {"rooms": 6, "town": "Bonn", "noise": 0.0}
    for label, column in {"bonn": "town", "big": "rooms"}.items():
        found = model.explain(row, label=label)
        assert found.base + sum(found.columns.values()) == pytest.approx(found.score, abs=1e-4)
        assert max(found.columns, key=found.columns.get) == column


def test_other_heads_on_rows_are_explained_by_occlusion():
    head = {"type": "random_forest", "trees": 20}
    model = transfer_core.train(backbone="sklearn:ColumnTransformer", data=homes(), head=head, seed=1)
    row = {"rooms": 6, "town": "Bonn", "noise": 0.5}
    found = model.explain(row)
    assert (found.method, found.base) == ("occlusion", None)
    without = model.predict({**row, "rooms": None})["value"]
    assert found.columns["rooms"] == pytest.approx(model.predict(row)["value"] - without, abs=1e-3)
    assert min(found.columns, key=lambda name: abs(found.columns[name])) == "noise"


def reviews():
    feelings = {"good": ["lovely", "great"], "bad": ["awful", "broken"]}
    others = [
        f"{first}{last}" for first in ("ka", "lo", "mi", "nu", "pe") for last in ("ran", "sel", "tor", "vin")
    ]
    rng = np.random.default_rng(0)
    return [
        {"input": " ".join(rng.permutation([*rng.choice(others, 5), word])), "label": label}
        for _ in range(20)
        for label, words in feelings.items()
        for word in words
    ]


@pytest.mark.parametrize("head", ["linear", "knn"])
def test_terms_and_words_of_a_text(head):
    model = transfer_core.train(
        backbone="sklearn:TfidfVectorizer", data=reviews(), head={"type": head}, seed=1
    )
    text = "karan awful mitor pevin"
    found = model.explain(text, label="bad", against="good")
    scores = dict(found.tokens)
    assert found.method == {"linear": "linear", "knn": "occlusion"}[head]
    if head == "linear":
        assert found.base + sum(scores.values()) == pytest.approx(found.score, abs=1e-4)
    else:
        assert " ".join(scores) == text
    assert max((word for word in scores if " " not in word), key=scores.get) == "awful"


def test_attention_relevance_of_words_and_its_gradients(tmp_path):
    pytest.importorskip("tokenizers")
    rows = [
        {"input": f"the {word} {what} was very {word}", "label": label}
        for label, words in {"pleased": ["good", "fine"], "angry": ["bad", "awful"]}.items()
        for word in words
        for what in ("train", "plane", "late train", "early plane", "train train", "plane plane")
    ]
    model = transfer_core.train(backbone=tiny_encoder(tmp_path / "tiny"), data=rows, seed=1, device="cpu")
    found = model.explain("the awful train was late", label="angry")
    assert found.method == "attention"
    assert [word for word, _ in found.tokens] == ["the", "awful", "train", "was", "late"]
    assert all(score >= 0 for _, score in found.tokens)
    assert found.score == pytest.approx(model.head(model.embed(["the awful train was late"]))[0, 0], abs=1e-4)
    rolled = model.explain("the awful train was late", method="rollout").tokens
    assert 0 < sum(score for _, score in rolled) < 1  # the rest is that of special tokens
    for text in ("the awful train was late", "good plane"):
        gradients = model.explain(text, label="angry", method="integrated_gradients")
        total = gradients.base + sum(score for _, score in gradients.tokens)
        assert total == pytest.approx(gradients.score, abs=0.05)
    maps = model.attention("the awful train was late")
    assert maps.tokens == ("", "the", "awful", "train", "was", "late", "")
    assert maps.heads.shape == (LAYERS, 2, 7, 7)
    np.testing.assert_allclose(maps.heads.sum(axis=3), 1, atol=1e-5)
    product = np.eye(7)
    for layer in maps.heads:
        product = (layer.mean(axis=0) + np.eye(7)) @ product / 2
    np.testing.assert_allclose(maps.rolled_out, product, atol=1e-6)
    measured = model.faithfulness(["the awful train was late", "the plane is very good"])
    assert (measured.method, measured.inputs) == ("attention", 2)
    pair = transfer_core.train(
        backbone=tiny_encoder(tmp_path / "tiny"),
        data=[{**row, "input": [row["input"], "it is"]} for row in rows],
        seed=1,
        device="cpu",
    )
    words = [word for word, _ in pair.explain(("a bad plane", "it is")).tokens]
    assert words == ["a", "bad", "plane", "it", "is"]


@pytest.mark.parametrize("fused", ["fused", "module"])
def test_attention_of_one_layer_is_the_published_formula(fused):
    """Chefer et al. 2021: of one layer, the mean over heads of max(0, A · ∂s/∂A), by numeric derivatives."""
    torch.manual_seed(0)
    layer = AttentionLayer(fused == "module")
    backbone = SimpleNamespace(blocks=layer, pool=lambda states: states[:, 0])
    backbone.module, backbone.facts = lambda: backbone, SimpleNamespace(plain=True, source="timm")
    head = DenseHead(named(0, np.eye(2, 8, dtype=np.float32), np.zeros(2, np.float32)))
    case = Case(None, backbone, head, (), (), lambda cells: cells, np.array([1.0, -2.0]), 0.0, None, None)
    x = torch.randn(1, 5, 8)
    attention = layer.attention(x)

    def score(changed):
        states = layer.mixed(x, changed)[0, 0]
        return float(states[0] - 2 * states[1])

    slopes = torch.zeros_like(attention)
    for place in np.ndindex(*attention.shape):
        up, down = attention.clone(), attention.clone()
        up[place] += 1e-3
        down[place] -= 1e-3
        slopes[place] = (score(up) - score(down)) / 2e-3
    expected = (attention * slopes)[0].clamp(min=0).mean(dim=0)[0]
    np.testing.assert_allclose(relevance_by_attention(case, x), expected.detach().numpy(), atol=2e-3)
    # Abnar and Zuidema 2020: of one layer, half of the mean attention, and half of the token itself.
    rolled = (attention[0].mean(dim=0)[0] + torch.eye(5)[0]) / 2
    np.testing.assert_allclose(relevance_by_attention(case, x, rolled_out), rolled.numpy(), atol=1e-6)


class AttentionLayer(torch.nn.Module):
    """Attention of two heads, by torch's module or by its fused function."""

    def __init__(self, by_module):
        super().__init__()
        self.inner = torch.nn.MultiheadAttention(8, 2, batch_first=True).eval()
        self.by_module = by_module

    def forward(self, x):
        if self.by_module:
            return self.inner(x, x, x, need_weights=False)[0]
        query, key, value = self._parts(x)
        mixed = torch.nn.functional.scaled_dot_product_attention(query, key, value)
        return self.inner.out_proj(mixed.transpose(1, 2).flatten(2))

    def _parts(self, x):
        projected = x @ self.inner.in_proj_weight.T + self.inner.in_proj_bias
        return [part.view(1, -1, 2, 4).transpose(1, 2) for part in projected.chunk(3, dim=2)]

    @torch.no_grad()
    def attention(self, x):
        query, key, _ = self._parts(x)
        return (query @ key.transpose(2, 3) / 2).softmax(dim=3)

    @torch.no_grad()
    def mixed(self, x, attention):
        return self.inner.out_proj((attention @ self._parts(x)[2]).transpose(1, 2).flatten(2))


def test_contributions_through_an_mlp_are_the_integral_of_its_gradients():
    model = transfer_core.train(
        backbone="sklearn:ColumnTransformer", data=homes(), head={"type": "mlp", "hidden": [8]}, seed=1
    )
    row = {"rooms": 6, "town": "Bonn", "noise": 0.5}
    found = model.explain(row)
    assert found.method == "integrated_gradients"
    assert found.score == pytest.approx(model.predict(row)["value"], abs=1e-3)
    assert found.base + sum(found.columns.values()) == pytest.approx(found.score, rel=0.01)
    start = torch.from_numpy(model.novelty.examples.astype(np.float64).mean(axis=0))
    end = torch.from_numpy(model.embed(row).astype(np.float64))
    zero, one = model.task.decode(np.array([[0.0], [1.0]]), model.state)[:, 0]
    path = start + torch.linspace(0, 1, 1001, dtype=torch.float64)[:, None] * (end - start)
    path.requires_grad_()
    torch_of = {name: torch.from_numpy(array).double() for name, array in model.head.state_dict().items()}
    (first, bias), (last, _) = (
        (torch_of[f"{n}.weight"], torch_of[f"{n}.bias"])
        for n in sorted({int(name.partition(".")[0]) for name in torch_of})
    )
    ((path @ first.T + bias).relu() @ last.T).sum().backward()
    integral = ((end - start) * path.grad.mean(dim=0)).numpy() * (one - zero)
    # The features are the numbers by name, then the towns.
    expected = {"noise": integral[0], "rooms": integral[1], "town": integral[2:].sum()}
    assert found.columns == pytest.approx(expected, rel=0.01, abs=0.01)


def test_outputs_of_a_regression_are_compared(tmp_path):
    lines = [f"{row['input']['rooms']},{row['label']},{-2 * row['label'] + 1}" for row in homes(40)]
    (tmp_path / "homes.csv").write_text("\n".join(["rooms,price,cost", *lines]))
    columns = {"target": ["price", "cost"]}
    model = transfer_core.train(
        backbone="sklearn:StandardScaler", data=str(tmp_path / "homes.csv"), columns=columns, seed=1
    )
    values = model.predict({"rooms": 6})["values"]
    both = model.explain({"rooms": 6}, label="price", against="cost")
    assert both.score == pytest.approx(values["price"] - values["cost"], abs=1e-3)
    assert both.base + sum(both.columns.values()) == pytest.approx(both.score, abs=1e-3)


def test_methods_by_name(photos_model):
    image, _ = square_image(0, 100)
    found = photos_model.explain(png(image), method="occlusion", against="striped")
    assert (found.method, found.heatmap.shape) == ("occlusion", found.image.shape[:2])
    with pytest.raises(RecipeError, match=r'"rize", did you mean "rise"\? \(one of: auto, hirescam'):
        photos_model.explain(png(image), method="rize")
    with pytest.raises(RecipeError, match='"attention" does not apply to mobilenet_v2 with this head'):
        photos_model.explain(png(image), method="attention")
    with pytest.raises(RecipeError, match="rollout does not depend on labels"):
        photos_model.explain(png(image), method="rollout", against="red")


def test_rise_of_a_linear_score_is_proportional_to_its_weights():
    """Of a score that adds up over places, the difference of means is the effect of each place."""
    pixels = np.full((14, 14, 3), 255, np.uint8)
    pixels[:, 7:] = 55
    weights = np.zeros((14, 14))
    weights[2:5, 9:12] = 1.0

    def score(views):
        return np.array([(view[..., 0] * weights).sum() for view in views])

    case = replace(tiny_case(), loaded=pixels, score=score)
    heatmap = randomly_masked_image(case).heatmap
    # Hidden places get the mean color, 155: the visible ones are darker here, so they lower the score.
    assert np.unravel_index(heatmap.argmin(), heatmap.shape)[0] in range(1, 6)
    assert np.unravel_index(heatmap.argmin(), heatmap.shape)[1] in range(8, 13)
    assert heatmap[2:5, 9:12].mean() < 4 * heatmap[8:, :6].mean()
    np.testing.assert_allclose(
        randomly_masked_image(replace(case, score=lambda v: np.ones(len(v)))).heatmap, 0
    )


def test_html_escapes_labels_and_inputs(tmp_path):
    hostile = "<script>alert('1')</script>&\""
    found = Explanation(
        hostile, hostile, "linear", 1.0, 0.5, tokens=((hostile, 0.5), ("b", -1.0)), columns={hostile: 1.0}
    )
    for text in (found._repr_html_(), found.save(tmp_path / "why.html").read_text()):
        assert "<script" not in text
        assert text.count("&lt;script&gt;") == 4
    alignment = Alignment((hostile,), (hostile, "b"), np.array([[0.5], [0.25]], np.float32))
    text = Explanation(hostile, None, "cross_attention", 0.5, alignment=alignment).to_html()
    assert "<script" not in text
    assert text.count("&lt;script&gt;") == 3


def test_channel_maps_are_the_outputs_of_the_block(photos_model, tmp_path):
    image = png(square_image(0, 100)[0])
    found = photos_model.features(image, block="features_3", most=5)
    backbone, pixels = photos_model.backbone.module(), photos_model.load(0, image, 1)
    with torch.no_grad():
        x = image_tensor(pixels, backbone)
        for name, block in backbone.blocks.named_children():
            x = block(x)
            if name == "features_3":
                break
    activity = x[0].abs().mean(dim=(1, 2))
    assert list(found.channels) == activity.topk(5).indices.tolist()
    np.testing.assert_array_equal(found.maps, x[0, list(found.channels)].numpy())
    assert found.save(tmp_path / "maps.png").read_bytes() == found.overlay
    assert photos_model.features(image).maps.shape == (16, 7, 7)
    with pytest.raises(
        RecipeError, match='block: mobilenet_v2 has no block "feature_3", did you mean "features_3"'
    ):
        photos_model.features(image, block="feature_3")
    with pytest.raises(RecipeError, match="mobilenet_v2 has no attention over all tokens"):
        photos_model.attention(image)


def test_explanations_are_better_than_random_and_depend_on_the_head(photos_model):
    images = [png(square_image(seed % 2, seed)[0]) for seed in range(100, 108)]
    found = photos_model.faithfulness(images)
    assert (found.method, found.inputs) == ("hirescam", 8)
    assert found.better_than_random, found
    assert found.randomized < 0.7
    assert found == photos_model.faithfulness(images)
    with pytest.raises(RecipeError, match="expected one or more inputs"):
        photos_model.faithfulness([])
