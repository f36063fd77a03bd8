"""An encoder-decoder as a backbone: source states, target states, and steps of generation."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

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

    Keys and values of the sources are computed once, and shared by the hypotheses of a source. The past of
    all rows ends in the same column; that of a row that joined later begins in a later one.
    """

    def __init__(
        self,
        network: EncoderDecoder,
        sources: list[tuple[Tensor, Tensor]],
        mask: Tensor | None,
        beams: int,
    ) -> None:
        self._network = network
        self._layers = network._decoder_layers
        self._sources = sources
        self._mask = mask
        self._beams = beams
        keys, _ = sources[0]
        self._first = torch.zeros(len(keys) * beams, dtype=torch.long, device=keys.device)
        self._columns = 0
        self._is_ragged = False
        self._past: list[Any] = [None] * len(self._layers)

    def step(self, tokens: Tensor) -> Tensor:
        """Append one token (R,) per row; return a number per possible next token, (R, V) float32."""
        network = self._network
        x = network.embeddings.target(tokens[:, None], (self._columns - self._first)[:, None])
        bias = None if network.shape.recurrent else self._past_bias(x.device)
        for number, (layer, (keys, values)) in enumerate(zip(self._layers, self._sources, strict=True)):
            inner = layer.before_past(x)
            x = layer.after_past(x, self._from_past(number, layer.past, inner, bias))
            # The hypotheses of a source are its queries: (R, 1, D) -> (N, B, D).
            shared = x.view(-1, self._beams, x.shape[2])
            x = layer.after_source(shared, keys, values, self._mask).reshape(len(x), 1, -1)
        self._columns += 1
        return network.logits(network.output.states(x[:, 0])).float()

    def _past_bias(self, device: torch.device) -> Tensor | None:
        """Bias or mask of the attention to the columns so far and the present one."""
        bias, columns = None, self._columns + 1
        if (table := self._network.embeddings.target_distances) is not None:
            here = torch.tensor([self._columns], device=device)
            bias = distance_bias(table, here, columns, False, self._network.shape.furthest)
        if not self._is_ragged:
            return bias
        mask = (torch.arange(columns, device=device)[None] >= self._first[:, None])[:, None, None]
        return mask if bias is None else bias.masked_fill(~mask, -torch.inf)

    def _from_past(self, number: int, past: Any, x: Tensor, bias: Tensor | None) -> Tensor:
        if isinstance(past, Recurrence):
            cell = self._past[number]
            found, self._past[number] = past.step(x, torch.zeros_like(x) if cell is None else cell)
            return found
        assert isinstance(past, Attention)
        keys, values = past.keys_values(x)
        store, column = self._past[number], self._columns
        if store is None or store.shape[3] <= column:
            rows, heads, _, width = keys.shape
            larger = keys.new_empty(2, rows, heads, max(16, 2 * column), width)
            if store is not None:
                larger[:, :, :, :column] = store[:, :, :, :column]
            self._past[number] = store = larger
        store[0, :, :, column], store[1, :, :, column] = keys[:, :, 0], values[:, :, 0]
        filled = store[:, :, :, : column + 1]
        return past(x, filled[0], filled[1], bias)  # type: ignore[no-any-return]

    def join(self, other: Decoding) -> None:
        """Append the sources of a decoding of the same network and B that has made no step."""
        new = torch.full_like(other._first, self._columns)
        self._first = torch.cat([self._first, new])
        self._is_ragged = self._is_ragged or self._columns > 0
        axis = self._row_axis
        for number, past in enumerate(self._past):
            if past is not None:
                shape = [len(new) if i == axis else size for i, size in enumerate(past.shape)]
                self._past[number] = torch.cat([past, past.new_zeros(shape)], axis)
        if self._mask is not None or other._mask is not None or self._length != other._length:
            masks = [each._whole_mask(max(self._length, other._length)) for each in (self, other)]
            self._mask = torch.cat(masks)
        self._sources = [
            (_joined(keys, more_keys), _joined(values, more_values))
            for (keys, values), (more_keys, more_values) in zip(self._sources, other._sources, strict=True)
        ]

    def select(self, rows: Tensor, sources: Tensor | None = None) -> None:
        """Continue with these rows (R',) in this order; `sources` (N',), if some sources are finished."""
        self._first = self._first[rows]
        unused = int(self._first.min()) if self._is_ragged else 0
        self._first -= unused
        self._columns -= unused
        self._is_ragged = self._is_ragged and bool(self._first.any())
        for number, past in enumerate(self._past):
            if past is not None:
                past = past if self._network.shape.recurrent else past[:, :, :, unused:]
                self._past[number] = past.index_select(self._row_axis, rows)
        if sources is None:
            return
        used = self._length
        if self._mask is not None:
            self._mask = self._mask[sources]
            used = int(self._mask.sum(dim=3).max())
            self._mask = None if bool(self._mask[..., :used].all()) else self._mask[..., :used]
        self._sources = [
            (keys[:, :, :used][sources], values[:, :, :used][sources]) for keys, values in self._sources
        ]

    @property
    def device(self) -> torch.device:
        """Where it is computed."""
        return self._first.device

    @property
    def _row_axis(self) -> int:
        return 0 if self._network.shape.recurrent else 1

    @property
    def _length(self) -> int:
        """Tokens of the longest source."""
        return self._sources[0][0].shape[2]

    def _whole_mask(self, length: int) -> Tensor:
        """(N, 1, 1, length) bool."""
        keys, _ = self._sources[0]
        mask = self._mask
        if mask is None:
            mask = torch.ones(len(keys), 1, 1, self._length, dtype=torch.bool, device=keys.device)
        return functional.pad(mask, (0, length - self._length))


def _joined(one: Tensor, other: Tensor) -> Tensor:
    """(N, H, S, W) and (N', H, S', W) -> (N + N', H, max(S, S'), W), with zeros at the end."""
    length = max(one.shape[2], other.shape[2])
    return torch.cat([functional.pad(each, (0, 0, 0, length - each.shape[2])) for each in (one, other)])
