"""Whole trainings on pairs of texts, with tiny encoder-decoders of the hub."""

from __future__ import annotations

import csv
import json
import warnings
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest
import torch
from torch.nn import functional

import transfer_core
from tiny_translators import SENTENCES, write_translator
from transfer_core import backbones
from transfer_core.data.placeholders import changed_placeholders
from transfer_core.explain.alignment import align
from transfer_core.finetune import teacher_forcing
from transfer_core.finetune.smoothed_loss import smoothed_cross_entropy
from transfer_core.finetune.teacher_forcing import (
    TeacherForcing,
    TokenPairs,
    batches_by_length,
    train_pairs,
)
from transfer_core.generation import Hypothesis, TextGenerator
from transfer_core.model.model import Model
from transfer_core.model.text_predictor import placeholders_first
from transfer_core.plan import generation_presets
from transfer_core.plan.phases import Phase
from transfer_core.recipe.schema import Generation, Languages, TextOptions
from transfer_core.recipe.steps import Freeze, Lora, Train
from transfer_core.runtime.devices import Machine
from transfer_core.runtime.errors import Cancelled, DataError, RecipeError
from transfer_core.runtime.progress import Progress
from transfer_core.worker.model_cache import ModelCache, ModelRef
from transfer_core.worker.serving import Serving
from transfer_core.worker.settings import BatchingSettings

pytestmark = pytest.mark.extras

WORDS = {"cat": "gato", "dog": "perro", "house": "casa", "train": "tren", "file": "archivo", "late": "tarde"}
CPU = Machine(torch.device("cpu"), "float32")


def pairs(count=60):
    """Lists of words, and the same words in another language."""
    generator = torch.Generator().manual_seed(0)
    rows = []
    for _ in range(count):
        picked = torch.randint(
            len(WORDS), (int(torch.randint(2, 5, (1,), generator=generator)),), generator=generator
        )
        words = [list(WORDS)[i] for i in picked.tolist()]
        rows.append({"input": " ".join(words), "label": " ".join(WORDS[word] for word in words)})
    return rows


@pytest.fixture(scope="module")
def marian(tmp_path_factory):
    folder = tmp_path_factory.mktemp("marian")
    write_translator(folder, "marian")
    return f"hf/{folder}"


FAST = {
    "task": "translation",
    "generation": {"max_length": 12},
    "split": {"test": 0.2, "valid": 0.2, "near_duplicates": False},
}


def trained(backbone, epochs=2, **words):
    """A model whose decoder was trained."""
    encoder = {"type": "freeze", "blocks": ["embeddings", "encoder_0", "encoder_1"]}
    steps = [encoder, {"type": "train", "epochs": epochs}]
    return transfer_core.train(**{"backbone": backbone, "data": pairs(), "steps": steps, **FAST, **words})


def test_loss_is_that_of_torch():
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(7, 11, generator=generator).requires_grad_()
    targets = torch.randint(11, (7,), generator=generator)
    weights = torch.rand(7, generator=generator)
    for smoothing in (0.0, 0.1, 0.6):
        loss, likelihood = smoothed_cross_entropy(logits, targets, smoothing)
        (gradient,) = torch.autograd.grad((loss * weights).sum(), logits)
        wanted = functional.cross_entropy(logits, targets, reduction="none", label_smoothing=smoothing)
        (expected,) = torch.autograd.grad((wanted * weights).sum(), logits)
        torch.testing.assert_close(loss, wanted)
        torch.testing.assert_close(gradient, expected)
        torch.testing.assert_close(likelihood, functional.cross_entropy(logits, targets, reduction="none"))


