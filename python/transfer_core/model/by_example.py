"""Stored training examples that are near to an input, or influence its prediction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from io import BytesIO
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from PIL import Image

from transfer_core.data import Dataset, Input
from transfer_core.heads import Head
from transfer_core.heads.gallery import Gallery
from transfer_core.heads.influence import Fitted, influences, slope_of
from transfer_core.heads.novelty import transformed
from transfer_core.heads.rehearsal import Rehearsal
from transfer_core.model.explaining import check_one
from transfer_core.model.restore import Misfit, use_of
from transfer_core.report.thumbnails import SMALL
from transfer_core.runtime.errors import Problem, RecipeError
from transfer_core.tasks import PooledTask
from transfer_core.tasks.criteria import CLASSES, LABELS, VALUES, Array

if TYPE_CHECKING:
    from transfer_core.model.inference import Inference

# A class, labels, a value, or values by name.
Truth: TypeAlias = str | list[str] | float | dict[str, float]


@dataclass(frozen=True)
class Similar:
    """A training example near to an input.

    Attributes
    ----------
    distance
        Euclidean, between the embeddings as the novelty detector compares them: of images and texts 0 to 2.
    label
        Its label in the training data: a class, a list of labels, a value, or values by name.
    name
        The end of the path of an image, unescaped; None of others, or if it is not stored.
    text
        The beginning of a text or row; None of images, or if it is not stored.
    thumbnail
        A JPEG of at most 64 × 64 pixels of an image; None of others, or if it is not stored.
    """

    distance: float
    label: Truth
    name: str | None = None
    text: str | None = None
    thumbnail: bytes | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return all attributes as plain data."""
        return asdict(self)


@dataclass(frozen=True)
class Influential:
    """A training example that influences a prediction.

    Attributes
    ----------
    influence
        Estimated change of the log probability of the predicted class or label, or of the predicted value, by
        having the example in the training.
    label, name, text, thumbnail
        See `Similar`.
    """

    influence: float
    label: Truth
    name: str | None = None
    text: str | None = None
    thumbnail: bytes | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return all attributes as plain data."""
        return asdict(self)


def similar(model: Inference, input: Input, count: int) -> list[Similar]:
    """The nearest training examples; see `Model.similar`."""
    check_one(model, input)
    stored = _stored(model, count)
    embedding = np.asarray(model.compute_all([partial(model.load, 0, input, 1)]))
    with use_of(model.path):
        distances = _distances(stored, embedding)
        nearest = np.argsort(distances, kind="stable")[:count].tolist()
        return [Similar(float(distances[row]), **_shown(model, stored, row)) for row in nearest]


def influential(model: Inference, input: Input, count: int) -> list[Influential]:
    """The training examples of the largest influence; see `Model.influential`."""
    check_one(model, input)
    stored = _stored(model, count)
    if not isinstance(stored, Gallery) or not len(stored.penalty):
        message = (
            "influences are of linear heads on a frozen backbone, fitted by L-BFGS on examples of equal "
            'weight; this model has another head. Try: "similar"'
        )
        raise RecipeError([Problem("input", message)])
    embedding = np.asarray(model.compute_all([partial(model.load, 0, input, 1)]))
    with use_of(model.path), np.errstate(all="ignore"):
        found = _influences(model, stored, embedding)
        if not np.isfinite(found).all():
            raise Misfit("its influences are not finite numbers")
        largest = np.argsort(-np.abs(found), kind="stable")[:count].tolist()
        return [Influential(float(found[row]), **_shown(model, stored, row)) for row in largest]


def _influences(model: Inference, stored: Gallery, embedding: Array) -> Array:
    """Influences (M,) on the prediction for an embedding (1, D)."""
    task, head, state = model.task, model.head, model.state
    assert isinstance(task, PooledTask)
    assert isinstance(head, Head)
    examples = stored.examples.astype(np.float32)
    outputs, own = head(examples).astype(np.float64), head(embedding)[0].astype(np.float64)
    names = ("",) * len(examples)
    targets = task.targets(Dataset(names, names, stored.targets), state)
    fitted = Fitted(
        examples.astype(np.float64),
        targets,
        outputs,
        stored.penalty.astype(np.float64),
        max(int(stored.counts[0]), len(examples)),
        task.criterion,
    )
    layout = task.criterion.layout
    slope = slope_of(layout, own, 0 if layout == VALUES else int(own.argmax()))
    if layout == VALUES:
        zero, one = task.decode(np.array([[0.0], [1.0]]).repeat(len(own), 1), state)
        slope *= one - zero
    return influences(fitted, embedding[0], slope)


def _distances(stored: Rehearsal, embedding: Array) -> Array:
    """Distances (M,) float64 of an embedding (1, D) to the stored examples.

    Other than those of `Novelty.distances_to`, the distance of an example to itself is 0.
    """
    known, own = (transformed(rows, bool(stored.roots)) for rows in (stored.examples, embedding))
    with np.errstate(over="ignore"):
        found: Array = np.linalg.norm(known.astype(np.float64) - own, axis=1)
    if not np.isfinite(found).all():
        raise Misfit("its embeddings are too large to compare")
    return found


def _stored(model: Inference, count: int) -> Rehearsal:
    if count < 1:
        raise RecipeError([Problem("count", f"expected 1 or more (got {count})")])
    if isinstance(model.novelty, Rehearsal):
        return model.novelty
    message = (
        "the model has no stored examples: it was fine-tuned without validation examples, is a soup, or its "
        "task has no embeddings of whole inputs. Fix: train again with validation examples"
    )
    raise RecipeError([Problem("input", message)])


def _shown(model: Inference, stored: Rehearsal, row: int) -> dict[str, Any]:
    """Label, name or text, and thumbnail of a stored example."""
    label = _label(model, stored.targets[row])
    if not isinstance(stored, Gallery):
        return {"label": label}
    word = "name" if model.modality.name == "image" else "text"
    return {"label": label, word: stored.input(row), "thumbnail": _checked(stored.thumbnail(row))}


def _label(model: Inference, target: Array) -> Truth:
    labels: Sequence[str] = model.labels
    assert isinstance(model.task, PooledTask)
    layout = model.task.criterion.layout
    if layout == CLASSES:
        return labels[int(target)]
    if layout == LABELS:
        return [label for label, has in zip(labels, target.tolist(), strict=True) if has]
    values = np.atleast_1d(target).tolist()
    return float(values[0]) if len(values) == 1 else dict(zip(labels, map(float, values), strict=True))


def _checked(thumbnail: bytes | None) -> bytes | None:
    """A thumbnail of an untrusted file; raises `Misfit` if it is no small JPEG."""
    if thumbnail is not None:
        try:
            with Image.open(BytesIO(thumbnail), formats=["JPEG"]) as image:
                is_small = max(image.size) <= SMALL
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
            is_small = False
        if not is_small:
            raise Misfit(f"a thumbnail is no JPEG of at most {SMALL} × {SMALL} pixels")
    return thumbnail
