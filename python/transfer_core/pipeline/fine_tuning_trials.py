"""Trials of a search that fine-tune a backbone: proposed by Optuna, and run only if their estimate fits."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from dataclasses import replace as replaced
from time import monotonic
from typing import TYPE_CHECKING, Any, Protocol

from msgspec.structs import replace

from transfer_core.backbones.facts import BackboneFacts
from transfer_core.data import Row
from transfer_core.distributed.trials import at_once, map_tasks
from transfer_core.heads import Head
from transfer_core.metrics.paired import gain_p_value
from transfer_core.model.model import Model
from transfer_core.model.pooled_predictor import PooledPredictor
from transfer_core.pipeline import five_steps
from transfer_core.pipeline.artifacts import Frozen
from transfer_core.pipeline.estimate import estimate
from transfer_core.pipeline.frozen_trials import Trial, losses_of
from transfer_core.pipeline.gain import SIGNIFICANT
from transfer_core.plan.presets import ENOUGH_TO_COMPARE
from transfer_core.recipe.augmentations import Crop, Flip
from transfer_core.recipe.schema import Recipe
from transfer_core.recipe.steps import Train, Unfreeze
from transfer_core.runtime.errors import Cancelled, TransferError
from transfer_core.runtime.progress import Event, Progress
from transfer_core.tasks.criteria import VALUES, Array

if TYPE_CHECKING:
    import optuna

# Backbones that are fine-tuned, and the most epochs.
_BACKBONES, _MOST_EPOCHS = 2, 12
# The time of a trial beside its estimate, which a busy machine exceeds; fewer epochs gain nothing.
_CAUTION, _FEWEST_EPOCHS = 1.3, 2
# Seconds that are not enough for an estimate and a trial.
_LEAST = 20.0


class Clock(Protocol):
    """See `search.Clock`."""

    @property
    def left(self) -> float: ...  # noqa: D102


@dataclass(frozen=True)
class FineTuned:
    """A configuration that fine-tunes, with its mean `loss` on the validation part and its estimated time."""

    title: str
    recipe: Recipe
    loss: float
    seconds: float


def best_fine_tuned(
    best: Trial,
    singles: Sequence[Trial],
    streams: Mapping[str, list[Row]],
    clock: Clock,
    progress: Progress,
) -> tuple[FineTuned | None, int]:
    """Fine-tune while there is time; the best trial, if its loss is significantly below that of `best`.

    Both are compared on the validation part: `best` by its out-of-fold losses, and the trials, which are
    trained on the training part alone, by those of their models.

    Parameters
    ----------
    best
        The best trial on frozen embeddings.
    singles
        Trials of one backbone, the best first, whose backbones are fine-tuned.
    streams
        Rows by name.
    clock
        The time that is left.
    progress
        Progress events and cancellation.

    Returns
    -------
    The best trial, or None, and the number of trials.
    """
    frozen = best.embedded.frozen
    before = best.by_example()[len(frozen.train) :]
    bases = [
        (one.recipe, one.embedded.frozen.backbone.facts)
        for one in singles
        if one.embedded.frozen.backbone.facts.trainable
    ][:_BACKBONES]
    if not bases or len(before) < ENOUGH_TO_COMPARE or not all(map(math.isfinite, before)):
        return None, 0
    # Without embeddings and network, which a task on another node does not need.
    measured = replaced(frozen, train=before[:0], valid=before[:0], backbone=None)  # type: ignore[arg-type]
    study, estimates = new_study(frozen.plan.recipe.seed), _Estimates(streams, clock, progress)
    found, count = None, 0
    while clock.left > _LEAST:
        # On a cluster several trials run at once; they are compared in the order of their proposals.
        proposals, trials = [study.ask() for _ in range(at_once())], []
        for proposal in proposals:
            title, recipe = _proposed(proposal, bases)
            # The time that is left also suffices for the final training, of this trial or of the best one.
            share = min(clock.left / 2, clock.left - (found.seconds if found else 0))
            epochs, needed = estimates.affordable(recipe, share / _CAUTION)
            if epochs < _FEWEST_EPOCHS:
                return found, count
            progress.stage("train", f"trial: {title}, {epochs} epochs")
            recipe = _with_epochs(recipe, epochs)
            trials.append(_Trial(title, recipe, measured, streams, share, needed * _CAUTION))
        for proposal, trial, losses in zip(
            proposals, trials, map_tasks(_losses, trials, progress), strict=True
        ):
            if losses is None:
                progress.check()  # raises if the user cancelled, not the clock
                return found, count
            loss, count = float(losses.mean()), count + 1
            study.tell(proposal, loss)
            better = loss < (found.loss if found else math.inf)
            if better and gain_p_value(before, losses, trial.recipe.seed) <= SIGNIFICANT:
                found = FineTuned(trial.title, trial.recipe, loss, trial.needed)
    return found, count


@dataclass(frozen=True)
class _Trial:
    """A recipe that is measured on the validation part of `frozen`, within `seconds`; `needed` is its
    estimate."""

    title: str
    recipe: Recipe
    frozen: Frozen
    streams: Mapping[str, list[Row]]
    seconds: float
    needed: float


def new_study(seed: int) -> optuna.Study:
    """Optuna's study."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna.create_study(sampler=optuna.samplers.TPESampler(seed=seed, n_startup_trials=4))


