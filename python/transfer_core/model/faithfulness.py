"""Measure whether the explanations of a model are faithful to its predictions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from PIL import Image, ImageFilter

from transfer_core.data import Input
from transfer_core.explain.case import Attribution, Case
from transfer_core.explain.methods import attribute
from transfer_core.heads.dense import DenseHead
from transfer_core.model.explaining import case_of, enlarged
from transfer_core.model.restore import use_of
from transfer_core.runtime.errors import Problem, RecipeError
from transfer_core.tasks import PooledTask
from transfer_core.tasks.criteria import VALUES, Array

if TYPE_CHECKING:
    from transfer_core.model.inference import Inference
    from transfer_core.model.pooled_predictor import PooledPredictor

# Cells of a random map per side, and pixels of the blur of hidden places.
_CELLS, _BLUR = 7, 12
_MOST = 10_000


@dataclass(frozen=True)
class Faithfulness:
    """Mean measures of explanations over some inputs.

    Attributes
    ----------
    method
        The method that explained.
    inputs
        Number of inputs.
    deletion, insertion
        Mean probability of the predicted label while parts are removed, or added, the most important first
        (Petsiuk et al. 2018): a faithful map has a low deletion and a high insertion.
    random_deletion, random_insertion
        The same in a random order.
    randomized
        The mean correlation of a map with that of a head whose weights are shuffled (Adebayo et al. 2018):
        near 1, the map does not depend on the head. None for methods without gradients.
    """

    method: str
    inputs: int
    deletion: float
    random_deletion: float
    insertion: float
    random_insertion: float
    randomized: float | None

    @property
    def better_than_random(self) -> bool:
        """Whether both deletion and insertion are better than in a random order."""
        return self.deletion < self.random_deletion and self.insertion > self.random_insertion

    def to_dict(self) -> dict[str, Any]:
        """Convert to plain data."""
        return {**asdict(self), "better_than_random": self.better_than_random}


def faithfulness(
    model: Inference, inputs: Iterable[Input], method: str, most: int, steps: int, seed: int
) -> Faithfulness:
    """See `Model.faithfulness`."""
    if not isinstance(model.task, PooledTask) or model.task.criterion.layout == VALUES:
        supported = "classification and multi_label"
        raise RecipeError(
            [Problem("", f"faithfulness is measured for {supported}, this is {model.task.name}")]
        )
    if model.modality.name == "table":
        raise RecipeError(
            [Problem("", "faithfulness is measured for images and texts, this model takes rows")]
        )
    for word, value, least in (("most", most, 1), ("steps", steps, 1), ("seed", seed, 0)):
        if value < least:
            raise RecipeError([Problem(word, f"expected {least} or more (got {value})")])
    rng = np.random.default_rng(seed)
    rows, correlations, used = [], [], ""
    for input in islice(inputs, min(most, _MOST)):
        loaded = model.load(0, input, 1)
        outputs = cast(Any, model.head)(_embeddings(model, [loaded]))[0]
        place = int(outputs.argmax())
        case = case_of(model, input, loaded, np.eye(len(outputs))[place], 0.0)
        with use_of(model.path):
            used, found = attribute(case, method)
        importance = _importance(found, loaded)
        chance = _importance(found, loaded, rng)
        views = [loaded]
        for order in (importance, chance):
            views += [*_reduced(loaded, order, steps, True), *_reduced(loaded, order, steps, False)]
        predictor = cast("PooledPredictor", model.predictor)
        shares = predictor.values(_embeddings(model, views))[:, place]
        rows.append([part.mean() for part in shares[1:].reshape(4, steps)])
        if (shuffled := _shuffled(case, rng)) is not None and used not in ("occlusion", "rise"):
            with use_of(model.path):
                other = _importance(attribute(shuffled, used)[1], loaded)
            correlations.append(_correlation(importance, other))
    if not rows:
        raise RecipeError([Problem("inputs", "expected one or more inputs, got none")])
    deletion, insertion, random_deletion, random_insertion = np.mean(rows, axis=0).tolist()
    randomized = float(np.mean(correlations)) if correlations else None
    measures = deletion, random_deletion, insertion, random_insertion
    return Faithfulness(used, len(rows), *measures, randomized)


def _embeddings(model: Inference, loaded: Sequence[Any]) -> Array:
    return np.asarray(model.compute_all([partial(_same, one) for one in loaded]))


def _same(loaded: Any) -> Any:
    return loaded


def _importance(found: Attribution, loaded: Any, random: np.random.Generator | None = None) -> Array:
    """The contribution of each pixel (H, W) or word (L,); with `random` as smooth, but without meaning."""
    if found.heatmap is not None:
        heatmap = found.heatmap if random is None else random.random((_CELLS, _CELLS))
        return enlarged(heatmap, loaded.shape[:2])
    if found.tokens is None or not isinstance(loaded, str):
        raise RecipeError([Problem("", "faithfulness is measured for images and single texts")])
    words = _words(loaded)
    if random is not None:
        return random.random(len(words))
    scores = np.zeros(len(words))
    # The pieces of the explanation are in order, some words are of several, as "it's"; others are cut off.
    ends, reached = np.cumsum([len(word) for word in words]), 0
    for text, score in found.tokens:
        at = min(int(np.searchsorted(ends, reached, side="right")), len(words) - 1)
        scores[at] += score
        reached += len("".join(text.split()))
    return scores


def _words(text: str) -> list[str]:
    return text.split() or [text]


def _reduced(loaded: Any, importance: Array, steps: int, delete: bool) -> Iterator[Any]:
    """The input with growing shares of its parts removed, or shown, the most important first."""
    order = np.argsort(-importance, axis=None, kind="stable")
    for step in range(1, steps + 1):
        chosen = order[: max(1, round(len(order) * step / (steps + 1)))]
        mask = np.zeros(importance.size, bool)
        mask[chosen] = True
        shown = ~mask if delete else mask
        if isinstance(loaded, str):
            words = _words(loaded)
            kept = [word for word, keep in zip(words, shown, strict=True) if keep]
            yield " ".join(kept) or words[order[-1]]
            continue
        hidden = np.asarray(Image.fromarray(loaded).filter(ImageFilter.GaussianBlur(_BLUR)))
        yield np.where(shown.reshape(importance.shape)[..., None], loaded, hidden)


def _shuffled(case: Case, rng: np.random.Generator) -> Case | None:
    """The case with the weights of its head shuffled; None for other heads than dense layers."""
    if not isinstance(case.head, DenseHead):
        return None
    arrays = {name: rng.permutation(a.ravel()).reshape(a.shape) for name, a in case.head.state_dict().items()}
    return replace(case, head=DenseHead(arrays))


def _correlation(one: Array, other: Array) -> float:
    """Pearson's correlation; 0 if one of both is constant."""
    if not (np.ptp(one) and np.ptp(other)):
        return 0.0
    return float(np.corrcoef(one.ravel(), other.ravel())[0, 1])
