"""Transfer between domains: adaptation and weighting."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from msgspec import Meta

from transfer_core.recipe.fields import Base, Positive, Width

AdaptMethod: TypeAlias = Literal[
    "auto",
    "coral",
    "subspace",
    "tca",
    "optimal_transport",
    "mixture",
    "mcc",
    "propagation",
    "ensemble",
    "mmd",
    "dann",
]
WeighMethod: TypeAlias = Literal["kmm", "kliep", "ulsif", "discriminator", "tradaboost", "label_shift"]


class Adapt(Base, frozen=True):
    """Bring the source and the target domain together (feature-based transfer).

    On a frozen backbone `mmd` and `dann` train an mlp head; the other methods are closed forms. Where blocks
    train, `coral`, `mmd`, `dann` and `mcc` are losses beside that of the labels.

    `components` is the number of dimensions of `subspace`, `tca` and `mixture`, `strength` the weight of the
    loss of `mcc`, `mmd` and `dann`, and of `coral` where blocks train; and the regularization of `coral`,
    `tca` and `optimal_transport` on a frozen backbone (None: the method's defaults).
    """

    method: AdaptMethod = "auto"
    components: Width | None = None
    strength: Positive | None = None


class Weigh(Base, frozen=True):
    """Weight the examples of the source domain (instance-based transfer), by at most `limit` times their
    mean."""

    method: WeighMethod
    limit: Annotated[float, Meta(ge=1, le=1e6)] = 10.0
