"""Relation- and model-based transfer: distillation, regularization toward the published weights, partial
reuse."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from msgspec import Meta

from transfer_core.recipe.fields import MOST_NAMES, Base, Name, NotNegative, Probability, Some

Relation: TypeAlias = Literal["kd", "rkd", "similarity", "contrastive"]


class Distill(Base, frozen=True, rename={"teacher": "from"}):
    """Train with the outputs and the embeddings of a larger teacher (relation-based transfer).

    `teacher` (`from`) is the path of a saved model, or the name of a backbone. `relation` are the losses:
    `kd` of the outputs at a `temperature`, which has the `strength` 0 to 1 beside the loss of the labels;
    `rkd`, `similarity` and `contrastive` of the embeddings, which are added. `digest` identifies the teacher
    of an interrupted run.
    """

    teacher: Name
    relation: Annotated[tuple[Relation, ...], Meta(min_length=1, max_length=4)] = ("kd",)
    temperature: Annotated[float, Meta(ge=0.1, le=100)] = 2.0
    strength: Probability = 0.5
    digest: Annotated[str, Meta(max_length=128)] | None = None


class L2Sp(Base, frozen=True, tag="l2_sp"):
    """Penalize the distance of trained blocks from the published weights by `alpha` / 2, and the weights of
    the head by `beta` / 2 (Li et al. 2018)."""

    alpha: NotNegative = 0.1
    beta: NotNegative = 0.01


class WiseFt(Base, frozen=True, tag="wise_ft"):
    """Interpolate between the published weights with the head fitted on them, at 0, and the fine-tuned
    weights, at 1 (Wortsman et al. 2022). None: the `coefficient` with the lowest validation loss."""

    coefficient: Probability | None = None


Regularization: TypeAlias = L2Sp | WiseFt


class Reuse(Base, frozen=True):
    """Take over the published weights of the `first` or `last` blocks, or of the named `blocks`; the others
    start from random ones."""

    first: Some | None = None
    last: Some | None = None
    blocks: Annotated[tuple[Name, ...], Meta(min_length=1, max_length=MOST_NAMES)] | None = None