@pytest.mark.parametrize("family", ["marian", "t5", "bart"])
def test_gradients_are_those_of_transformers(tmp_path, family):
    theirs = write_translator(tmp_path, family).eval()
    ours = backbones.load(f"hf/{tmp_path}")
    generator = TextGenerator(ours, TextOptions(), Languages(), Generation(), CPU.device)
    sources, targets = generator.sources(SENTENCES), generator.codec.targets(SENTENCES[::-1])
    module = TeacherForcing(
        ours, TokenPairs(sources, targets), generator.codec.layout.start, ours.facts.blocks, 0.0, None,
        lambda: None,
    ).eval()  # fmt: skip
    lengths = torch.tensor([len(target) for target in targets], dtype=torch.float32)
    outputs = module(torch.arange(len(sources)))
    loss = (outputs[:, 0] * lengths).sum() / lengths.sum()
    tokens, mask = generator._padded(sources)
    labels = torch.full((len(targets), max(map(len, targets))), -100)
    for row, target in zip(labels, targets, strict=True):
        row[: len(target)] = torch.from_numpy(target)
    wanted = theirs(input_ids=tokens, attention_mask=mask.long(), labels=labels).loss
    torch.testing.assert_close(loss, wanted, rtol=1e-5, atol=1e-5)
    words = ours.embeddings.words.weight
    (gradient,) = torch.autograd.grad(loss, words)
    shared = theirs.get_input_embeddings().weight
    (expected,) = torch.autograd.grad(wanted, shared)
    expected[ours.shape.pad] = gradient[ours.shape.pad]  # padding has no gradient in transformers
    torch.testing.assert_close(gradient, expected, rtol=1e-3, atol=1e-5)


def test_batches_hold_each_pair_once_in_an_order_that_changes():
    lengths = [1 + i % 17 for i in range(101)]
    ids = [torch.ones(n, dtype=torch.int32).numpy() for n in lengths]
    source = batches_by_length(TokenPairs(ids, ids), 8, seed=3)
    first, again, second = ([b.inputs.tolist() for b in source.epoch(n)] for n in (1, 1, 2))
    assert first == again != second
    assert len(first) == source.steps
    assert sorted(number for batch in first for number in batch) == list(range(101))
    widths = [max(lengths[i] for i in batch) - min(lengths[i] for i in batch) for batch in first]
    assert sum(widths) / len(widths) < 3  # in a random order it is 14


def test_training_lowers_the_loss_and_raises_chrf(marian):
    model = transfer_core.train(
        backbone=marian, data=pairs(150), **FAST, preset="balanced", epochs=30, learning_rate=5e-3,
        early_stopping=0, label_smoothing=0.0, weights="random", batch_size=16,
    )  # fmt: skip
    assert model.metrics["chrf2"] > model.metrics["untuned"]["chrf2"] + 30
    assert model.history[-1]["validation_loss"] < model.history[0]["validation_loss"] / 2


def test_model_file_prediction_and_evaluation(marian, tmp_path):
    model = trained(marian, generation={"beams": 3, "max_length": 12})
    found = model.predict(["cat dog", "late train"])
    assert set(found[0]) == {"text", "score", "candidates"}
    assert 0 < found[0]["score"] <= 1
    assert found[0]["candidates"][0] == {"text": found[0]["text"], "score": found[0]["score"]}
    path = model.save(tmp_path / "m.transfer")
    loaded = transfer_core.load(path)
    assert loaded.predict(["cat dog", "late train"]) == found
    assert loaded.task.name == "translation"
    assert loaded.labels == ("label",)
    assert loaded.recipe.generation.beams == 3
    measured = loaded.evaluate(pairs(10))
    assert measured["examples"] == 10
    assert "untuned" not in measured
    assert loaded.predict("  ", on_bad_input="mark") == {"error": "the text: the text is empty"}
    with pytest.raises(RecipeError, match="prediction sets are not available"):
        loaded.predict("cat", level=0.9)


def test_pieces_of_a_stream_are_the_text_of_a_greedy_generation(marian):
    model = trained(marian)
    pieces, prediction = [], None
    stream = model.stream("cat dog house")
    while prediction is None:
        try:
            pieces.append(next(stream))
        except StopIteration as end:
            prediction = end.value
    assert prediction == model.predict("cat dog house")
    assert "".join(pieces) == prediction["text"]
    with pytest.raises(DataError, match="the text is empty"):
        next(model.stream(""))

    def check():
        raise Cancelled("cancelled")

    with pytest.raises(Cancelled):
        next(model.stream("cat", check))


