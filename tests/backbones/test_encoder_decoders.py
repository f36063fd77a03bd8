"""Encoder-decoders of the hub compute what transformers computes."""

from __future__ import annotations

import json

import pytest
import torch

from tiny_translators import FAMILIES, SENTENCES, write_translator
from transfer_core import backbones
from transfer_core.backbones.encoder_decoder.sequence_assets import codec
from transfer_core.recipe.schema import Languages
from transfer_core.runtime.errors import ModelFileError, RecipeError

pytestmark = pytest.mark.extras

LANGUAGES = {"mbart": Languages("en_XX", "de_DE"), "m2m_100": Languages("en", "de")}


@pytest.mark.parametrize("family", FAMILIES)
def test_logits_are_those_of_transformers(tmp_path, family):
    theirs = write_translator(tmp_path / family, family)
    ours = backbones.load(f"hf/{tmp_path / family}")
    generator = torch.Generator().manual_seed(1)
    source = torch.randint(4, ours.shape.vocabulary, (3, 9), generator=generator)
    target = torch.randint(4, ours.shape.vocabulary, (3, 7), generator=generator)
    mask = torch.tensor([[True] * 9, [True] * 5 + [False] * 4, [True] * 2 + [False] * 7])
    source = source.masked_fill(~mask, ours.shape.pad)
    with torch.no_grad():
        wanted = theirs(input_ids=source, attention_mask=mask.long(), decoder_input_ids=target).logits
        found = ours.logits(ours.decode(target, ours.encode(source, mask), mask))
        decoding = ours.begin(ours.encode(source, mask), mask)
        stepwise = torch.stack([decoding.step(target[:, place]) for place in range(7)], dim=1)
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(stepwise, wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_saved_backbone_is_restored_without_its_files(tmp_path, family):
    write_translator(tmp_path / family, family)
    ours = backbones.load(f"hf/{tmp_path / family}")
    state = {name: tensor.clone() for name, tensor in ours.state_dict().items()}
    again = backbones.restore(ours.facts, state, ours.weights, ours.weights_digest)
    languages = LANGUAGES.get(family, Languages())
    before, after = (codec(backbone, languages, "") for backbone in (ours, again))
    for one, other in zip(before.sources(SENTENCES), after.sources(SENTENCES), strict=True):
        assert one.tolist() == other.tolist()
    assert {n: t.tolist() for n, t in again.state_dict().items()} == {n: t.tolist() for n, t in state.items()}


@pytest.mark.parametrize("kind", ["marian", "m2m_100"])
def test_tokens_are_those_of_sentencepiece_and_the_vocabulary(tmp_path, kind):
    import sentencepiece

    write_translator(tmp_path, kind)
    name = "source.spm" if kind == "marian" else "sentencepiece.bpe.model"
    model = sentencepiece.SentencePieceProcessor(model_file=str(tmp_path / name))
    vocabulary = json.loads((tmp_path / "vocab.json").read_text())
    languages = LANGUAGES.get(kind, Languages())
    ours = codec(backbones.load(f"hf/{tmp_path}"), languages, "")
    texts = [*SENTENCES, "unbekannte Wörter: ß €", "", "  two  spaces "]
    for text, tokens in zip(texts, ours.sources(texts), strict=True):
        wanted = [vocabulary.get(piece, vocabulary["<unk>"]) for piece in model.encode(text, out_type=str)]
        inner = tokens[len(ours.layout.source_before) : -1].tolist()
        assert inner == wanted, text
    for text in SENTENCES:
        assert ours.text(ours.targets([text])[0].tolist()) == text


def test_languages_are_checked(tmp_path):
    write_translator(tmp_path, "mbart")
    backbone = backbones.load(f"hf/{tmp_path}")
    assert backbone.facts.languages == ("de_DE", "en_XX", "es_XX")
    with pytest.raises(RecipeError, match='has no language "de_DEE", did you mean "de_DE"'):
        codec(backbone, Languages("en_XX", "de_DEE"), "")
    with pytest.raises(RecipeError, match="needs the source"):
        codec(backbone, Languages(), "")
    found = codec(backbone, Languages("en_XX", "de_DE"), "")
    assert found.layout.target_before == (backbone.shape.vocabulary - 2,)


def test_a_prefix_of_the_publisher_follows_from_the_languages(tmp_path):
    write_translator(tmp_path, "t5")
    backbone = backbones.load(f"hf/{tmp_path}")
    assert codec(backbone, Languages("en", "de"), "").prefix == "translate English to German: "
    assert codec(backbone, Languages(), "summarize: ").prefix == "summarize: "


def test_a_damaged_description_is_an_error_of_the_file(tmp_path):
    write_translator(tmp_path, "t5")
    ours = backbones.load(f"hf/{tmp_path}")
    state = dict(ours.state_dict())
    name = next(name for name in state if "sequences" in name)
    text = state[name].numpy().tobytes().decode().replace('"layers":2', '"layers":201')
    state[name] = torch.frombuffer(bytearray(text.encode()), dtype=torch.uint8)
    with pytest.raises(ModelFileError, match="layers"):
        backbones.restore(ours.facts, state, ours.weights, ours.weights_digest)


def test_an_unsupported_feature_is_named(tmp_path):
    write_translator(tmp_path, "bart")
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "activation_function": "mish"}))
    with pytest.raises(RecipeError, match="the activation mish is not supported"):
        backbones.facts(f"hf/{tmp_path}")
