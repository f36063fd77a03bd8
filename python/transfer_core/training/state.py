"""Everything that one epoch of a training leaves to the next."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from transfer_core.runtime.errors import ConfigurationError
from transfer_core.runtime.snapshot import Snapshot

DOES_NOT_FIT = "the checkpoint does not fit the network: go on with the version that wrote it, or train anew"


class LoopState:
    """The weights, the optimiser, the best epoch so far and the history.

    The order of the data and the numbers of dropout derive from the seed and the number of the epoch, the
    learning rate from the number of the step: the number of epochs in the history says all of that.
    """

    def __init__(self, module: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        self.history: list[dict[str, float]] = []
        self.best = BestState(module)
        self._optimizer = optimizer
        self._live = live_tensors(module)

    @property
    def epoch(self) -> int:
        """The number of the last epoch that ended."""
        return len(self.history)

    def snapshot(self) -> Snapshot:
        """The state as it is: tensors are not copied."""
        tensors = {f"now.{name}": tensor for name, tensor in self._live.items()}
        tensors |= {f"best.{name}": tensor for name, tensor in self.best.tensors.items()}
        for index, values in self._optimizer.state_dict()["state"].items():
            tensors |= {
                f"optimizer.{index}.{name}": value for name, value in values.items() if value is not None
            }
        best = {"best_epoch": self.best.epoch, "best_loss": self.best.loss}
        return Snapshot(tensors, {"history": self.history, **best})

    def restore(self, snapshot: Snapshot) -> None:
        """Go on from `snapshot`; raises `ConfigurationError` if it is of another network."""
        now = _under("now.", snapshot)
        if _shapes(now) != _shapes(self._live):
            raise ConfigurationError(DOES_NOT_FIT)
        self.history[:] = snapshot.facts["history"]
        for name, tensor in now.items():
            self._live[name].copy_(tensor)
        self.best.restore(
            snapshot.facts["best_loss"], snapshot.facts["best_epoch"], _under("best.", snapshot)
        )
        state: dict[int, dict[str, Tensor]] = {}
        for name, tensor in _under("optimizer.", snapshot).items():
            index, word = name.split(".")
            state.setdefault(int(index), {})[word] = tensor
        groups = self._optimizer.state_dict()["param_groups"]
        parameters = [p for group in self._optimizer.param_groups for p in group["params"]]
        laid_out = {index: _like(parameters[index], values) for index, values in state.items()}
        self._optimizer.load_state_dict({"state": laid_out, "param_groups": groups})


class BestState:
    """Keeps a copy of a module's trainable parameters, and of its buffers, from its best epoch."""

    def __init__(self, module: nn.Module) -> None:
        self._live = live_tensors(module)
        self.tensors: dict[str, Tensor] = {}
        self.loss = math.inf
        self.epoch = 0

    def keep_if_better(self, loss: float, epoch: int) -> None:
        """Copy the state if `loss` is the lowest so far."""
        if loss < self.loss:
            self.loss, self.epoch = loss, epoch
            self.tensors = {name: tensor.clone() for name, tensor in self._live.items()}

    def put_back(self) -> None:
        """Restore the best state, if one was kept."""
        for name, saved in self.tensors.items():
            self._live[name].copy_(saved)

    def restore(self, loss: float, epoch: int, tensors: dict[str, Tensor]) -> None:
        """What `loss`, `epoch` and `tensors` were before."""
        self.loss, self.epoch = loss, epoch
        self.tensors = {name: torch.empty_like(self._live[name]).copy_(t) for name, t in tensors.items()}


def live_tensors(module: nn.Module) -> dict[str, Tensor]:
    """The trainable parameters and the buffers of `module` themselves, by name."""
    trained = {name: p.data for name, p in module.named_parameters() if p.requires_grad}
    return {**trained, **dict(module.named_buffers())}


def _shapes(tensors: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}


def _under(prefix: str, snapshot: Snapshot) -> dict[str, Tensor]:
    found = snapshot.tensors.items()
    return {name[len(prefix) :]: torch.from_numpy(array) for name, array in found if name.startswith(prefix)}


def _like(parameter: Tensor, values: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same values, lying in memory as `parameter` does: fused optimisers go through both number by
    number."""
    return {
        word: torch.empty_like(parameter, dtype=value.dtype).copy_(value)
        if value.shape == parameter.shape
        else value
        for word, value in values.items()
    }
