"""Encoder-decoders of a few thousand random weights as folders of the hub, written by transformers."""

from __future__ import annotations

import json
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any

import torch

SENTENCES = [
    "the cat sat on the mat", "a dog is in the house", "good morning", "we are late for the train",
    "open the file and save it", "the house is red and the cat is not", "is it a good train",
    "el gato está en la casa", "buenos días", "abrir el archivo y guardar", "no es un buen tren",
]  # fmt: skip
LANGUAGES = ["en_XX", "de_DE", "es_XX"]
FAMILIES = ("marian", "bart", "mbart", "m2m_100", "t5", "t5_gated")

_BART: dict[str, Any] = {
    "d_model": 16, "encoder_layers": 2, "decoder_layers": 3, "encoder_attention_heads": 2,
    "decoder_attention_heads": 2, "encoder_ffn_dim": 24, "decoder_ffn_dim": 20, "max_position_embeddings": 64,
    "dropout": 0.1, "init_std": 0.4,
}  # fmt: skip
_T5: dict[str, Any] = {
    "d_model": 16, "d_kv": 6, "d_ff": 24, "num_layers": 2, "num_decoder_layers": 2, "num_heads": 3,
    "relative_attention_num_buckets": 8, "relative_attention_max_distance": 20, "initializer_factor": 1.5,
}  # fmt: skip


@cache
def sentencepiece_model(kind: str = "unigram") -> bytes:
    """A SentencePiece model of 120 pieces."""
    import sentencepiece

    model = BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(SENTENCES * 20), model_writer=model, model_type=kind, vocab_size=90,
        minloglevel=2, hard_vocab_limit=False,
    )  # fmt: skip
    return model.getvalue()


@cache
def pieces(kind: str = "unigram") -> list[str]:
    import sentencepiece

    model = sentencepiece.SentencePieceProcessor(model_proto=sentencepiece_model(kind))
    return [model.id_to_piece(number) for number in range(model.get_piece_size())]


@cache
def tokenizer_json(special: tuple[str, ...]) -> str:
    """Pieces of SentencePiece behind special tokens."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    texts = [piece for piece in pieces() if piece not in special]
    vocabulary = [(piece, 0.0) for piece in special] + [(p, -float(i) / 10) for i, p in enumerate(texts)]
    vocabulary += [(language, 0.0) for language in LANGUAGES]
    tokenizer = Tokenizer(models.Unigram(vocabulary, special.index("<unk>"), False))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in (*special, *LANGUAGES)])
    return tokenizer.to_str()


def write_translator(folder: Path, family: str, seed: int = 0) -> Any:
    """Write a model of the family with its tokenizer; return transformers' model."""
    folder.mkdir(parents=True, exist_ok=True)
    maker, config, files = _described(family)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = maker(config).eval()
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if name.endswith("bias") or "norm" in name:
                    parameter.add_(torch.randn_like(parameter) * 0.2)
            if hasattr(model, "final_logits_bias"):
                model.final_logits_bias.normal_()
                model.final_logits_bias[0, config.eos_token_id] += (
                    6 if family == "mbart" else 9
                )  # sequences of different lengths
    model.save_pretrained(folder)
    for name, content in files.items():
        (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return model


def _described(family: str) -> tuple[Any, Any, dict[str, Any]]:
    import transformers

    if family in ("t5", "t5_gated"):
        tokenizer = tokenizer_json(("<pad>", "</s>", "<unk>"))
        more = (
            {"feed_forward_proj": "gated-gelu", "tie_word_embeddings": False} if family == "t5_gated" else {}
        )
        prefix = {"translation_en_to_de": {"prefix": "translate English to German: "}}
        config = transformers.T5Config(
            vocab_size=_size(tokenizer), decoder_start_token_id=0, task_specific_params=prefix, **_T5, **more
        )
        return transformers.T5ForConditionalGeneration, config, {"tokenizer.json": tokenizer}
    if family == "marian":
        known = ["</s>", "<unk>", *(piece for piece in pieces() if piece[0] != "<")]
        vocabulary = {piece: number for number, piece in enumerate(known)}
        vocabulary["<pad>"] = pad = len(vocabulary)
        config = transformers.MarianConfig(
            vocab_size=pad + 1, pad_token_id=pad, eos_token_id=0, decoder_start_token_id=pad,
            forced_eos_token_id=0, scale_embedding=True, activation_function="swish",
            bad_words_ids=[[pad]], **_BART,
        )  # fmt: skip
        files = {"vocab.json": json.dumps(vocabulary), "source.spm": sentencepiece_model()}
        return transformers.MarianMTModel, config, files | {"target.spm": sentencepiece_model()}
    if family == "m2m_100":
        vocabulary = {
            piece: number
            for number, piece in enumerate(["<s>", "<pad>", "</s>", "<unk>", *pieces("bpe")[3:]])
        }
        special = ["__en__", "__de__", "__es__"]
        config = transformers.M2M100Config(
            vocab_size=len(vocabulary) + len(special), decoder_start_token_id=2, scale_embedding=True, **_BART
        )
        return transformers.M2M100ForConditionalGeneration, config, {
            "vocab.json": json.dumps(vocabulary), "sentencepiece.bpe.model": sentencepiece_model("bpe"),
            "tokenizer_config.json": json.dumps({"additional_special_tokens": special}),
        }  # fmt: skip
    tokenizer = tokenizer_json(("<s>", "<pad>", "</s>", "<unk>"))
    sizes = {"vocab_size": _size(tokenizer), "decoder_start_token_id": 2, **_BART}
    if family == "bart":
        config = transformers.BartConfig(forced_bos_token_id=0, forced_eos_token_id=2, **sizes)
        return transformers.BartForConditionalGeneration, config, {"tokenizer.json": tokenizer}
    config = transformers.MBartConfig(scale_embedding=True, **sizes)
    options = json.dumps({"tokenizer_class": "MBart50Tokenizer"})
    return transformers.MBartForConditionalGeneration, config, {
        "tokenizer.json": tokenizer, "tokenizer_config.json": options,
    }  # fmt: skip


def _size(tokenizer: str) -> int:
    from tokenizers import Tokenizer

    return int(Tokenizer.from_str(tokenizer).get_vocab_size())