def test_hypotheses_with_the_placeholders_come_first():
    codec = SimpleNamespace(text=lambda hypothesis: hypothesis.tokens)
    found = [
        Hypothesis(text, -1.0) for text in ("el gato", "el %s {gato}", "%s <b>gato</b>", "gato <b>%s</b>")
    ]
    ordered = placeholders_first(codec, "the <b>%s</b> cat", found)
    assert [one.tokens for one in ordered] == [found[number].tokens for number in (2, 3, 0, 1)]


def test_predictions_report_changed_placeholders(marian):
    model = trained(marian)
    found = model.predict("cat %{name}")
    expected = changed_placeholders("cat %{name}", found["text"])
    assert expected["missing"] == ["%{name}"]
    assert found["placeholders"] == expected
    assert "placeholders" not in model.predict("cat dog")


def test_frozen_encoder_stays_and_its_states_are_computed_once(marian, monkeypatch):
    published = backbones.load(marian)
    passes = []
    usual = type(published).encode

    def counted(self, *arguments):
        passes.append(torch.is_grad_enabled())
        return usual(self, *arguments)

    monkeypatch.setattr(type(published), "encode", counted)
    model = trained(marian, epochs=3)
    assert not any(passes)
    before, after = published.blocks.state_dict(), model.backbone.blocks.state_dict()
    changed = {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])}
    assert changed == {"decoder_0", "decoder_1", "decoder_2", "output"}


def test_cached_states_train_as_computed_ones(marian):
    network, again = backbones.load(marian), backbones.load(marian)
    generator = TextGenerator(network, TextOptions(), Languages(), Generation(), CPU.device)
    rows = pairs(40)
    tokens = TokenPairs(
        generator.sources([row["input"] for row in rows]),
        generator.codec.targets([row["label"] for row in rows]),
    )  # fmt: skip
    train = Train(
        optimizer="adamw", epochs=2, learning_rate=1e-3, batch_size=8, schedule="constant", early_stopping=0
    )
    start = generator.codec.layout.start
    decoder = network.facts.blocks[network.shape.encoder_blocks :]
    cached = train_pairs(network, Phase(train, decoder), tokens, tokens, start, CPU, 0, Progress())
    import transfer_core.finetune.teacher_forcing as room

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(room, "cached_on_disk", lambda rows, count: None)
        computed = train_pairs(again, Phase(train, decoder), tokens, tokens, start, CPU, 0, Progress())
    for one, other in zip(cached, computed, strict=True):
        assert one["validation_loss"] == pytest.approx(other["validation_loss"], abs=2e-3)


def test_lora_trains_and_is_merged(marian):
    steps = [
        {"type": "freeze"},
        {"type": "lora", "rank": 4},
        {"type": "train", "epochs": 2, "learning_rate": 1e-2},
    ]
    model = transfer_core.train(backbone=marian, data=pairs(), steps=steps, **FAST)
    assert model.history[-1]["adapter_scale"] in teacher_forcing.SCALES
    published = backbones.load(marian)
    names = published.state_dict().keys()
    assert model.backbone.state_dict().keys() == names
    before, after = published.blocks.state_dict(), model.backbone.blocks.state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed
    assert all(name.endswith("weight") and before[name].ndim == 2 for name in changed)


def test_few_pairs_train_adapters_by_default(marian, monkeypatch):
    model = transfer_core.train(backbone=marian, data=pairs(), epochs=1, **FAST)
    freeze, lora, train = model.recipe.steps
    assert (freeze, lora, train.epochs, train.learning_rate) == (Freeze(), Lora(rank=16), 1, 1e-3)
    monkeypatch.setattr(generation_presets, "FEW_PAIRS", 30)
    many = transfer_core.train(backbone=marian, data=pairs(), epochs=1, **FAST)
    assert [step.__struct_config__.tag for step in many.recipe.steps] == ["freeze", "train"]


