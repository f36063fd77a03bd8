"""An encoder-decoder with greedy decoding as operators: from the tokens of a source to those of its text."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from transfer_core.backbones.encoder_decoder.encoder_decoder import EncoderDecoder
from transfer_core.backbones.encoder_decoder.sequence_layers import Recurrence, distance_bias
from transfer_core.backbones.encoder_decoder.sequence_shape import SequenceShape
from transfer_core.backbones.encoder_decoder.text_codec import PIECES, SOURCE, TARGET
from transfer_core.backbones.graph import traced_graph
from transfer_core.export.operators import Graph, Value
from transfer_core.export.session import bare_session
from transfer_core.export.texts import IDS
from transfer_core.generation.generator import Limits, TextGenerator
from transfer_core.generation.token_rules import TokenRules

_LENGTH = 5
_LEAST = -np.inf


class Networks(NamedTuple):
    """ModelProtos: `encoder`, from tokens (1, S) to keys and values of the source for each layer of the
    decoder; and `step`, from a token (1,), its position (), these keys and values and the state of each layer
    to a number per next token (1, V), and the new states."""

    encoder: Any
    step: Any


def encoder_network(backbone: EncoderDecoder, longest: int) -> bytes:
    """Convert the encoder; positions are below `longest`.

    Raises
    ------
    RecipeError
        At `backbone`, if it can't be converted, with the reason.
    """
    network = _plain(backbone, longest)
    names = _names("source", 2 * network.shape.decoder_layers)
    axes: dict[str, dict[int, str]] = {IDS: {1: "S"}, **{name: {2: "S"} for name in names}}
    return traced_graph(backbone.facts, _Encoder(network), {IDS: _example(network)}, names, axes)


def step_network(backbone: EncoderDecoder, longest: int) -> bytes:
    """Convert the decoder; see `encoder_network`."""
    network = _plain(backbone, longest)
    with torch.no_grad():
        sources = _Encoder(network)(_example(network))
    states = [torch.zeros(1, *shape) for shape in _state_shapes(network.shape, 2)]
    names, given, made = (
        _names(kind, len(tensors))
        for kind, tensors in (("source", sources), ("state", states), ("new", states))
    )
    axes: dict[str, dict[int, str]] = {name: {2: "S"} for name in names}
    if not network.shape.recurrent:
        axes |= {name: {2: "T"} for name in (*given, *made)}
    examples = {"token": torch.zeros(1, dtype=torch.long), "position": torch.tensor(2)}
    examples |= dict(zip((*names, *given), (*sources, *states), strict=True))
    return traced_graph(backbone.facts, _Step(network), examples, ["logits", *made], axes)


def _plain(backbone: EncoderDecoder, longest: int) -> EncoderDecoder:
    network = copy.deepcopy(backbone).cpu().float().eval().requires_grad_(False)
    if network.shape.positions == "sinusoidal":
        network.embeddings._waves(torch.tensor([longest - 1]))
    return network


def _example(network: EncoderDecoder) -> Tensor:
    return torch.arange(_LENGTH)[None] % network.shape.vocabulary


def _names(kind: str, count: int) -> list[str]:
    return [f"{kind}_{number}" for number in range(count)]


def sequence_graph(networks: Networks, shape: SequenceShape, rules: TokenRules, limits: Limits) -> Any:
    """The whole model as a ModelProto without metadata (docs/reference/onnx_file.md).

    Parameters
    ----------
    networks
        The results of `encoder_network` and `step_network` as ModelProtos, perhaps in another precision.
    shape
        Of the backbone.
    rules
        Forced and forbidden tokens.
    limits
        Of the number of generated tokens.
    """
    graph = Graph()
    tokens = graph.input(IDS, np.int64, [1, "S"])
    sources = graph.inline(networks.encoder, {IDS: tokens}, [np.float32] * 2 * shape.decoder_layers)
    length = tokens.apply("Shape", start=1, end=2).reshape()
    limit = (length * limits.factor + limits.more).apply("Min", limits.most)
    if limits.fixed is not None:
        limit = graph.constant(np.array(min(limits.fixed, limits.most)))
    states = [graph.constant(np.zeros((1, *each), np.float32)) for each in _state_shapes(shape, 0)]
    first = [
        graph.constant(np.array([rules.start])),
        graph.constant(np.zeros(0, np.int64)),
        graph.constant(np.zeros(1, np.float32)),
    ]

    def body(inner: Graph, number: Value, given: list[Value]) -> list[Value]:
        token, history, total, *past = given
        names = ["token", "position", *_names("source", len(sources)), *_names("state", len(past))]
        known = [token, number, *(source.inside(inner) for source in sources), *past]
        feed = dict(zip(names, known, strict=True))
        logits, *new = inner.inline(networks.step, feed, [np.float32] * (1 + len(past)))
        token, gain = _chosen(logits, history, number, limit.inside(inner), rules)
        go_on = token.apply("Equal", rules.end, dtype=bool).apply("Not").reshape()
        return [go_on, token, history.joined(token, axis=0), total + gain, *new]

    _, history, total, *_ = graph.loop(limit, [*first, *states], body)
    count = history.apply("Shape", dtype=np.int64) - len(rules.prefix)
    graph.output("tokens", history, ["T"])
    graph.output("score", (total / count.apply("Max", 1).cast(np.float32)).apply("Exp"), [1])
    return graph.model()


def text_entries(generator: TextGenerator) -> tuple[dict[str, Any], dict[str, str]]:
    """Fields of the metadata that describe the texts, and the tokenizers as entries by name."""
    codec = generator.codec
    files = generator.network.assets.files()
    text = {
        "kind": "sequence",
        "paired": False,
        "max_length": generator.longest,
        "prefix": codec.prefix,
        "before": codec.layout.source_before,
        "after": codec.layout.source_after,
        "unknown": codec.layout.unknown,
    }
    return {"text": text}, {name: files[name].decode() for name in (SOURCE, TARGET, PIECES) if name in files}


def compare_texts(content: bytes, generator: TextGenerator, texts: Sequence[str]) -> float:
    """Generate with a file and with its model.

    Parameters
    ----------
    content
        The file.
    generator
        Of the model, with greedy decoding.
    texts
        Sources.

    Returns
    -------
    float
        The largest difference of scores of equal texts. Infinity if less than half of the texts are equal:
        next tokens of about the same probability may change places.
    """
    session = bare_session(content)
    sources = generator.sources(texts)
    differences = []
    for source, [expected] in zip(sources, generator.generate(sources), strict=True):
        tokens, score = session.run(["tokens", "score"], {IDS: np.asarray(source, np.int64)[None]})
        if tuple(tokens.tolist()) == expected.tokens:
            differences.append(abs(float(score[0]) - expected.score))
    return max(differences) if 2 * len(differences) >= len(texts) else np.inf


class _Encoder(nn.Module):
    def __init__(self, network: EncoderDecoder) -> None:
        super().__init__()
        self.network = network

    def forward(self, tokens: Tensor) -> tuple[Tensor, ...]:
        """See `Networks`."""
        states = self.network.encode(tokens, torch.ones_like(tokens, dtype=torch.bool))
        layers = self.network._decoder_layers
        return tuple(part for layer in layers for part in layer.source.keys_values(states))


class _Step(nn.Module):
    """`Decoding.step` as a function of all it depends on."""

    def __init__(self, network: EncoderDecoder) -> None:
        super().__init__()
        self.network = network

    def forward(self, token: Tensor, position: Tensor, *given: Tensor) -> tuple[Tensor, ...]:
        """See `Networks`."""
        network, shape, layers = self.network, self.network.shape, self.network._decoder_layers
        x, bias = network.embeddings.target(token[:, None], position.reshape(1, 1)), None
        if (table := network.embeddings.target_distances) is not None:
            keys: Any = position + 1
            bias = distance_bias(table, position[None], keys, False, shape.furthest)
        sources, past = given[: 2 * len(layers)], given[2 * len(layers) :]
        new: list[Tensor] = []
        for number, layer in enumerate(layers):
            inner = layer.before_past(x)
            if isinstance(layer.past, Recurrence):
                found, cell = layer.past.step(inner, past[number])
                new.append(cell)
            else:
                pairs = zip(past[2 * number : 2 * number + 2], layer.past.keys_values(inner), strict=True)
                both = [torch.cat(pair, dim=2) for pair in pairs]
                found = layer.past(inner, *both, bias)
                new += both
            x = layer.after_past(x, found)
            x = layer.after_source(x, sources[2 * number], sources[2 * number + 1], None)
        return network.logits(network.output.states(x[:, 0])), *new


def _state_shapes(shape: SequenceShape, length: int) -> list[tuple[int, ...]]:
    """Shapes of the states after so many tokens, without the first axis."""
    if shape.recurrent:
        return [(1, shape.width)] * shape.decoder_layers
    return [(shape.decoder_heads, length, shape.head_width)] * (2 * shape.decoder_layers)


def _chosen(
    logits: Value, history: Value, number: Value, limit: Value, rules: TokenRules
) -> tuple[Value, Value]:
    """The next token (1,), and its log-probability (1,), 0 if it is forced; as `generation.greedy_search`."""
    normalizer = logits.apply("ReduceLogSumExp", axes=[1], keepdims=0)
    if rules.banned:
        logits = _forbidden(logits, logits.graph.constant(np.array([sorted(rules.banned)])))
    if rules.no_repeat:
        logits = _forbidden(logits, _repeating(history, rules).reshape(1, -1))
    token = logits.apply("ArgMax", dtype=np.int64, axis=1, keepdims=0)
    gain = logits.apply("ReduceMax", axes=[1], keepdims=0) - normalizer
    if rules.forced_end:
        is_last = number.apply("Equal", limit - 1, dtype=bool)
        token, gain = is_last.choose(rules.end, token), is_last.choose(0.0, gain)
    if rules.prefix:
        is_forced = number.apply("Less", len(rules.prefix), dtype=bool)
        prefix = logits.graph.constant(np.array(rules.prefix))
        own = prefix.apply("Gather", number.apply("Min", len(rules.prefix) - 1)).reshape(1)
        token, gain = is_forced.choose(own, token), is_forced.choose(0.0, gain)
    return token, gain


def _forbidden(logits: Value, tokens: Value) -> Value:
    """Scores (1, V) with those of tokens (1, B) at minus infinity."""
    updates = tokens.cast(np.float32) * 0.0 + _LEAST
    return logits.apply("ScatterElements", tokens, updates, axis=1)


def _repeating(history: Value, rules: TokenRules) -> Value:
    """Tokens (B,) that would repeat a sequence of the history."""
    graph, before = history.graph, rules.no_repeat - 1
    # A history that is shorter than a sequence: no token of it is -1.
    filler = graph.constant(np.array([-1] * before + [rules.start]))
    known = filler.joined(history, axis=0)
    candidates = _from(known, before, None)
    is_repeated = candidates.apply("GreaterOrEqual", 0, dtype=bool)
    for place in range(before):
        last = _from(known, place - before, place - before + 1 or None)
        same = _from(known, place, place - before).apply("Equal", last, dtype=bool)
        is_repeated = is_repeated.apply("And", same)
    return candidates.apply("Compress", is_repeated, axis=0)


def _from(known: Value, start: int, end: int | None) -> Value:
    limits = (start, np.iinfo(np.int64).max if end is None else end)
    return known.apply("Slice", *(known.graph.constant(np.array([limit])) for limit in limits))
