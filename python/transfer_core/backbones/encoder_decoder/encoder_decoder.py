"""An encoder-decoder as a backbone: source states, target states, and steps of generation."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from transfer_core.backbones.backbone import Backbone
from transfer_core.backbones.encoder_decoder.sequence_layers import (
    Attention,
    DecoderLayer,
    Embeddings,
    EncoderLayer,
    Output,
    Recurrence,
    causal_mask,
    distance_bias,
    norm,
)
from transfer_core.backbones.encoder_decoder.sequence_shape import SequenceShape
from transfer_core.backbones.facts import BackboneFacts, WeightsFacts


def sequence_blocks(shape: SequenceShape) -> OrderedDict[str, nn.Module]:
    """The blocks of a network of this shape by name, with random weights."""
    blocks: OrderedDict[str, nn.Module] = OrderedDict(embeddings=Embeddings(shape))
    for i in range(shape.layers):
        blocks[f"encoder_{i}"] = EncoderLayer(shape)
    if shape.pre_norm:
        last = nn.Dropout(shape.dropout if shape.positions == "relative" else 0.0)
        blocks["encoder_norm"] = nn.Sequential(norm(shape), last)
    for i in range(shape.decoder_layers):
        blocks[f"decoder_{i}"] = DecoderLayer(shape)
    blocks["output"] = Output(shape)
    return blocks


class EncoderDecoder(Backbone):
    """A pretrained network from token sequences to token sequences.

    The blocks don't run one after the other: `encode` runs the first ones, `decode` the others.

    Parameters
    ----------
    facts, weights, weights_digest, assets
        See `Backbone`.
    shape
        Its hyperparameters.
    blocks
        See `sequence_blocks`.
    """

    def __init__(
        self,
        facts: BackboneFacts,
        shape: SequenceShape,
        blocks: Mapping[str, nn.Module],
        weights: WeightsFacts | None = None,
        weights_digest: str = "",
        assets: Mapping[str, bytes] | None = None,
    ) -> None:
        super().__init__(facts, blocks, nn.Identity(), weights, weights_digest, assets, code="sequences 1")
        self.shape = shape

    @property
    def embeddings(self) -> Any:
        """The block of embeddings."""
        return self.blocks[0]

    @property
    def output(self) -> Any:
        """The block that computes a number per token."""
        return self.blocks[-1]

    def encode(self, tokens: Tensor, mask: Tensor, check: Callable[[], None] = lambda: None) -> Tensor:
        """Encode sources.

        Parameters
        ----------
        tokens
            (N, S) int; any token at padding.
        mask
            (N, S) bool; False at padding.
        check
            Called before each layer; may raise.

        Returns
        -------
        Tensor
            (N, S, D).
        """
        return self.encoded_from(self.embeddings.source(tokens), mask, 0, check)

    def encoded_from(
        self, x: Tensor, mask: Tensor, layer: int, check: Callable[[], None] = lambda: None
    ) -> Tensor:
        """The source states (N, S, D) from the input of an encoder layer."""
        allowed: Tensor = mask[:, None, None, :]
        if (table := self.embeddings.source_distances) is not None:
            places = torch.arange(x.shape[1], device=x.device)
            bias = distance_bias(table, places, x.shape[1], True, self.shape.furthest)
            allowed = bias.masked_fill(~allowed, -torch.inf)
        for block in list(self.blocks)[1 + layer : 1 + self.shape.layers]:
            check()
            x = block(x, allowed)
        return self.blocks[1 + self.shape.layers](x) if self.shape.pre_norm else x

    def decode(
        self, tokens: Tensor, states: Tensor, mask: Tensor, check: Callable[[], None] = lambda: None
    ) -> Tensor:
        """Decode all positions of targets at once (teacher forcing).

        Parameters
        ----------
        tokens
            (N, T) int: the start token and the target without its last token.
        states, mask
            Source states (N, S, D) and their mask (N, S) bool.
        check
            Called before each layer; may raise.

        Returns
        -------
        Tensor
            (N, T, D), the input of `logits`.
        """
        x, bias = self.embeddings.target(tokens), None
        if (table := self.embeddings.target_distances) is not None:
            places = torch.arange(x.shape[1], device=x.device)
            bias = distance_bias(table, places, x.shape[1], False, self.shape.furthest)
            bias = bias.masked_fill(~causal_mask(x.shape[1], x.device), -torch.inf)
        for layer in self._decoder_layers:
            check()
            x = layer(x, states, mask[:, None, None, :], bias)
        return self.output.states(x)  # type: ignore[no-any-return]

    def logits(self, states: Tensor) -> Tensor:
        """A number per token (…, V) from decoder states (…, D)."""
        return self.output(states, self.embeddings.words.weight)  # type: ignore[no-any-return]

    def example_pass(self) -> None:
        """See `Backbone.example_pass`."""
        tokens = torch.zeros(1, 2, dtype=torch.long)
        mask = torch.ones(1, 2, dtype=torch.bool)
        self.logits(self.decode(tokens, self.encode(tokens, mask), mask))

    def begin(self, states: Tensor, mask: Tensor, beams: int = 1) -> Decoding:
        """Start to generate from source states (N, S, D), with `beams` hypotheses per source."""
        sources = [layer.source.keys_values(states) for layer in self._decoder_layers]
        full = bool(mask.all())
        return Decoding(self, sources, None if full else mask[:, None, None, :], beams)

    @property
    def _decoder_layers(self) -> list[DecoderLayer]:
        first = self.shape.encoder_blocks
        blocks: list[Any] = list(self.blocks)
        return blocks[first : first + self.shape.decoder_layers]


class Decoding:
    """State of the decoder while N sources are translated, with B hypotheses each: R = N B rows.

    Keys and values of the sources are computed once, and shared by the hypotheses of a source.
    """

    def __init__(
        self,
        network: EncoderDecoder,
        sources: list[tuple[Tensor, Tensor]],
        mask: Tensor | None,
        beams: int,
    ) -> None:
        self.position = 0
        self._network = network
        self._layers = network._decoder_layers
        self._sources = sources
        self._mask = mask
        self._beams = beams
        self._past: list[Any] = [None] * len(self._layers)

    def step(self, tokens: Tensor) -> Tensor:
        """Append one token (R,) per row; return a number per possible next token, (R, V) float32."""
        network, shape = self._network, self._network.shape
        x, bias = network.embeddings.target(tokens[:, None], self.position), None
        if (table := network.embeddings.target_distances) is not None:
            here = torch.tensor([self.position], device=x.device)
            bias = distance_bias(table, here, self.position + 1, False, shape.furthest)
        for number, (layer, (keys, values)) in enumerate(zip(self._layers, self._sources, strict=True)):
            inner = layer.before_past(x)
            x = layer.after_past(x, self._from_past(number, layer.past, inner, bias))
            # The hypotheses of a source are its queries: (R, 1, D) -> (N, B, D).
            shared = x.view(-1, self._beams, x.shape[2])
            x = layer.after_source(shared, keys, values, self._mask).reshape(len(x), 1, -1)
        self.position += 1
        return network.logits(network.output.states(x[:, 0])).float()

    def _from_past(self, number: int, past: Any, x: Tensor, bias: Tensor | None) -> Tensor:
        if isinstance(past, Recurrence):
            cell = self._past[number]
            found, self._past[number] = past.step(x, torch.zeros_like(x) if cell is None else cell)
            return found
        assert isinstance(past, Attention)
        keys, values = past.keys_values(x)
        store = self._past[number]
        if store is None or store.shape[3] <= self.position:
            rows, heads, _, width = keys.shape
            larger = keys.new_empty(2, rows, heads, max(16, 2 * self.position), width)
            if store is not None:
                larger[:, :, :, : self.position] = store[:, :, :, : self.position]
            self._past[number] = store = larger
        store[0, :, :, self.position], store[1, :, :, self.position] = keys[:, :, 0], values[:, :, 0]
        filled = store[:, :, :, : self.position + 1]
        return past(x, filled[0], filled[1], bias)  # type: ignore[no-any-return]

    def select(self, rows: Tensor, sources: Tensor | None = None) -> None:
        """Continue with these rows (R',) in this order; `sources` (N',), if some sources are finished."""
        axis = 0 if self._network.shape.recurrent else 1
        self._past = [None if past is None else past.index_select(axis, rows) for past in self._past]
        if sources is None:
            return
        self._sources = [(keys[sources], values[sources]) for keys, values in self._sources]
        self._mask = None if self._mask is None else self._mask[sources]
