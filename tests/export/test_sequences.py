"""Exported encoder-decoders by ONNX Runtime and `tokenizers` alone against the model."""

import runpy

import msgspec
import pytest
import sklearn  # noqa: F401 - sets variables when it is imported

import transfer_core
from tiny_translators import SENTENCES, write_translator
from transfer_core.backbones.encoder_decoder.sequence_assets import (
    DESCRIPTION,
    described,
    description_file,
    random_backbone,
)
from transfer_core.model.model import Model
from transfer_core.runtime.errors import ConfigurationError

pytestmark = [pytest.mark.extras, pytest.mark.slow]

ROWS = [{"input": text, "label": text.upper()} for text in SENTENCES]
TEXTS = [*SENTENCES[:5], "Où est  la gare? 12 €", " the cat</s> is", "x" * 50]
CASES = {
    "marian": {"generation": {"max_length": 9, "no_repeat": 2}},
    "m2m_100": {"languages": {"source": "en", "target": "de"}, "generation": {"max_length": 32}},
    "t5": {"generation": {"no_repeat": 1, "max_length": 20}, "text": {"prefix": "say: ", "max_length": 32}},
    "mbart": {"languages": {"source": "en_XX", "target": "es_XX"}},
}


def trained(tmp_path, family, **words):
    write_translator(tmp_path / family, family)
    words = {"epochs": 1, "precision": "float32", **CASES[family], **words}
    return transfer_core.train(backbone=f"hf/{tmp_path / family}", data=ROWS, task="translation", **words)


def assert_same_texts(model, path):
    """The script beside the file gives the texts of the model."""
    report = model.export(path, loader="python")
    assert report.error < 1e-4
    predict = runpy.run_path(str(report.loader))["predict"]
    found, expected = [predict(text) for text in TEXTS], model.predict(TEXTS)
    assert [one["text"] for one in found] == [one["text"] for one in expected]
    assert [one["score"] for one in found] == pytest.approx([one["score"] for one in expected], abs=1e-4)
    return [one["text"] for one in found]


@pytest.mark.parametrize("family", CASES)
def test_the_same_texts(tmp_path, family):
    texts = assert_same_texts(trained(tmp_path, family), tmp_path / "m.onnx")
    assert len(set(texts)) > (1 if family in ("m2m_100", "t5") else 0)


def test_recurrent_decoder(tmp_path):
    """The decoder of Marian's small students: zeros as its first input, a state of one vector per layer."""
    model = trained(tmp_path, "marian")
    files = model.backbone.assets.files()
    known = described(files, "tiny")
    shape = msgspec.structs.replace(known.shape, recurrent=True, zero_start=True, forced_end=False)
    files = {**files, DESCRIPTION: description_file(shape, known.layout)}
    backbone = random_backbone(model.backbone.facts, files)
    recurrent = Model(model.path, model.header, backbone, model.head, "")
    assert len(set(assert_same_texts(recurrent, tmp_path / "m.onnx"))) > 3


def test_half_precision_and_what_is_refused(tmp_path):
    model = trained(tmp_path, "t5")
    whole = model.export(tmp_path / "m.onnx")
    half = model.export(tmp_path / "h.onnx", precision="float16")
    assert half.bytes < 0.9 * whole.bytes
    with pytest.raises(ConfigurationError, match=r"translation can't be exported in int8. Fix: use float16"):
        model.export(tmp_path / "n.onnx", precision="int8", calibration=ROWS)
    recipe = {**model.header.recipe, "generation": {"beams": 3}}
    beams = Model(
        model.path, msgspec.structs.replace(model.header, recipe=recipe), model.backbone, model.head, ""
    )
    with pytest.raises(ConfigurationError, match=r"beams: 3\) can't be exported.*Fix: train with generation"):
        beams.export(tmp_path / "n.onnx")
    assert not (tmp_path / "n.onnx").exists()
