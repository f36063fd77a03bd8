"""Whole trainings on texts: a tiny encoder, and sentences whose label is said by their words."""

import builtins
import copy
import csv
import sys

import numpy as np
import pytest
import torch
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, f1_score
from torch import nn

import transfer_core
from tiny_encoder import WIDTH, tiny_encoder
from transfer_core.backbones import load
from transfer_core.data import Dataset
from transfer_core.features.tokens import Reader
from transfer_core.finetune import Examples, fine_tune
from transfer_core.model_file.format import read_model
from transfer_core.plan.phases import Phase
from transfer_core.recipe.schema import TextOptions
from transfer_core.recipe.steps import Train
from transfer_core.runtime.devices import Machine
from transfer_core.runtime.errors import Cancelled, DataError, DependencyError, RecipeError
from transfer_core.runtime.progress import Progress
from transfer_core.tasks.criteria import CrossEntropy

pytestmark = pytest.mark.extras

LABELS = {"pleased": ["good", "fine"], "angry": ["bad", "awful"]}
TUNE = [
    {"type": "freeze"},
    {"type": "train"},
    {"type": "unfreeze", "last": 2},
    {"type": "train", "epochs": 3, "batch_size": 8, "learning_rate": 1e-3},
]


def sentences(per_label=20, seed=0, feelings=(0, 1)):
    """Rows whose label is that of their only word of a feeling, the first or the second of its label."""
    rng = np.random.default_rng(seed)
    other = ["train", "plane", "late", "early", "the", "a", "is", "was", "not", "very", "it", "we", "you"]
    rows = []
    for label, words in LABELS.items():
        for _ in range(per_label):
            text = [*rng.choice(other, rng.integers(1, 5)), words[rng.choice(feelings)]]
            rows.append({"input": " ".join(rng.permutation(text)), "label": label})
    return rows


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return tiny_encoder(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(autouse=True)
def one_choice(monkeypatch):
    """Timing takes longer than everything else here."""
    from transfer_core.features import text
    from transfer_core.features.engines.choice import Choice

    monkeypatch.setattr(text, "choose", lambda *_: Choice("openvino", "1", "float32", 512))


def train(backbone, data=None, events=None, **words):
    heard = [] if events is None else events
    return transfer_core.train(backbone=backbone, data=data or sentences(), on_event=heard.append, **words)


def tensors(model):
    return read_model(model.path)[1]


def warnings(events):
    return [event["message"] for event in events if event["event"] == "warning"]


def test_a_classifier_of_texts_beside_what_words_alone_say(tiny):
    # Only the validation part has all words: a baseline that doesn't learn from it would be a poorer one.
    known = {"train": (60, 0, [0]), "valid": (20, 1, [0, 1]), "test": (15, 2, [0, 1])}
    split = [{**row, "split": part} for part, given in known.items() for row in sentences(*given)]
    events = []
    model = train(tiny, split, events)
    parts = {part: [row for row in split if row["split"] in part] for part in (("train", "valid"), ("test",))}
    (taught, asked) = ([row["input"] for row in rows] for rows in parts.values())
    (known, truth) = ([row["label"] for row in rows] for rows in parts.values())
    vectors = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True).fit(taught)
    said = (
        LogisticRegression(max_iter=1000)
        .fit(vectors.transform(taught), known)
        .predict(vectors.transform(asked))
    )
    assert model.metrics["tfidf_accuracy"] == accuracy_score(truth, said)
    assert model.metrics["tfidf_macro_f1"] == pytest.approx(f1_score(truth, said, average="macro"))
    assert model.metrics["accuracy"] > 0.5
    units = {event["unit"] for event in events if event["event"] == "progress"}
    assert "texts" in units
    assert "images" not in units
    assert model.predict("The train was GOOD")["label"] == "pleased"
    bad, pair = model.predict(["bad", ["awful", "plane"]])
    assert bad["label"] == "angry"
    (alone,) = model.predict([["awful", "plane"]])
    assert pair["scores"] == pytest.approx(alone["scores"], abs=1e-4)
    assert pair["scores"] != pytest.approx(model.predict("awful plane")["scores"], abs=1e-4)


def test_a_model_that_words_alone_beat_says_so(tiny):
    events = []
    model = train(tiny, sentences(30), events, weights="random", text={"max_length": 4})
    assert model.metrics["macro_f1"] < model.metrics["tfidf_macro_f1"]
    (message,) = [one for one in warnings(events) if one.startswith("words alone")]
    assert message == (
        "words alone do as well: TF-IDF with logistic regression reaches a macro-F1 of "
        f"{model.metrics['tfidf_macro_f1']:.3f} on the same texts, this model {model.metrics['macro_f1']:.3f}"
    )
    assert message in model.header.warnings


