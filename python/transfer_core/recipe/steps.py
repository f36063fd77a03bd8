"""Steps of a training, in the order in which they are taken."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from msgspec import Meta

from transfer_core.recipe.fields import (
    MOST_NAMES,
    Base,
    Count,
    Fraction,
    Name,
    NotNegative,
    Positive,
    Some,
    Width,
)


class Freeze(Base, frozen=True, tag="freeze"):
    """Stop training the whole backbone, its `first` blocks, or the named `blocks`."""

    first: Some | None = None
    blocks: Annotated[tuple[Name, ...], Meta(max_length=MOST_NAMES)] | None = None


class Unfreeze(Base, frozen=True, tag="unfreeze"):
    """Resume training of the `last` blocks, the named `blocks`, or `all` of the backbone; `gradually`: one
    block after the other from the top, with an epoch each, before the next `train` step."""

    last: Some | None = None
    blocks: Annotated[tuple[Name, ...], Meta(max_length=MOST_NAMES)] | None = None
    all: bool | None = None
    gradually: bool | None = None


class Lora(Base, frozen=True, tag="lora"):
    """Train low-rank adapters of this `rank` beside the frozen dense layers of the backbone, merged into them
    at the end (Hu et al. 2021, LoRA); `alpha` / `rank` scales them."""

    rank: Width = 8
    alpha: Positive = 16.0
    dropout: Fraction = 0.0


Optimizer: TypeAlias = Literal["lbfgs", "adam", "adamw", "sgd"]
Schedule: TypeAlias = Literal["constant", "cosine"]


# The loss of a step that trains the embeddings, after which the head is fitted anew.
CONTRASTIVE = "contrastive"


class Train(Base, frozen=True, tag="train"):
    """Train the head and the blocks that are not frozen.

    `loss` is that of the task, or `contrastive`: blocks train to embed examples of one class alike, then the
    head is fitted.
    `early_stopping` is the number of epochs without a better validation loss after which training
    ends (0: never). `warmup` is the share of all steps during which the learning rate rises from 0.
    `class_weights` is `balanced`, `none`, or a weight per label; `group_weights` weights the
    groups of `columns.group` equally (`balanced`) or by their losses (`robust`). `layer_decay` multiplies the
    learning rate of each block relative to the block above it. `label_smoothing` is the share of the target
    distribution that all tokens of a generated text have in common.
    """

    epochs: Some | None = None
    optimizer: Optimizer | None = None
    learning_rate: Positive | None = None
    momentum: Fraction | None = None
    weight_decay: NotNegative | None = None
    batch_size: Count | None = None
    loss: Name | None = None
    schedule: Schedule | None = None
    warmup: Fraction | None = None
    early_stopping: Annotated[int, Meta(ge=0, le=100_000)] | None = None
    class_weights: Literal["none", "balanced"] | dict[Name, Positive] | None = None
    group_weights: Literal["none", "balanced", "robust"] | None = None
    layer_decay: Annotated[float, Meta(gt=0, le=1)] | None = None
    label_smoothing: Fraction | None = None


# Options of mini-batch optimizers (Adam, AdamW, SGD), which do not apply to L-BFGS.
OF_MINIBATCHES = (
    "epochs",
    "learning_rate",
    "weight_decay",
    "batch_size",
    "schedule",
    "warmup",
    "early_stopping",
    "layer_decay",
)

Step: TypeAlias = Freeze | Unfreeze | Lora | Train
