"""Alignment of a generated text with its source, by the attention of the decoder to the source."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from transfer_core.backbones.encoder_decoder.text_codec import Ids
from transfer_core.explain.attention_recorder import AttentionRecorder
from transfer_core.generation import TextGenerator
from transfer_core.tasks.criteria import Array


@dataclass(frozen=True, eq=False)
class Alignment:
    """Attention from the tokens of a generated text to those of its source.

    Attributes
    ----------
    source, target
        Pieces of S and T tokens, without special ones; a leading space begins a word.
    weights
        (T, S) float32, not negative: the share of its attention that the decoder paid to each source token
        while it generated a target token. The rest of a row, up to 1, went to special tokens.
    """

    source: tuple[str, ...]
    target: tuple[str, ...]
    weights: Array

    def to_dict(self) -> dict[str, Any]:
        """Convert to plain data."""
        return {"source": [*self.source], "target": [*self.target], "weights": self.weights.tolist()}


def align(generator: TextGenerator, source: Ids, target: Ids) -> tuple[Alignment, float]:
    """The alignment of a target, and its score: the geometric mean of the probabilities of its tokens.

    The weights are the mean attention to the source over the heads of the upper half of the layers; the lower
    ones attend to the translation of the token before.

    Parameters
    ----------
    generator
        The network and its tokenizer.
    source, target
        Tokens as of `TextCodec.sources` and `targets`.
    """
    network, rules = generator.network, generator.rules
    tokens, mask = (
        torch.from_numpy(source.astype(np.int64))[None],
        torch.ones(1, len(source), dtype=torch.bool),
    )
    tokens, mask = tokens.to(generator.device), mask.to(generator.device)
    inputs = torch.tensor([[rules.start, *target[:-1].tolist()]], device=generator.device)
    with torch.no_grad():
        states = network.encode(tokens, mask)
        with AttentionRecorder() as recorder:
            decoded = network.decode(inputs, states, mask)
        logits = network.logits(decoded)[0].float().log_softmax(dim=1)
    wanted = torch.from_numpy(target.astype(np.int64)).to(generator.device)
    chosen = logits[torch.arange(len(target)), wanted][len(rules.prefix) :]
    # A decoder layer attends to its past, unless it is recurrent, and then to the source.
    maps = recorder.maps if network.shape.recurrent else recorder.maps[1::2]
    weights = torch.stack(maps[len(maps) // 2 :])[:, 0].mean(dim=(0, 1)).detach().cpu().numpy()
    codec = generator.codec
    columns = codec.ordinary(source.tolist(), of_target=False)
    rows = codec.ordinary(target.tolist(), of_target=True)
    own = weights[np.ix_([place for place, _ in rows], [place for place, _ in columns])]
    pieces = tuple(piece for _, piece in columns), tuple(piece for _, piece in rows)
    return Alignment(*pieces, own.astype(np.float32)), float(chosen.mean().exp())
