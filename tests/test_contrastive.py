"""Contrastive fine-tuning of embeddings (SetFit)."""

import random
import signal

import pytest
import sklearn.linear_model  # noqa: F401  sets variables of the environment
import torch
from torch import nn

import transfer_core
from interrupting import Process, same
from tiny_encoder import WORDS, tiny_encoder
from transfer_core.runtime.errors import RecipeError
from transfer_core.training.contrastive import contrastive_loss

pytestmark = pytest.mark.extras

STEPS = [
    {"type": "freeze"},
    {"type": "train"},
    {"type": "unfreeze", "all": True},
    {"type": "train", "loss": "contrastive", "epochs": 12, "learning_rate": 3e-3},
]
PAIRS = [("good", "fine"), ("bad", "awful"), ("late", "early")]


def texts(count, seed=0):
    """Texts with two words of their class among others."""
    draw, found = random.Random(seed), {}
    others = [word for word in WORDS if not any(word in pair for pair in PAIRS)]
    while len(found) < count:
        words = draw.choice(PAIRS)
        found[" ".join([draw.choice(words), *draw.choices(others, k=5)])] = words[0]
    return [{"input": text, "label": label} for text, label in found.items()]


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    return tiny_encoder(tmp_path_factory.mktemp("tiny"))


def test_loss_is_that_of_cosine_similarities_and_labels():
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(5, 4, generator=generator)
    classes = torch.tensor([0, 1, 0, 2, 1])
    pairs = [(i, j) for i in range(5) for j in range(i + 1, 5)]
    labels = torch.tensor([float(classes[i] == classes[j]) for i, j in pairs])
    first, second = (rows[list(side)] for side in zip(*pairs, strict=True))
    similar = nn.CosineSimilarity()(first, second)
    # CosineSimilarityLoss: MSELoss(cosine_similarity(u, v), label), here with equal weights of both labels.
    expected = sum(nn.MSELoss()(similar[labels == value], labels[labels == value]) for value in (0, 1)) / 2
    torch.testing.assert_close(contrastive_loss(rows, classes, torch.ones(5)), 5 * expected)


@pytest.mark.parametrize("classes", [[0], [1, 1], [0, 1]])
def test_batches_without_pairs_of_a_kind(classes):
    rows = torch.ones(len(classes), 3, requires_grad=True)
    loss = contrastive_loss(rows, torch.tensor(classes), torch.ones(len(classes)))
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(rows.grad).all()


def test_embeddings_of_a_class_become_similar(encoder):
    rows = texts(60)
    model = transfer_core.train(backbone=encoder, data=rows, steps=STEPS)
    entries = [entry for entry in model.history if entry["step"] == "fine_tune"]
    assert entries[-1]["loss"] < 0.8 * entries[0]["loss"]
    assert model.header.backbone.fine_tuned
    assert model.recipe.steps[-1].loss == "contrastive"
    frozen = transfer_core.train(backbone=encoder, data=rows)
    unseen = texts(60, seed=1)
    assert model.evaluate(unseen)["accuracy"] > frozen.evaluate(unseen)["accuracy"]


@pytest.mark.slow
def test_killed_and_resumed(encoder, home, tmp_path):
    process, words = Process(), {"backbone": encoder, "data": str(tmp_path / "texts.csv"), "steps": STEPS}
    lines = [f"{row['input']},{row['label']}\n" for row in texts(40)]
    (tmp_path / "texts.csv").write_text("".join(["text,label\n", *lines]))
    whole = process(tmp_path, words=words)[1]["model"]
    home.mkdir(parents=True, exist_ok=True)
    died = process(home, words=words, die={"events": [{"event": "epoch", "step": "fine_tune", "number": 5}]})
    assert died == (-signal.SIGKILL, None)
    [run] = (home / "runs").iterdir()
    status, result = process(home, run=run.name)
    process.end()
    assert status == 0
    assert same(result["model"], whole)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            {"steps": [*STEPS[:2], {"type": "train", "loss": "contrastive"}]},
            "no block of the backbone trains",
        ),
        ({"steps": STEPS, "regularize": "l2_sp"}, "contrastive can't be combined with regularize"),
        ({"steps": STEPS, "processes": 2}, "loss: :contrastive compares the examples of a whole batch"),
    ],
)
def test_words_that_do_not_go_with_it(encoder, words, message):
    with pytest.raises(RecipeError, match=message):
        transfer_core.train(backbone=encoder, data=texts(20), **words)


def test_numbers_have_no_classes(encoder):
    rows = [{"input": row["input"], "label": float(i)} for i, row in enumerate(texts(20))]
    with pytest.raises(RecipeError, match="contrastive is for classes, not for regression"):
        transfer_core.train(backbone=encoder, data=rows, task="regression", steps=STEPS)