def test_without_scikit_learn_the_baseline_is_missed(tiny, monkeypatch):
    usual = builtins.__import__

    def without(name, *arguments):
        if name.startswith("sklearn"):
            raise ImportError(name)
        return usual(name, *arguments)

    monkeypatch.setattr(builtins, "__import__", without)
    events = []
    assert "tfidf_accuracy" not in train(tiny, events=events).metrics
    assert warnings(events)[-1] == (
        "no comparison with a bag-of-words baseline: TF-IDF with logistic regression, the baseline, "
        "needs the package scikit-learn. "
        f"Fix: {sys.executable} -m pip install 'transfer-core[sklearn]'"
    )


def test_texts_without_words_have_no_baseline(tiny):
    rows = [
        {"input": text, "label": label}
        for i in range(10)
        for text, label in ((f"! {'.' * i}", "a"), (f". {'!' * i} .", "b"))
    ]
    assert "tfidf_accuracy" not in train(tiny, rows).metrics


def test_numbers_can_be_said_of_texts_too(tiny):
    rows = [{**row, "label": float(row["label"] == "angry")} for row in sentences(60)]
    model = train(tiny, rows, task="regression")
    assert model.metrics["mae"] < 1
    assert "tfidf_accuracy" not in model.metrics
    assert isinstance(model.predict("good")["value"], float)


def test_frozen_means_bit_identical_and_the_second_run_computes_nothing(tiny, monkeypatch):
    from transfer_core.features.text import TextExtractor

    first = train(tiny)
    published = load(tiny).state_dict()
    saved = {name.removeprefix("backbone."): value for name, value in tensors(first).items()}
    assert all(np.array_equal(saved[name], tensor.numpy()) for name, tensor in published.items())
    monkeypatch.setattr(TextExtractor, "prepare", lambda self: pytest.fail("a forward pass"))
    second = train(tiny)
    assert all(np.array_equal(value, tensors(second)[name]) for name, value in tensors(first).items())
    assert second.metrics == first.metrics


def test_a_saved_model_answers_the_same_without_the_folder(tmp_path):
    folder = tmp_path / "tiny"
    model = train(tiny_encoder(folder), text={"max_length": 12})
    texts = ["good", "a very bad plane", ["good train", "bad plane"]]
    expected = model.predict(texts)
    for file in folder.iterdir():
        file.unlink()
    again = transfer_core.load(model.save(tmp_path / "model.transfer"))
    assert again.modality.name == "text"
    assert again.recipe.text == TextOptions(max_length=12)
    for one, other in zip(again.predict(texts), expected, strict=True):
        assert one["scores"] == pytest.approx(other["scores"], abs=1e-5)


def test_last_blocks_train_and_the_others_stay(tiny):
    model = train(tiny, steps=TUNE, split={"valid": 0})
    published = {f"backbone.{name}": tensor.numpy() for name, tensor in load(tiny).state_dict().items()}
    moved = {
        name.split(".")[2]
        for name, value in published.items()
        if not np.array_equal(value, tensors(model)[name])
    }
    assert moved == {"layer_1", "layer_2"}
    epochs = [entry for entry in model.history if entry["step"] == "fine_tune"]
    assert [entry["epoch"] for entry in epochs] == [1, 2, 3]
    assert epochs[-1]["loss"] < epochs[0]["loss"]
    assert model.metrics["tfidf_accuracy"] > 0


@pytest.mark.parametrize("more", [[], [{"type": "freeze"}, {"type": "lora", "rank": 2}]])
def test_a_training_goes_on_to_the_same_bits(tiny, monkeypatch, more):
    from transfer_core.runs import checkpoints

    monkeypatch.setattr(checkpoints, "SHORTEST_PAUSE_S", 0)
    monkeypatch.setattr(checkpoints, "PAUSE_PER_COST", 0)
    further = {"type": "train", "epochs": 2, "batch_size": 8, "learning_rate": 1e-3}
    steps = [*TUNE, *more, further]
    whole = train(tiny, steps=steps)
    for stop in (2, 4):
        events = []

        def cancelled(events=events, stop=stop):
            return (
                sum(event.get("step") == "fine_tune" and event["event"] == "epoch" for event in events)
                == stop
            )

        rows = sentences()
        with pytest.raises(Cancelled) as raised:
            train(tiny, rows, events, steps=steps, cancelled=cancelled)
        resumed = transfer_core.resume(raised.value.run, data=rows)
        assert all(np.array_equal(value, tensors(resumed)[name]) for name, value in tensors(whole).items())
        assert resumed.history == whole.history


# Fine-tuning beside a bare PyTorch loop.

STEP = Train(
    epochs=2,
    optimizer="sgd",
    learning_rate=0.1,
    momentum=0.9,
    weight_decay=0.0,
    batch_size=4,
    schedule="constant",
    warmup=0.0,
    early_stopping=0,
)


def images_of(rows):
    texts = tuple(row["input"] for row in rows)
    targets = torch.tensor([row["label"] == "angry" for row in rows]).long()
    dataset = Dataset(texts, tuple(f"{i:064x}" for i in range(len(rows))), targets.numpy())
    return Examples(dataset, targets, torch.ones(len(rows)))


