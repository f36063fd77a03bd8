"""State of a training loop between two epochs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from transfer_core.runtime.errors import ConfigurationError
from transfer_core.training.checkpointer import Snapshot

MISMATCH = (
    "the checkpoint does not fit the network. "
    "Fix: resume with the version that wrote it, or start a new training"
)


class LoopState:
    """Weights, optimizer state, best epoch so far and history.

    Nothing else is needed to resume: the order of the examples and the random numbers of dropout derive from
    the seed and the number of the epoch, the learning rate from the number of the step.
    """

    def __init__(self, module: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        self.history: list[dict[str, float]] = []
        self.best = BestState(module)
        self._optimizer = optimizer
        self._live = live_tensors(module)

    @property
    def epoch(self) -> int:
        """Number of the last finished epoch."""
        return len(self.history)

    def snapshot(self) -> Snapshot:
        """Return the current state; its tensors are not copied."""
        tensors = {f"now.{name}": tensor for name, tensor in self._live.items()}
        tensors |= {f"best.{name}": tensor for name, tensor in self.best.tensors.items()}
        for index, values in self._optimizer.state_dict()["state"].items():
            tensors |= {
                f"optimizer.{index}.{name}": value for name, value in values.items() if value is not None
            }
        best = {"best_epoch": self.best.epoch, "best_loss": self.best.loss}
        return Snapshot(tensors, {"history": self.history, **best})

    def restore(self, snapshot: Snapshot) -> None:
        """Set the state to `snapshot`.

        Raises
        ------
        ConfigurationError
            If it is of a module with other tensors.
        """
        now = _with_prefix("now.", snapshot)
        if _shapes(now) != _shapes(self._live):
            raise ConfigurationError(MISMATCH)
        self.history[:] = snapshot.facts["history"]
        for name, tensor in now.items():
            self._live[name].copy_(tensor)
        self.best.restore(
            snapshot.facts["best_loss"], snapshot.facts["best_epoch"], _with_prefix("best.", snapshot)
        )
        state: dict[int, dict[str, Tensor]] = {}
        for name, tensor in _with_prefix("optimizer.", snapshot).items():
            index, key = name.split(".")
            state.setdefault(int(index), {})[key] = tensor
        groups = self._optimizer.state_dict()["param_groups"]
        parameters = [p for group in self._optimizer.param_groups for p in group["params"]]
        laid_out = {index: _in_layout_of(parameters[index], values) for index, values in state.items()}
        self._optimizer.load_state_dict({"state": laid_out, "param_groups": groups})


class BestState:
    """Copy of a module's trainable parameters and buffers from the epoch with the lowest validation loss."""

    def __init__(self, module: nn.Module) -> None:
        self._live = live_tensors(module)
        self.tensors: dict[str, Tensor] = {}
        self.loss = math.inf
        self.epoch = 0

    def keep_if_better(self, loss: float, epoch: int) -> None:
        """Copy the module's state if `loss` is the lowest so far."""
        if loss < self.loss:
            self.loss, self.epoch = loss, epoch
            self.tensors = {name: tensor.clone() for name, tensor in self._live.items()}

    def restore_module(self) -> None:
        """Set the module to the best state, if there is one."""
        for name, saved in self.tensors.items():
            self._live[name].copy_(saved)

    def restore(self, loss: float, epoch: int, tensors: dict[str, Tensor]) -> None:
        """Set the best state, from a checkpoint."""
        self.loss, self.epoch = loss, epoch
        self.tensors = {name: torch.empty_like(self._live[name]).copy_(t) for name, t in tensors.items()}


def live_tensors(module: nn.Module) -> dict[str, Tensor]:
    """Return the trainable parameters and the buffers of `module` by name, not copied."""
    trained = {name: p.data for name, p in module.named_parameters() if p.requires_grad}
    return {**trained, **dict(module.named_buffers())}


def _shapes(tensors: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}


def _with_prefix(prefix: str, snapshot: Snapshot) -> dict[str, Tensor]:
    found = snapshot.tensors.items()
    return {name[len(prefix) :]: torch.from_numpy(array) for name, array in found if name.startswith(prefix)}


def _in_layout_of(parameter: Tensor, values: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return `values` in the memory layout of `parameter`, which fused optimizers require."""
    return {
        key: torch.empty_like(parameter, dtype=value.dtype).copy_(value)
        if value.shape == parameter.shape
        else value
        for key, value in values.items()
    }
