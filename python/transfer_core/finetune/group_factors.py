"""Group DRO while blocks train: weights of groups that follow their validation losses."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from transfer_core.tasks.criteria import Array, Criterion
from transfer_core.training.group_dro import mean_by_group, next_factors

_NAME = "group_factors"


class GroupFactors:
    """Factors of the weights of examples, by the cell of an example (Sagawa et al. 2020).

    They are a buffer of the trained module, so that checkpoints contain them.

    Parameters
    ----------
    module
        The module that is trained.
    train, valid
        (N,) and (M,) cells of the training and validation examples; -1 for none.
    """

    def __init__(self, module: nn.Module, train: Array, valid: Array) -> None:
        self._module = module
        self._train = torch.from_numpy(train)
        self._valid = valid
        count = int(max(train.max(), valid.max())) + 1
        module.register_buffer(_NAME, torch.ones(count + 1), persistent=False)

    @property
    def _factors(self) -> Tensor:
        return self._module.get_buffer(_NAME)

    def of(self, chunk: Tensor) -> Tensor:
        """The factors (B,) of the training examples `chunk`."""
        return self._factors.cpu()[self._train[chunk]]

    def update(self, criterion: Criterion, outputs: Array, targets: Array, order: Array) -> float:
        """Let the factors grow with the losses of their cells; returns the largest loss of a cell.

        Parameters
        ----------
        outputs, targets
            Of the validation examples, in their `order`.
        """
        losses = criterion.losses(outputs, targets, np.ones(len(order), np.float32))
        own = self._factors[:-1]  # the last is for examples without a group
        by_cell = mean_by_group(losses, self._valid[order], len(own))
        own.copy_(torch.from_numpy(next_factors(own.cpu().numpy(), by_cell)))
        return float(by_cell.max())