@pytest.mark.parametrize(
    "trainable", [("layer_2",), ("layer_0", "layer_1", "layer_2"), ("embeddings", "layer_2")]
)
def test_a_bare_loop_over_padded_batches_gives_the_same_weights(tmp_path, trainable):
    name = tiny_encoder(tmp_path / "tiny", hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    rows = images_of(sentences(5))
    head = nn.Sequential(nn.Linear(WIDTH, 2))
    ours, ours_head = load(name), copy.deepcopy(head)
    history = fine_tune(
        ours,
        ours_head,
        Phase(STEP, trainable),
        rows,
        images_of([]),
        (),
        Machine(torch.device("cpu"), "float32"),
        CrossEntropy(),
        7,
        Progress(),
    )
    bare = load(name).requires_grad_(False)
    for block in trainable:
        getattr(bare.blocks, block).requires_grad_(True)
    trained = [p for p in (*bare.parameters(), *head.parameters()) if p.requires_grad]
    optimizer = torch.optim.SGD(trained, lr=0.1, momentum=0.9)
    tokens = [windows[0] for windows in Reader(bare, TextOptions()).windows(rows.dataset.inputs)]
    means = []
    for epoch in (1, 2):
        order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(7 * 100_003 + epoch))
        total = 0.0
        for chunk in torch.split(order, 4):
            batch = torch.full((len(chunk), 20, 2), -1, dtype=torch.int32)
            for row, number in zip(batch, chunk.tolist(), strict=True):
                row[: len(tokens[number])] = torch.from_numpy(tokens[number])
            loss = nn.functional.cross_entropy(head(bare(batch)), rows.targets[chunk])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += float(loss.detach()) * len(chunk)
        means.append(total / len(rows))
    # Activations in front of what trains are kept in half precision.
    torch.testing.assert_close([entry["loss"] for entry in history], means, atol=2e-3, rtol=0)
    for name, tensor in bare.state_dict().items():
        torch.testing.assert_close(ours.state_dict()[name], tensor, atol=5e-3, rtol=0)
    moved = [p for p in (*bare.parameters(), *head.parameters()) if p.requires_grad]
    assert len(moved) > 4


# What can be wrong.


def test_options_that_can_t_be(tiny):
    with pytest.raises(RecipeError, match=r"^text.max_length: hf/.* reads at most 40 tokens \(got 41\)$"):
        train(tiny, text={"max_length": 41})
    for words in ({"steps": TUNE}, {"preset": "best"}, {"steps": [{"type": "lora"}, {"type": "train"}]}):
        with pytest.raises(RecipeError) as raised:
            train(tiny, text={"long": "window"}, **words)
        assert (
            str(raised.value)
            == "text.long: windows are for a frozen backbone: use truncate, or leave it frozen"
        )
    with pytest.raises(RecipeError, match=r"^text: applies to texts, but mobilenet_v2 takes images$"):
        train("mobilenet_v2", text={"max_length": 4})
    with pytest.raises(RecipeError, match=r"^augment: varies images, but hf/.* takes a text$"):
        train(tiny, augment=["flip"])


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ("", "row 3: the text is empty"),
        (b"\xff\xfe", "row 3: the text is not valid UTF-8"),
        ("\ud800", "row 3: the text is not valid Unicode"),
        (["a", "b", "c"], "row 3: input is a text or a list of two, got a list of 3"),
        (7, "row 3: input is a text, not int"),
    ],
)
def test_inputs_that_are_no_texts(tiny, bad, message):
    rows = sentences()
    rows[2]["input"] = bad
    with pytest.raises(DataError) as raised:
        train(tiny, rows)
    assert str(raised.value).startswith(message)


def test_images_for_texts_and_texts_for_images(tiny, tmp_path):
    (tmp_path / "photos/cat").mkdir(parents=True)
    (tmp_path / "photos/cat/1.png").write_bytes(b"")
    with pytest.raises(
        DataError, match=r"photos is a folder, but this backbone takes texts: name a manifest"
    ):
        train(tiny, str(tmp_path / "photos"))
    with open(tmp_path / "texts.csv", "w", newline="") as file:
        csv.writer(file).writerows(
            [["text", "label"], *([row["input"], row["label"]] for row in sentences())]
        )
    with pytest.raises(DataError, match=r'has no column "path"'):
        train("mobilenet_v2", str(tmp_path / "texts.csv"))
    assert train(tiny, str(tmp_path / "texts.csv")).metrics["examples"] == 8


def test_tokenizers_are_asked_for_where_they_are_missing(tiny, monkeypatch):
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(DependencyError) as raised:
        train(tiny)
    fix = f"{sys.executable} -m pip install 'transfer-core[huggingface]'"
    assert str(raised.value) == f"reading texts needs the package tokenizers. Fix: {fix}"
