"""A text encoder of a few hundred weights as a folder of the hub: config.json, weights, tokenizer."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import torch
from safetensors.torch import save_file

WORDS = ["good", "bad", "fine", "awful", "train", "plane", "late", "early", "the", "a", "is", "was", "not"]
WORDS += ["very", "it", "we", "you", ".", "!"]
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
WIDTH, LAYERS, POSITIONS = 16, 3, 40

BERT = {
    "model_type": "bert",
    "hidden_size": WIDTH,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "vocab_size": len(SPECIAL) + len(WORDS),
    "max_position_embeddings": POSITIONS,
    "type_vocab_size": 2,
    "layer_norm_eps": 1e-12,
    "hidden_act": "gelu",
    "hidden_dropout_prob": 0.1,
    "attention_probs_dropout_prob": 0.1,
    "initializer_range": 0.3,
}


@cache
def tokenizer_json(special: tuple[str, ...] = tuple(SPECIAL)) -> str:
    """Whole words; `[CLS] a [SEP]` and `[CLS] a [SEP] b [SEP]`, the second text of type 1."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    numbers = {word: i for i, word in enumerate([*special, *WORDS])}
    tokenizer = Tokenizer(models.WordLevel(numbers, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", numbers["[CLS]"]), ("[SEP]", numbers["[SEP]"])],
    )
    # As publishers leave it: what we are told counts, and not this.
    tokenizer.enable_padding(length=8)
    tokenizer.enable_truncation(4)
    return tokenizer.to_str()


def published_tensors(config: dict, seed: int = 0) -> dict[str, torch.Tensor]:
    """Random weights under the names that publishers give them."""
    from transfer_core.backbones.huggingface.huggingface_network import build_network, tensor_names

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = build_network("tiny", config)
    state = torch.nn.ModuleDict(network.blocks).state_dict()
    names = tensor_names(network)
    return {names[f"blocks.{own}"]: tensor.clone() for own, tensor in state.items()}


def tiny_encoder(folder: Path, seed: int = 0, **changes: object) -> str:
    """The name of a backbone in `folder`, made there; `changes` are words of its config.json."""
    config = {**BERT, **changes}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "tokenizer.json").write_text(tokenizer_json())
    save_file(published_tensors(config, seed), folder / "model.safetensors")
    return f"hf/{folder}"