@pytest.mark.parametrize(
    ("losses", "chosen"), [((3, 2, 1, 0.9), 0.75), ((3, 1, 1, 1), 0.5), ((3, 4, 4, 3.5), 1)]
)
def test_adapters_are_scaled_to_most_of_the_gain(losses, chosen, monkeypatch):
    scales = []
    monkeypatch.setattr(teacher_forcing, "scale_adapters", lambda blocks, scale: scales.append(scale))
    values = iter(losses)
    validate = lambda: {"validation_loss": next(values)}  # noqa: E731
    assert teacher_forcing.smallest_useful_scale(SimpleNamespace(blocks=None), validate) == chosen
    assert scales == [0.0, 0.5, 0.75, 1.0, chosen]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"head": "mlp"}, "translation has no head mlp: its decoder is the head. Fix: leave it out"),
        (
            {"steps": [{"type": "freeze"}, {"type": "train"}]},
            "nothing trains in this step: the decoder is the head",
        ),
        ({"optimizer": "lbfgs"}, "L-BFGS fits a linear head"),
        ({"class_weights": "balanced"}, "a generated text has no class"),
        ({"languages": {"target": "de"}}, "has a single pair of languages. Fix: leave it out"),
        ({"task": "classification"}, "gives encoder_decoder, but classification needs pooled"),
        ({"generation": {"beams": 0}}, "expected a whole number of at least 1"),
        ({"augment": ["flip"]}, "varies images"),
    ],
)
def test_wrong_words_are_explained(marian, words, message):
    with pytest.raises(RecipeError, match=message.replace("(", r"\(")):
        transfer_core.train(**{"backbone": marian, "data": pairs(), **FAST, **words})


def test_words_of_generation_need_a_backbone_that_generates():
    with pytest.raises(RecipeError, match="mobilenet_v2 generates none"):
        transfer_core.train(backbone="mobilenet_v2", data=[], generation={"beams": 2})


def test_languages_choose_the_tokens(tmp_path):
    write_translator(tmp_path, "m2m_100")
    words = {"languages": {"source": "en", "target": "es"}}
    model = trained(f"hf/{tmp_path}", **words)
    assert model.recipe.languages == Languages("en", "es")
    ((_, (hypothesis,)),), _ = model.compute([lambda: model.predictor.load("cat")])
    assert hypothesis.tokens[0] == model.backbone.shape.vocabulary - 1
    with pytest.raises(RecipeError, match='has no language "ess", did you mean "es"'):
        trained(f"hf/{tmp_path}", languages={"source": "en", "target": "ess"})


def test_data_from_a_csv_with_bad_rows(marian, tmp_path):
    path = tmp_path / "pairs.csv"
    rows = [(row["input"], row["label"]) for row in pairs()]
    rows[3], rows[9] = (rows[3][0], " "), ("cat", "кошка")
    rows.append(("late " * 60, "tarde " * 60))
    with open(path, "w", newline="") as file:
        csv.writer(file).writerows([("source", "target"), *rows])
    with pytest.raises(DataError, match=r"2 texts can't be used: .*line 5: the target is empty"):
        trained(marian, data=str(path))
    messages = []
    model = trained(
        marian, data=str(path), on_bad_input="skip",
        on_event=lambda event: messages.append(event.get("message", "")),
    )  # fmt: skip
    assert any("the target is Cyrillic" in message for message in messages)
    assert any("more than max_length 64" in message for message in messages)
    assert sum(model.header.sizes.values()) <= 59