def _proposed(proposal: optuna.Trial, bases: Sequence[tuple[Recipe, BackboneFacts]]) -> tuple[str, Recipe]:
    base, facts = bases[proposal.suggest_categorical("backbone", list(range(len(bases))))]
    last = min(proposal.suggest_categorical("last", [1, 2, 4, 8]), len(facts.blocks))
    rate = proposal.suggest_float("learning_rate", 1e-5, 1e-3, log=True)
    flips = facts.modality == "image" and proposal.suggest_categorical("flips", [False, True])
    train = Train(epochs=_MOST_EPOCHS, learning_rate=rate, early_stopping=3)
    augment = (Crop(min_scale=0.8), Flip()) if flips else ()
    steps = (Train(), Unfreeze(last=last), train)
    return f"{base.backbone}, last {last} blocks, rate {rate:.1g}", replace(
        base, steps=steps, augment=augment
    )


def _with_epochs(recipe: Recipe, epochs: int) -> Recipe:
    *first, last = recipe.steps
    assert isinstance(last, Train)
    return replace(recipe, steps=(*first, replace(last, epochs=epochs)))


class _Estimates:
    """Estimated seconds by backbone and depth, as (all but the epochs, one epoch)."""

    def __init__(self, streams: Mapping[str, list[Row]], clock: Clock, progress: Progress) -> None:
        self._streams, self._clock, self._progress = streams, clock, progress
        self._known: dict[Any, tuple[float, float]] = {}

    def affordable(self, recipe: Recipe, seconds: float) -> tuple[int, float]:
        """The number of epochs of a training that fits into `seconds`, and the time of the training."""
        key = recipe.backbone, recipe.steps[1], bool(recipe.augment)
        try:
            if key not in self._known:
                watched = _watched(self._clock.left, self._progress)
                quiet = Progress(cancelled=watched.cancelled)
                found = estimate(recipe, self._streams, quiet)
                tuning = sum(step.seconds for step in found.steps if step.step == "fine_tune")
                self._known[key] = found.seconds - tuning, tuning / _MOST_EPOCHS
        except Cancelled:
            self._progress.check()
            return 0, 0.0
        except TransferError as error:
            self._progress.warning(f"trial left out: {recipe.backbone}: {error}")
            return 0, 0.0
        fixed, epoch = self._known[key]
        epochs = max(0, min(_MOST_EPOCHS, int((seconds - fixed) / max(epoch, 1e-3))))
        return epochs, fixed + epochs * epoch


def _losses(trial: _Trial, progress: Progress) -> Array | None:
    """Losses (M,) on the validation examples of a run; None if it failed or the time was up."""
    recipe, watched = trial.recipe, _watched(trial.seconds, progress)
    try:
        split = replace(recipe.split, measure="valid")
        model = five_steps.run(replace(recipe, split=split), trial.streams, watched)
        return _measured(model, trial.frozen, watched)
    except Cancelled:
        return None
    except TransferError as error:
        progress.warning(f"trial left out: {recipe.backbone}: {error}")
        return None


def _measured(model: Model, frozen: Frozen, progress: Progress) -> Array:
    predictor, task, valid = model.predictor, frozen.task, frozen.splits.valid
    assert isinstance(predictor, PooledPredictor)
    assert isinstance(model.head, Head)
    embeddings, _ = predictor.embed_readable(valid, "raise", progress)
    targets = task.targets(valid, frozen.state)
    if task.criterion.layout != VALUES:
        return losses_of(frozen, model.head(embeddings), targets)
    # In the units of `frozen`: the model has a scale of its own.
    values = predictor.values(embeddings).astype(valid.targets.dtype).reshape(valid.targets.shape)
    return losses_of(frozen, task.targets(replaced(valid, targets=values), frozen.state), targets)


def _watched(seconds: float, progress: Progress) -> Progress:
    """Forward epochs and progress, and stop after `seconds`; the warnings of a trial are in its model."""
    deadline = monotonic() + seconds

    def emit(event: Event) -> None:
        if event["event"] in ("epoch", "progress"):
            progress.emit(event)

    def cancelled() -> bool:
        return progress.cancelled() or monotonic() > deadline

    return replaced(progress, emit=emit, cancelled=cancelled)
