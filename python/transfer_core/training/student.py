"""Training of a student by the embeddings and outputs of a teacher."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from transfer_core.tasks.criteria import Criterion
from transfer_core.tasks.distillation import Distillation
from transfer_core.training.batch import Loss
from transfer_core.training.losses import loss_of
from transfer_core.training.relations import contrastive, relational, similarity

# Losses of embeddings, with the weights beside the loss of the labels that their papers use.
_RELATIONS: dict[str, tuple[float, Callable[[Tensor, Tensor], Tensor]]] = {
    "rkd": (25.0, relational),
    "similarity": (3000.0, similarity),
    "contrastive": (0.8, contrastive),
}
# The smallest batch with angles.
_FEWEST = 3


@dataclass(frozen=True)
class Lesson:
    """What a student is trained on.

    Attributes
    ----------
    criterion
        The loss of outputs: that of the task, or `Distillation`.
    relations
        Names of the losses of embeddings.
    targets
        (N, …), as `criterion` takes them.
    known
        (N,), 1 for inputs with a label, else 0.
    embeddings
        (N, E) of the teacher.
    """

    criterion: Criterion
    relations: tuple[str, ...]
    targets: Tensor
    known: Tensor
    embeddings: Tensor


class StudentHead(nn.Module):
    """A head whose outputs in training mode are followed by what the losses of embeddings need.

    These are the embeddings themselves, and for `contrastive` a linear map of them to the width of the
    teacher's. In eval mode it is the head alone.

    Parameters
    ----------
    head
        For embeddings of `width`.
    lesson
        See `Lesson`.
    generator
        Draws the linear map.
    """

    def __init__(self, head: nn.Sequential, width: int, lesson: Lesson, generator: torch.Generator) -> None:
        super().__init__()
        self.head = head
        self._lesson = lesson
        self._width = width
        last = head[-1]
        assert isinstance(last, nn.Linear)
        self._outputs = last.out_features
        contrasts = "contrastive" in lesson.relations
        self.projection = _linear(width, lesson.embeddings.shape[1], generator) if contrasts else None

    def forward(self, embeddings: Tensor) -> Tensor:
        """Return outputs (N, K), in training mode with further columns, for embeddings (N, D)."""
        outputs: Tensor = self.head(embeddings)
        if not self.training or not self._lesson.relations:
            return outputs
        projected = [self.projection(embeddings)] if self.projection is not None else []
        return torch.cat([outputs, embeddings, *projected], dim=1)

    def loss(self, labelled: Loss) -> Loss:
        """Return the loss of whole batches, whose targets are the numbers (N,) of their rows in the lesson.

        Parameters
        ----------
        labelled
            The loss of the task.
        """
        lesson, outputs, width = self._lesson, self._outputs, self._width
        distilled = isinstance(lesson.criterion, Distillation)
        of_outputs = loss_of(lesson.criterion) if distilled else labelled

        def loss(computed: Tensor, numbers: Tensor, weights: Tensor) -> Tensor:
            rows = numbers.cpu()
            targets, known, teacher = (
                part[rows].to(computed.device) for part in (lesson.targets, lesson.known, lesson.embeddings)
            )
            own = weights if distilled else weights * (known if weights.ndim == 1 else known[:, None])
            total = of_outputs(computed[:, :outputs], targets, own)
            if len(rows) < _FEWEST:
                return total
            embeddings = computed[:, outputs : outputs + width]
            for name in lesson.relations:
                factor, relation = _RELATIONS[name]
                student = computed[:, outputs + width :] if name == "contrastive" else embeddings
                total = total + factor * weights.sum() * relation(student, teacher)
            return total

        return loss


def _linear(before: int, after: int, generator: torch.Generator) -> nn.Linear:
    with torch.random.fork_rng(devices=[]):  # nn.Linear draws weights, which are not used
        layer = nn.Linear(before, after)
    bound = before**-0.5
    with torch.no_grad():
        layer.weight.copy_(torch.rand(after, before, generator=generator) * 2 * bound - bound)
        layer.bias.zero_()
    return layer