def test_copies_between_the_parts_of_a_given_split_leave_training(marian, tmp_path):
    rows = pairs(40)
    for name, some in (("train", rows), ("test", [{"input": "Cat, DOG!", "label": "gato perro"}, *rows[:1]])):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in some))
    (tmp_path / "train.jsonl").write_text(
        (tmp_path / "train.jsonl").read_text()
        + json.dumps({"input": "cat dog", "label": "gato perro"})
        + "\n"
    )
    data = {part: str(tmp_path / f"{part}.jsonl") for part in ("train", "test")}
    messages = []
    columns = {"input": "input"}
    trained(
        marian, data=data, columns=columns, on_event=lambda event: messages.append(event.get("message", ""))
    )
    assert any("out of training, exact copies of held-out ones" in message for message in messages)


def test_text_to_text_has_rouge(marian):
    model = trained(marian, task="text_to_text")
    assert {"rouge_l", "rouge1", "rouge2", "exact_match", "chrf2"} <= model.metrics.keys()
    assert model.state.characters > 0


def test_a_training_can_be_cancelled(marian):
    calls = iter(range(10**9))
    with pytest.raises(Cancelled):
        trained(marian, cancelled=lambda: next(calls) > 60)


def test_predictions_of_eight_threads(marian, tmp_path):
    path = trained(marian).save(tmp_path / "m.transfer")
    texts = [row["input"] for row in pairs(24)]
    wanted = transfer_core.load(path).predict(texts)
    call = SimpleNamespace(progress=Progress())
    serving = Serving(ModelCache(10**9), BatchingSettings(), threads=4)
    with ThreadPoolExecutor(8) as pool:
        parts = [texts[start : start + 3] for start in range(0, 24, 3)]
        futures = [
            pool.submit(
                serving.submit, call, ModelRef(str(path)), part, Model.predictions, lambda _, found: found
            )
            for part in parts
        ]
        found = [prediction for future in futures for prediction in future.result().result(60)]
    serving.end()
    assert [prediction["text"] for prediction in found] == [prediction["text"] for prediction in wanted]


def test_no_warning_escapes(marian):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        trained(marian)


def test_alignment_with_the_source(marian):
    model = trained(marian, epochs=1)
    found = model.explain("cat dog house")
    prediction = model.predict("cat dog house")
    assert (found.label, found.method) == (prediction["text"], "cross_attention")
    assert found.score == pytest.approx(prediction["score"], rel=1e-4)
    alignment = found.alignment
    assert "".join(alignment.source).strip() == "cat dog house"
    assert "".join(alignment.target).strip() == prediction["text"]
    assert alignment.weights.shape == (len(alignment.target), len(alignment.source))
    assert (alignment.weights >= 0).all()
    assert (alignment.weights.sum(axis=1) <= 1 + 1e-5).all()
    with pytest.raises(RecipeError, match="against: a generated text has no classes"):
        model.explain("cat", against="dog")
    forced = model.explain("cat dog house", label="gato")
    assert "".join(forced.alignment.target).strip() == forced.label == "gato"


def test_alignment_is_the_cross_attention_of_transformers(marian):
    from transformers import MarianMTModel

    options = TextOptions(), Languages(), Generation()
    generator = TextGenerator(backbones.load(marian), *options, torch.device("cpu"))
    published = MarianMTModel.from_pretrained(marian.removeprefix("hf/"), attn_implementation="eager").eval()
    [source], [target] = generator.sources(["cat dog house"]), generator.codec.targets(["gato perro"])
    start = published.config.decoder_start_token_id
    with torch.no_grad():
        expected = published(
            input_ids=torch.tensor(source[None].astype("int64")),
            decoder_input_ids=torch.tensor([[start, *target[:-1].tolist()]]),
            output_attentions=True,
        )
    maps = torch.stack(expected.cross_attentions)[1:, 0].mean(dim=(0, 1))  # the upper 2 of 3 layers
    alignment, score = align(generator, source, target)
    torch.testing.assert_close(torch.from_numpy(alignment.weights), maps[:-1, :-1], atol=1e-4, rtol=0)
    likelihoods = expected.logits[0].log_softmax(dim=1)[range(len(target)), target.tolist()]
    assert score == pytest.approx(float(likelihoods.mean().exp()), rel=1e-3)
