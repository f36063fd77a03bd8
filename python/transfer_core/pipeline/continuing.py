"""Continue the training of a saved model: new examples and labels beside its stored ones (rehearsal).

The backbone keeps the weights of the model, fine-tuned ones too: training it further would make the stored
embeddings those of another network.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace as replaced
from pathlib import Path
from typing import Any

import numpy as np
from msgspec.structs import replace

from transfer_core.data import Dataset, Row, emit_data_warnings, read_splits
from transfer_core.data.known import Known
from transfer_core.heads.rehearsal import Rehearsal
from transfer_core.metrics.paired import gain_p_value
from transfer_core.model.loading import load_model
from transfer_core.model.model import Model
from transfer_core.model.pooled_predictor import PooledPredictor
from transfer_core.pipeline.artifacts import Chosen, Frozen
from transfer_core.pipeline.freezing import embed_all
from transfer_core.plan.phases import phases
from transfer_core.plan.plan import Plan
from transfer_core.recipe.heads import CosineHead, LinearHead
from transfer_core.recipe.schema import Columns, Recipe
from transfer_core.recipe.steps import Freeze, Train
from transfer_core.runtime.devices import Machine, choose_device
from transfer_core.runtime.errors import Problem, RecipeError
from transfer_core.runtime.progress import Progress
from transfer_core.tasks import PooledTask
from transfer_core.tasks.criteria import Array

# Words of a recipe that the model decides.
_OF_MODEL = (
    *("weights", "head", "steps", "augment", "train", "preset", "image_size", "text", "languages"),
    *("generation", "adapt", "weigh", "source", "unlabelled", "map_labels", "budget", "distill"),
    *("regularize", "reuse", "processes"),
)
# Words of a recipe that a continued training takes.
_TAKEN = ("data", "corrections", "start", "split", "seed", "device", "precision", "on_bad_input")
# Words of the first training that the continued one has without values.
_RESET = (
    *("source", "unlabelled", "map_labels", "adapt", "weigh", "budget", "preset", "distill"),
    *("regularize", "reuse", "processes"),
)
_SIGNIFICANT = 0.05


def check_words(recipe: Recipe) -> None:
    """Raise `RecipeError` for words that the model in `from` decides."""
    defaults = Recipe(data=recipe.data, backbone="auto")
    given = [word for word in _OF_MODEL if getattr(recipe, word) != getattr(defaults, word)]
    if given:
        raise RecipeError(
            [Problem(word, "is that of the model in from. Fix: leave it out") for word in given]
        )


def choose_from(
    recipe: Recipe, streams: Mapping[str, Iterable[Row]], spool: Path, progress: Progress
) -> Chosen:
    """Step 1 of a continued training: the backbone and the head of a saved model, and the new data.

    Raises
    ------
    RecipeError
        At `from`, if the model has no stored examples; for another backbone or task.
    DataError
        If the data can't be used, contradicts labels of the model's examples, or has nothing new.
    """
    assert recipe.start
    progress.stage("choose", f"continue the training of {Path(recipe.start).name}")
    base = load_model(recipe.start, progress, recipe.trust)
    task = base.task
    for word, found in (("backbone", base.header.backbone.name), ("task", task.name)):
        if (given := getattr(recipe, word)) not in ("auto", found):
            message = f"is {found} of the model in from (got {given}). Fix: leave it out"
            raise RecipeError([Problem(word, message)])
    if not isinstance(task, PooledTask) or not isinstance(base.novelty, Rehearsal):
        message = (
            "the model has no stored examples: it was fine-tuned without validation examples, or its task "
        )
        message += "has no embeddings of whole inputs. Fix: train with all data"
        raise RecipeError([Problem("from", message)])
    plan = _plan(base, recipe, task)
    splits = read_splits(
        plan.recipe, base.modality, lambda *_: (task, None), streams, spool, progress, _known(base)
    )
    machine = Machine(choose_device(plan.recipe.device), plan.recipe.precision)
    return Chosen(plan, base.backbone, splits, machine, base=base)


def _plan(base: Model, given: Recipe, task: PooledTask[Any]) -> Plan:
    """The recipe of the model up to the fit of its head, with the new data."""
    before = base.recipe
    train = next(step for step in before.steps if isinstance(step, Train))
    head = before.head
    is_few_shot = isinstance(head, CosineHead)
    if is_few_shot:
        head, train = LinearHead(), replace(train, optimizer="lbfgs")
    plain = Recipe(data=given.data, backbone=before.backbone)
    recipe = replace(
        before,
        **{word: getattr(given, word) for word in _TAKEN},
        **{word: getattr(plain, word) for word in _RESET},
        keep_examples=given.keep_examples and before.keep_examples,
        columns=given.columns if given.columns != Columns() else before.columns,
        head=head,
        augment=(),
        steps=(Freeze(), train),
    )
    (phase,) = phases(recipe, base.backbone.facts.blocks)
    return Plan(recipe, task, (phase,), proposes_head=is_few_shot)


def _known(base: Model) -> Known:
    stored = _stored(base)
    targets: dict[str, Any] = dict.fromkeys(_hex(stored.held_out_digests))
    targets |= dict(zip(_hex(stored.digests), stored.targets, strict=True))
    return Known(base.labels, targets, base.header.columns)


def freeze_with_stored(chosen: Chosen, progress: Progress) -> Frozen:
    """Step 2 of a continued training: embed the new examples, and join the stored ones.

    A stored example weighs as much as the examples of the model's training that it stands for.
    """
    assert chosen.base
    frozen, stored = embed_all(chosen, progress), _stored(chosen.base)
    known, splits = _known(chosen.base), frozen.splits
    train = _dataset(known.remapped(stored.targets, splits.labels), stored.digests)
    test = _dataset(
        known.remapped(stored.held_out_targets, splits.labels),
        stored.held_out_digests[: len(stored.held_out)],
    )
    splits = replaced(splits, train=train.joined(splits.train), test=test.joined(splits.test))
    assert frozen.test is not None
    weights = np.ones(len(splits.train) + len(splits.valid), np.float32)
    weights[: len(train)] = stored.weight
    joined = replaced(
        frozen,
        splits=splits,
        state=frozen.task.fit(splits.labels, splits.train),
        train=np.concatenate([stored.examples.astype(np.float32), frozen.train]),
        test=np.concatenate([stored.held_out.astype(np.float32), frozen.test]),
        importance=weights / weights.mean(),
    )
    emit_data_warnings(splits, joined.plan.recipe, progress)
    return joined


def kept_metrics(draft: Model, frozen: Frozen, progress: Progress) -> dict[str, Any]:
    """`kept`: the main metric on the test examples of the first training, `before` and `after`.

    Empty without such examples. A significant loss is a warning: a one-sided paired test at 5 %.
    """
    if frozen.base is None or not len(_stored(frozen.base).held_out):
        return {}
    base, task = frozen.base, frozen.task
    rows, truth = _stored(base).held_out.astype(np.float32), _stored(base).held_out_targets
    now = _known(base).remapped(truth, draft.labels)
    old, new = base.predictor, draft.predictor
    assert isinstance(old, PooledPredictor)
    assert isinstance(new, PooledPredictor)
    name = task.main_metric
    digests = _stored(base).held_out_digests[: len(rows)]
    before = old.score(rows, _dataset(truth, digests))[name]
    after = new.score(rows, _dataset(now, digests))[name]
    p_value = gain_p_value(_losses(draft, rows, now, task), _losses(base, rows, truth, task))
    if p_value <= _SIGNIFICANT and after < before:
        progress.warning(
            f"{name} on the test examples of the first training fell from {before:.3f} to {after:.3f}. "
            "Try: more examples of the labels that are confused, or a training with all data"
        )
    return {"kept": {"metric": name, "examples": len(rows), "before": before, "after": after}}


def _losses(model: Model, embeddings: Array, targets: Array, task: PooledTask[Any]) -> Array:
    """A number for each example, the lower, the better."""
    predictor = model.predictor
    assert isinstance(predictor, PooledPredictor)
    _, scores, lower = task.example_scores(predictor.values(embeddings), targets, model.labels, model.state)
    return np.asarray(scores if lower else -scores, np.float64)


def _stored(base: Model) -> Rehearsal:
    assert isinstance(base.novelty, Rehearsal)
    return base.novelty


def _dataset(targets: Array, digests: Array) -> Dataset:
    """Stored examples, whose inputs are not stored."""
    names = tuple(_hex(digests))
    return Dataset(names, names, targets)


def _hex(digests: Array) -> list[str]:
    return [row.tobytes().hex() for row in digests]
