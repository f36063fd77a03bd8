"""Search the best recipe within a time budget: backbone, augmentation, head and depth of fine-tuning.

1. Rank backbones on a sample (`ranking`). 2. Fit heads on the frozen embeddings of the best ones.
3. Fine-tune the best of these, with options that Optuna's TPE sampler proposes (Akiba et al. 2019; Bergstra
et al. 2011); the other trials end here (successive halving, Jamieson and Talwalkar 2016).
4. Train the best recipe on all training examples, and evaluate it once on the test examples.

Every trial is a run of its own. It is measured on the validation part, and never sees the test part.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from dataclasses import replace as replaced
from time import monotonic
from typing import Any

from msgspec.structs import replace

from transfer_core.data import Row
from transfer_core.model.model import Model
from transfer_core.pipeline import five_steps
from transfer_core.pipeline.ranking import Ranking, rank_backbones
from transfer_core.recipe.augmentations import Crop, Flip
from transfer_core.recipe.heads import LinearHead, MlpHead
from transfer_core.recipe.schema import Recipe
from transfer_core.recipe.steps import Train, Unfreeze
from transfer_core.runtime.errors import Cancelled, DependencyError, Problem, RecipeError, TransferError
from transfer_core.runtime.progress import Event, Progress

# Backbones whose frozen heads are compared, and frozen trials that are fine-tuned.
_BACKBONES, _FINE_TUNED = 3, 2
# Seconds; less does not suffice for one trial.
_LEAST_BUDGET = 10.0
# Shares of the budget: for the ranking, and kept for the final training beyond the time of its trial.
_RANKING_SHARE, _RESERVE = 0.3, 1.5


@dataclass(frozen=True)
class Trial:
    """A recipe with its `loss` on the validation part, and the `seconds` and id of its run."""

    recipe: Recipe
    title: str
    loss: float
    seconds: float
    run: str


@dataclass
class Clock:
    """The time budget."""

    began: float
    budget: float

    @property
    def left(self) -> float:
        """Seconds until the budget is used up."""
        return self.began + self.budget - monotonic()

    @property
    def share(self) -> float:
        """The used share of the budget."""
        return min(1.0, 1 - self.left / self.budget)


def search(recipe: Recipe, streams: Mapping[str, Iterable[Row]], progress: Progress) -> Model:
    """Train the best model that is found within `recipe.budget` seconds; its backbone is `auto`.

    Raises
    ------
    RecipeError
        At `budget`, if it is too small for one trial; at `backbone`, if no backbone can be used.
    DependencyError
        Without Optuna.
    TransferError
        As a training does.
    """
    clock = Clock(monotonic(), recipe.budget or 600.0)
    if clock.budget < _LEAST_BUDGET:
        message = f"one trial takes about {_LEAST_BUDGET:.0f} s (got {clock.budget:g})"
        raise RecipeError([Problem("budget", message)])
    study = _study(recipe.seed)
    # Rows of a stream are read once per trial.
    kept = {name: list(rows) for name, rows in streams.items()}
    ranking = _ranked(recipe, kept, clock, progress)
    trials = _Trials(recipe, kept, clock, progress)
    for title, candidate in _frozen_candidates(recipe, ranking, clock):
        trials.run(title, candidate)
    frozen = trials.best(_FINE_TUNED)
    if not frozen:
        raise _too_small(clock, trials.needed)
    if _can_fine_tune(ranking):
        while trials.time_for_another():
            title, candidate, report = _proposal(study, frozen)
            report(trials.run(title, candidate))
    best = trials.best(1)[0]
    progress.stage("train", f"best of {len(trials.ended)} trials: {best.title}")
    return five_steps.run(replace(best.recipe, split=recipe.split), kept, progress)


def _ranked(recipe: Recipe, streams: Mapping[str, list[Row]], clock: Clock, progress: Progress) -> Ranking:
    """Rank the backbones on this machine; at least one, unless the whole budget is used up before.

    Raises
    ------
    RecipeError
        At `budget`, if no backbone was ranked in time; at `backbone`, if none can be used.
    """
    needed = [0.0]

    def emit(event: Event) -> None:
        if event["event"] == "progress" and event["step"] == "freeze" and event["done"]:
            needed[0] = (clock.budget - clock.left) * event["total"] / event["done"]
        progress.emit(event)

    def cancelled() -> bool:
        return progress.cancelled() or clock.left < 0

    watched = replaced(progress, emit=emit, cancelled=cancelled)
    try:
        return rank_backbones(recipe, None, None, clock.budget * _RANKING_SHARE, streams, watched)
    except Cancelled:
        progress.check()  # raises if the user cancelled, not the clock
        raise _too_small(clock, 3 * needed[0]) from None
    except RecipeError as error:
        renamed = {"among": "backbone"}
        problems = [Problem(renamed.get(one.path, one.path), one.message) for one in error.problems]
        raise RecipeError(problems) from None


def _too_small(clock: Clock, needed: float) -> RecipeError:
    """An error that states the seconds that are needed for one trial and the final training."""
    enough = max(needed, 2 * clock.budget)
    message = (
        f"no trial ends within {clock.budget:g} s on this data. Fix: budget: {math.ceil(enough)} or more"
    )
    return RecipeError([Problem("budget", message)])


class _Trials:
    """Runs trials while there is time, and keeps their results."""

    def __init__(
        self, recipe: Recipe, streams: Mapping[str, list[Row]], clock: Clock, progress: Progress
    ) -> None:
        self._split = replace(recipe.split, measure="valid")
        self._streams, self._clock, self._progress = streams, clock, progress
        self.ended: list[Trial] = []
        # Seconds of budget with which a trial that was stopped would have ended.
        self.needed = 0.0
        self._longest = 0.0

    def best(self, count: int) -> list[Trial]:
        """The trials with the lowest losses."""
        return sorted(self.ended, key=lambda trial: trial.loss)[:count]

    def time_for_another(self) -> bool:
        """Whether a trial as long as the longest so far leaves the time of the final training."""
        return self._clock.left > self._longest + self._reserve()

    def run(self, title: str, recipe: Recipe) -> float:
        """Run a trial; returns its loss, infinite if it failed or the time was up."""
        if self._clock.left < self._reserve():
            return math.inf
        self._progress.stage("train", f"trial {len(self.ended) + 1}: {title}")
        began, run = monotonic(), [""]
        try:
            model = five_steps.run(replace(recipe, split=self._split), self._streams, self._watched(run))
        except Cancelled:
            self._progress.check()  # raises if the user cancelled, not the clock
            return math.inf
        except TransferError as error:
            self._progress.warning(f"trial left out: {title}: {error}")
            return math.inf
        seconds = monotonic() - began
        self._longest = max(self._longest, seconds)
        loss = loss_of(model.metrics, model.task.main_metric)  # type: ignore[attr-defined]
        self.ended.append(Trial(recipe, title, loss, seconds, run[0]))
        return loss

    def _reserve(self) -> float:
        """Seconds of the final training of the best trial."""
        return _RESERVE * self.best(1)[0].seconds if self.ended else 0.0

    def _watched(self, run: list[str]) -> Progress:
        """Forward warnings, note the run, report the share of the budget, and stop when it is used up."""

        def emit(event: Event) -> None:
            if event["event"] == "run":
                run[0] = event["id"]
            if event["event"] in ("warning", "epoch", "progress"):
                self._progress.emit(event)
            if event["event"] == "overall" and event["seconds_left"] is not None:
                used = self._clock.budget - self._clock.left
                self.needed = used + (1 + _RESERVE) * event["seconds_left"]
            overall = {
                "event": "overall",
                "share": self._clock.share,
                "seconds_left": max(0.0, self._clock.left),
            }
            self._progress.emit(overall)

        def cancelled() -> bool:
            return self._progress.cancelled() or self._clock.left < self._reserve()

        return replaced(self._progress, emit=emit, cancelled=cancelled)


def loss_of(metrics: Mapping[str, Any], main_metric: str) -> float:
    """The log loss, which is finer than the accuracy; without one, 1 less the main metric."""
    return float(metrics["log_loss"]) if "log_loss" in metrics else 1 - float(metrics[main_metric])


def _frozen_candidates(recipe: Recipe, ranking: Ranking, clock: Clock) -> list[tuple[str, Recipe]]:
    """Recipes with a frozen backbone: a linear head on the best backbones; on the best also others.

    Raises
    ------
    RecipeError
        At `budget`, if no backbone embeds the data in the time that is left.
    """
    base = replace(recipe, budget=None, preset="fast", steps=(), train=Train())
    # The test part is embedded too, by the final training.
    inputs = ranking.examples / (1 - recipe.split.test) - ranking.sampled
    seconds = {entry.backbone: inputs * (entry.seconds_per_input or 0) for entry in ranking.backbones}
    names = [name for name, needed in seconds.items() if needed < clock.left][:_BACKBONES]
    if not names:
        raise _too_small(clock, clock.budget - clock.left + 2 * min(seconds.values()))
    first = replace(base, backbone=names[0])
    found = [(f"{name}, linear head", replace(base, backbone=name)) for name in names]
    found.append((f"{names[0]}, mlp head", replace(first, head=MlpHead())))
    if ranking.modality == "image":
        augment = (Crop(min_scale=0.8), Flip())
        found.append((f"{names[0]}, linear head, crops and flips", replace(first, augment=augment)))
    return found


def _can_fine_tune(ranking: Ranking) -> bool:
    return ranking.modality != "table"


def _proposal(study: Any, frozen: Sequence[Trial]) -> tuple[str, Recipe, Callable[[float], None]]:
    """A recipe that fine-tunes one of the `frozen` trials, and the function that reports its loss."""
    trial = study.ask()
    base = frozen[trial.suggest_categorical("trial", list(range(len(frozen))))]
    last = trial.suggest_categorical("last", [1, 2, 4, 8])
    rate = trial.suggest_float("learning_rate", 1e-5, 1e-3, log=True)
    epochs = trial.suggest_categorical("epochs", [3, 6, 12])
    flips = trial.suggest_categorical("flips", [False, True])
    recipe = base.recipe
    steps = (Train(), Unfreeze(last=last), Train(epochs=epochs, learning_rate=rate, early_stopping=3))
    head = recipe.head if isinstance(recipe.head, LinearHead | MlpHead) else None
    augment = (Crop(min_scale=0.8), Flip()) if flips else ()
    changed = replace(recipe, steps=steps, head=head, augment=augment)
    title = f"{recipe.backbone}, last {last} blocks, rate {rate:.1g}, {epochs} epochs"

    def report(loss: float) -> None:
        if math.isfinite(loss):
            study.tell(trial, loss)
        else:
            study.tell(trial, state=_failed())

    return title, changed, report


def _failed() -> Any:
    from optuna.trial import TrialState

    return TrialState.FAIL


def _study(seed: int) -> Any:
    try:
        import optuna
    except ImportError:
        raise DependencyError("backbone auto", "optuna", "search") from None
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna.create_study(sampler=optuna.samplers.TPESampler(seed=seed, n_startup_trials=4))
