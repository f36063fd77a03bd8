"""Heads: the new layers on top of the backbone."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from msgspec import Meta

from transfer_core.recipe.fields import Base, Count, Fraction, Positive, Some, Width


class LinearHead(Base, frozen=True, tag="linear"):
    """One dense layer."""

    dropout: Fraction = 0.0


class MlpHead(Base, frozen=True, tag="mlp"):
    """Dense layers with ReLU between them; `hidden` are their widths."""

    hidden: Annotated[tuple[Width, ...], Meta(max_length=32)] = (256,)
    dropout: Fraction = 0.1


class LogisticHead(Base, frozen=True, tag="logistic"):
    """scikit-learn's LogisticRegression; `c` is the inverse of the strength of its L2 penalty."""

    c: Annotated[float, Meta(gt=0, le=1e12)] = 1.0


class SvmHead(Base, frozen=True, tag="svm"):
    """A support vector machine, scikit-learn's SVC or SVR."""

    c: Annotated[float, Meta(gt=0, le=1e12)] = 1.0
    kernel: Literal["rbf", "linear"] = "rbf"


class RandomForestHead(Base, frozen=True, tag="random_forest"):
    """scikit-learn's random forest of so many `trees`."""

    trees: Some = 300
    max_depth: Some | None = None


class GradientBoostingHead(Base, frozen=True, tag="gradient_boosting"):
    """scikit-learn's histogram gradient boosting with at most so many `trees` per output."""

    trees: Some = 200
    learning_rate: Positive = 0.1


class KnnHead(Base, frozen=True, tag="knn"):
    """k-nearest neighbours: majority vote, or mean."""

    neighbors: Count = 5


class PrototypeHead(Base, frozen=True, tag="prototype"):
    """The nearest class mean."""


class CosineHead(Base, frozen=True, tag="cosine"):
    """The class with the most similar direction."""


# Heads of class means, for few examples.
FewShotHead: TypeAlias = PrototypeHead | CosineHead

# Heads without gradients, which can't be trained together with the backbone.
ClassicHead: TypeAlias = (
    LogisticHead | SvmHead | RandomForestHead | GradientBoostingHead | KnnHead | PrototypeHead | CosineHead
)

# Detection heads: a feature pyramid of so many `channels`, and a detector on it.

Channels: TypeAlias = Annotated[int, Meta(ge=32, le=512, multiple_of=32)]
Layers: TypeAlias = Annotated[int, Meta(ge=1, le=4)]


class FcosHead(Base, frozen=True, tag="fcos"):
    """FCOS: no anchors; so many `layers` before the classes, and before the boxes."""

    channels: Channels = 64
    layers: Layers = 2


class RetinanetHead(Base, frozen=True, tag="retinanet"):
    """RetinaNet: nine anchors per position and the focal loss."""

    channels: Channels = 64
    layers: Layers = 2


class SsdHead(Base, frozen=True, tag="ssd"):
    """SSD: one convolution per level, the fastest."""

    channels: Channels = 64


class FasterRcnnHead(Base, frozen=True, tag="faster_rcnn"):
    """Faster R-CNN: proposals, then two dense layers of `hidden` width for each."""

    channels: Channels = 64
    hidden: Width = 256


class QueriesHead(Base, frozen=True, tag="queries"):
    """Classes and corrected boxes of object queries, by networks of two layers of `hidden` width."""

    hidden: Width = 256


DetectionHead: TypeAlias = FcosHead | RetinanetHead | SsdHead | FasterRcnnHead | QueriesHead

Head: TypeAlias = LinearHead | MlpHead | ClassicHead | DetectionHead
