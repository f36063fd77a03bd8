"""Text encoders in a graph, with the tokenizer of the file, against the trained model."""

from itertools import pairwise

import numpy as np
import pytest
import sklearn  # noqa: F401 - sets variables when it is imported

import transfer_core
from exported import Exported, assert_same
from tiny_encoder import POSITIONS, tiny_encoder

pytestmark = [pytest.mark.extras, pytest.mark.slow]

TEXTS = ["good train", "a fine plane .", "bad train !", "it was awful", "very good", "not bad", "we was late"]
QUESTIONS = [
    *("GOOD", "unknown wörds ßẞ 日本語 are [UNK] not good", "the a is was " * 30),
    *("[PAD] good [SEP] bad", "\u00a0good\u200d"),
    *TEXTS,
]


def train(tmp_path, texts=TEXTS, **words):
    data = [{"input": text, "label": "happy" if i % 3 else "sad"} for i, text in enumerate(list(texts) * 4)]
    return transfer_core.train(backbone=tiny_encoder(tmp_path / "tiny"), data=data, **words)


@pytest.mark.parametrize("options", [{}, {"max_length": 6}, {"long": "window", "max_length": 7}])
def test_same_as_the_model(tmp_path, options):
    model = train(tmp_path, text=options)
    model.export(tmp_path / "m.onnx")
    exported = Exported(tmp_path / "m.onnx")
    assert exported.metadata["text"]["max_length"] == options.get("max_length", POSITIONS)
    assert ("text_of_window" in exported.inputs) is (options.get("long") == "window")
    for text in QUESTIONS:
        found = exported.of_text(text)
        assert np.abs(found["embedding"][0] - model.embed(text)).max() < 1e-4, text
        assert_same(found, model.predict(text), model.labels, close=1e-3)


def test_several_texts_with_windows(tmp_path):
    model = train(tmp_path, text={"long": "window", "max_length": 5})
    model.export(tmp_path / "m.onnx")
    exported = Exported(tmp_path / "m.onnx")
    rows = np.array([[2, 5, 6, 7, 3], [2, 8, 9, 3, 0], [2, 10, 3, 0, 0]])
    mask = np.array([[1, 1, 1, 1, 1], [1, 1, 1, 1, 0], [1, 1, 1, 0, 0]])
    feed = {"input_ids": rows, "token_type_ids": rows * 0, "attention_mask": mask}
    found = exported.run(**feed, text_of_window=np.array([0, 0, 1]))["embedding"]
    alone = exported.run(**feed, text_of_window=np.array([0, 1, 2]))["embedding"]
    assert np.allclose(found, [alone[:2].mean(axis=0), alone[2]], atol=1e-6)


def test_pairs(tmp_path):
    pairs = list(pairwise(TEXTS))
    model = train(tmp_path, pairs)
    model.export(tmp_path / "m.onnx")
    exported = Exported(tmp_path / "m.onnx")
    assert "token_type_ids" in exported.inputs
    for pair in pairs:
        found = exported.of_text(pair)
        assert_same(found, model.predict(pair), model.labels, close=1e-3)
    swapped = exported.of_text(pairs[0][::-1])["embedding"]
    assert np.abs(swapped - exported.of_text(pairs[0])["embedding"]).max() > 1e-3


def test_no_types_without_a_table_of_them(tmp_path):
    data = [{"input": text, "label": str(i % 2)} for i, text in enumerate(TEXTS * 4)]
    name = tiny_encoder(
        tmp_path / "tiny", model_type="roberta", type_vocab_size=1, max_position_embeddings=42
    )
    model = transfer_core.train(backbone=name, data=data)
    model.export(tmp_path / "m.onnx")
    exported = Exported(tmp_path / "m.onnx")
    assert exported.inputs == {"input_ids", "attention_mask"}
    assert_same(exported.of_text("good train"), model.predict("good train"), model.labels, close=1e-3)
