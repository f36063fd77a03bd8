"""Train an encoder-decoder on pairs of token sequences by teacher forcing.

The decoder is given the target so far at each position, and the loss compares its next token (Williams and
Zipser 1989). Sequences of similar length share a batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from transfer_core.backbones.encoder_decoder.encoder_decoder import EncoderDecoder
from transfer_core.backbones.encoder_decoder.text_codec import Ids
from transfer_core.features.boundary import halved
from transfer_core.features.parallel import map_on_cores
from transfer_core.finetune.lora import adapted, only_adapters, scale_adapters
from transfer_core.finetune.phase import training_dtype
from transfer_core.finetune.smoothed_loss import smoothed_cross_entropy
from transfer_core.finetune.texts import cached_on_disk
from transfer_core.plan.phases import Phase
from transfer_core.runtime.devices import Machine
from transfer_core.runtime.progress import Progress
from transfer_core.training.batch import Batch, BatchSource, Metrics
from transfer_core.training.checkpointer import NO_CHECKPOINTS, Checkpointer
from transfer_core.training.execution import Execution, open_execution
from transfer_core.training.loop import train_epochs
from transfer_core.training.optimizers import Group

# Batches that are sorted by length together: more of them have less padding, but a less random order.
_SORTED_TOGETHER = 32
# Scales of trained adapters, and the share of the gain in validation loss that the chosen one must keep.
SCALES, GAIN_KEPT = (0.5, 0.75, 1.0), 2 / 3
# Sources per forward pass of a frozen encoder.
_ENCODED_AT_ONCE = 32


@dataclass(frozen=True)
class TokenPairs:
    """Tokens of N sources and targets, without the start token of the decoder."""

    sources: Sequence[Ids]
    targets: Sequence[Ids]

    def __len__(self) -> int:
        return len(self.sources)

    def joined(self, other: TokenPairs) -> TokenPairs:
        """Concatenate with other pairs."""
        return TokenPairs([*self.sources, *other.sources], [*self.targets, *other.targets])


class TeacherForcing(nn.Module):
    """From the numbers of pairs (N,) to the mean smoothed loss and negative log-likelihood per token, (N, 2).

    Parameters
    ----------
    backbone
        The network; blocks not in `trainable` stay in eval mode and get no gradients.
    pairs
        The pairs that numbers refer to.
    start
        The first input of the decoder.
    trainable
        Names of blocks.
    smoothing
        Label smoothing.
    states
        Source states (S, D) by number, if the encoder is frozen and its states are cached.
    check
        Called between layers; may raise.
    """

    def __init__(
        self,
        backbone: EncoderDecoder,
        pairs: TokenPairs,
        start: int,
        trainable: Sequence[str],
        smoothing: float,
        states: Sequence[Tensor] | None,
        check: Callable[[], None],
    ) -> None:
        super().__init__()
        self.blocks = backbone.blocks
        self._backbone = (backbone,)  # in a tuple, so that its assets are no part of this module
        self._pairs = pairs
        self._start = start
        self._smoothing = smoothing
        self._states = states
        self._check = check
        self._frozen = [block for name, block in self.blocks.named_children() if name not in trainable]
        self.blocks.requires_grad_(True)
        for block in self._frozen:
            block.requires_grad_(False)

    def train(self, mode: bool = True) -> TeacherForcing:
        """Set the mode; frozen blocks stay in eval mode."""
        super().train(mode)
        for block in self._frozen:
            block.eval()
        return self

    def forward(self, numbers: Tensor) -> Tensor:
        """(N,) -> (N, 2)."""
        (backbone,), device = self._backbone, numbers.device
        rows = numbers.tolist()
        targets = [self._pairs.targets[row] for row in rows]
        lengths = torch.tensor([len(target) for target in targets], device=device)
        inputs = [np.concatenate([[self._start], target[:-1]]) for target in targets]
        states, mask = self._sources(rows, device)
        decoded = backbone.decode(_padded(inputs, backbone.shape.pad).to(device), states, mask, self._check)
        is_token = torch.arange(decoded.shape[1], device=device)[None] < lengths[:, None]
        wanted = torch.from_numpy(np.concatenate(targets).astype(np.int64)).to(device)
        losses = smoothed_cross_entropy(backbone.logits(decoded[is_token]), wanted, self._smoothing)
        owners = torch.arange(len(rows), device=device).repeat_interleave(lengths)
        sums = torch.zeros(len(rows), 2, device=device).index_add(0, owners, torch.stack(losses, dim=1))
        return sums / lengths[:, None]

    def _sources(self, rows: Sequence[int], device: torch.device) -> tuple[Tensor, Tensor]:
        (backbone,) = self._backbone
        if self._states is not None:
            states = [self._states[row] for row in rows]
            longest = max(len(state) for state in states)
            padded = torch.zeros(len(rows), longest, states[0].shape[1])
            for row, state in enumerate(states):
                padded[row, : len(state)] = state
            lengths = torch.tensor([len(state) for state in states])
            return padded.to(device), (torch.arange(longest)[None] < lengths[:, None]).to(device)
        tokens, mask = token_batch([self._pairs.sources[row] for row in rows], backbone.shape.pad)
        tokens, mask = tokens.to(device), mask.to(device)
        return backbone.encode(tokens, mask, self._check), mask


def train_pairs(
    backbone: EncoderDecoder,
    phase: Phase,
    pairs: TokenPairs,
    valid: TokenPairs,
    start: int,
    machine: Machine,
    seed: int,
    progress: Progress,
    checkpointer: Checkpointer = NO_CHECKPOINTS,
) -> list[Metrics]:
    """Train the blocks of `phase`, or LoRA adapters beside them, in place.

    Adapters are scaled as far down as most of the gain in validation loss allows.

    The state with the lowest validation loss is restored at the end; the one before the first epoch is among
    the candidates. The backbone returns on the CPU, with adapters merged.

    Parameters
    ----------
    backbone
        The network.
    phase
        A `train` step with the blocks and adapters that it trains.
    pairs, valid
        Pairs to train on, and for early stopping and the choice of the epoch; the latter may be empty.
    start
        The first input of the decoder.
    machine
        Device and precision.
    seed
        Of the order, of dropout and of adapters.
    progress
        Progress events and cancellation.
    checkpointer
        See `train_epochs`.

    Returns
    -------
    list of Metrics
        One entry per epoch, with `validation_loss`, the negative log-likelihood per token; the last one with
        `adapter_scale`, if there are adapters and validation pairs.

    Raises
    ------
    RecipeError
        If the loss is not finite.
    """
    train, both = phase.train, pairs.joined(valid)
    assert train.epochs
    size = train.batch_size or 32
    backbone.requires_grad_(False)
    with adapted(backbone, phase, seed) as adapted_blocks:
        trainable = [*phase.trainable, *adapted_blocks]
        encoder = backbone.facts.blocks[: backbone.shape.encoder_blocks]
        is_frozen = not set(encoder) & set(trainable)
        device = torch.device(machine.device)
        states = encoded(backbone, both.sources, device, progress) if is_frozen else None
        module = TeacherForcing(
            backbone, both, start, trainable, train.label_smoothing or 0.0, states, progress.check
        )
        for name in adapted_blocks:
            only_adapters(module.blocks.get_submodule(name))
        dtype = training_dtype(backbone, machine)
        with open_execution(module, device, dtype, size, progress) as execution:
            held_out = range(len(pairs), len(both))
            history = train_epochs(
                execution,
                batches_by_length(pairs, size, seed),
                _loss,
                partial(_validate, execution, both, held_out) if len(valid) else None,
                train,
                "fine_tune",
                seed,
                progress,
                checkpointer,
                list(_groups(backbone, train.layer_decay or 1.0)),
            )
            if phase.lora and history and len(valid):
                scale = smallest_useful_scale(module, lambda: _validate(execution, both, held_out))
                history[-1]["adapter_scale"] = scale
        module.requires_grad_(False)
    backbone.eval()
    return history


def smallest_useful_scale(module: TeacherForcing, validate: Callable[[], Metrics]) -> float:
    """Scale the trained adapters by the smallest of `SCALES` with most of the gain in validation loss.

    An interpolation between published and tuned weights (Wortsman et al. 2022, WiSE-FT): with half of the
    change, texts of another kind keep nearly all of their quality, and those of the tuned kind most of the
    gain (benchmarks/NOTES.md).
    """
    losses = {}
    for scale in (0.0, *SCALES):
        scale_adapters(module.blocks, scale)
        losses[scale] = validate()["validation_loss"]
    wanted = losses[0.0] - GAIN_KEPT * (losses[0.0] - min(losses.values()))
    chosen = next(scale for scale in SCALES if losses[scale] <= wanted or scale == SCALES[-1])
    scale_adapters(module.blocks, chosen)
    return chosen


def encoded(
    backbone: EncoderDecoder, sources: Sequence[Ids], device: torch.device, progress: Progress
) -> Sequence[Tensor] | None:
    """States (S, D) of all sources by a frozen encoder, in half precision in a file without a name.

    None if disk space or the range of half precision does not suffice.
    """
    order = sorted(range(len(sources)), key=lambda number: len(sources[number]))
    chunks = [order[i : i + _ENCODED_AT_ONCE] for i in range(0, len(order), _ENCODED_AT_ONCE)]
    backbone.to(device).eval()

    @torch.inference_mode()
    def encode(numbers: Sequence[int]) -> list[tuple[int, Tensor]]:
        tokens, mask = token_batch([sources[number] for number in numbers], backbone.shape.pad)
        states = backbone.encode(tokens.to(device), mask.to(device), progress.check).cpu()
        return [(number, halved(states[row, : len(sources[number])])) for row, number in enumerate(numbers)]

    results = map_on_cores(encode, chunks) if device.type == "cpu" else map(encode, chunks)
    tracked = progress.track(results, "fine_tune", len(chunks), "batches")
    return cached_on_disk((row for chunk in tracked for row in chunk), len(sources))


def batches_by_length(pairs: TokenPairs, size: int, seed: int) -> BatchSource:
    """Batches of pairs of similar length, each pair once per epoch, in a new order each time.

    Parameters
    ----------
    pairs
        N pairs.
    size
        Pairs per batch.
    seed
        Of the order.
    """
    lengths = np.array([[len(t), len(s)] for s, t in zip(pairs.sources, pairs.targets, strict=True)])
    weights = torch.from_numpy(lengths[:, 0].astype(np.float32))

    def epoch(number: int) -> Iterable[Batch]:
        random = np.random.default_rng((seed, number))
        order = random.permutation(len(pairs))
        batches: list[np.ndarray] = []
        for begin in range(0, len(order), size * _SORTED_TOGETHER):
            some = order[begin : begin + size * _SORTED_TOGETHER]
            some = some[np.lexsort((lengths[some, 1], lengths[some, 0]))]
            batches += [some[i : i + size] for i in range(0, len(some), size)]
        for place in random.permutation(len(batches)):
            # The longest first, so that micro-batches have little padding.
            numbers = torch.from_numpy(batches[place][::-1].copy())
            yield Batch(numbers, numbers, weights[numbers])

    sorted_at_once = size * _SORTED_TOGETHER
    whole, rest = divmod(len(pairs), sorted_at_once)
    return BatchSource(epoch, steps=whole * _SORTED_TOGETHER + -(-rest // size))


def token_batch(sequences: Sequence[Ids], pad: int) -> tuple[Tensor, Tensor]:
    """Padded tokens (N, S) and their mask (N, S)."""
    lengths = torch.tensor([len(sequence) for sequence in sequences])
    tokens = _padded(sequences, pad)
    return tokens, torch.arange(tokens.shape[1])[None] < lengths[:, None]


def _padded(sequences: Sequence[Ids], pad: int) -> Tensor:
    found = np.full((len(sequences), max(map(len, sequences))), pad, np.int64)
    for row, sequence in zip(found, sequences, strict=True):
        row[: len(sequence)] = sequence
    return torch.from_numpy(found)


def _loss(outputs: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
    """The sum of the smoothed losses of all tokens; weights are numbers of tokens."""
    return (outputs[:, 0] * weights).sum()


def _validate(execution: Execution, pairs: TokenPairs, numbers: Iterable[int]) -> Metrics:
    order = sorted(numbers, key=lambda number: -len(pairs.targets[number]))
    outputs = execution.outputs(torch.tensor(order))
    weights = torch.tensor([len(pairs.targets[number]) for number in order], dtype=torch.float64)
    return {"validation_loss": float((outputs[:, 1] * weights).sum() / weights.sum())}


def _groups(backbone: EncoderDecoder, decay: float) -> Iterator[Group]:
    """Parameter groups with layer-wise learning rate decay, from the output backwards."""
    for distance, block in enumerate(reversed(list(backbone.blocks))):
        parameters = [parameter for parameter in block.parameters() if parameter.requires_grad]
        if parameters:
            yield Group(parameters, decay**distance)
