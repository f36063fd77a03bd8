"""Search the best recipe within a time budget: backbones, head and depth of fine-tuning.

1. Cross-validate the default recipe, then a head on the frozen embeddings of every other backbone that there
is time for, of several concatenated, and other heads (`frozen_trials`). Of many examples, a ranking on a
sample decides which backbones embed all.
2. Repeat the cross-validation of the best ones, and choose: the default, unless the best has a lower loss by
more than its standard error.
3. Fine-tune, where an estimate fits into the time that is left, with options that Optuna's TPE sampler
proposes (Akiba et al. 2019; Bergstra et al. 2011). Such a trial is a run of its own.
4. Train the best recipe on all training examples, and evaluate it once on the test examples, whose labels no
trial has used.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from dataclasses import replace as replaced
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np
from msgspec.structs import replace

from transfer_core.data import Row
from transfer_core.data.modality_of_source import modality_of
from transfer_core.model.model import Model
from transfer_core.pipeline import five_steps
from transfer_core.pipeline.candidates import Candidate, candidates_for
from transfer_core.pipeline.fine_tuning_trials import best_fine_tuned
from transfer_core.pipeline.frozen_trials import (
    Embedded,
    Trial,
    embed_split,
    joined_trial,
    other_heads,
    repeated,
    run_trial,
)
from transfer_core.pipeline.ranking import SAMPLE, rank_backbones
from transfer_core.recipe.heads import ClassicHead
from transfer_core.recipe.schema import Recipe
from transfer_core.recipe.steps import Train
from transfer_core.runtime.errors import Cancelled, DependencyError, Problem, RecipeError, TransferError
from transfer_core.runtime.progress import Event, Progress
from transfer_core.runtime.temp_dir import spool_folder

# Examples up to which every backbone embeds all of them, without a ranking on a sample.
_FEW = 2 * SAMPLE
# Trials that are repeated, and further repetitions.
_FINALISTS, _REPETITIONS = 4, 2
# The final training: seconds, and its part that grows with the fit of a head.
_FINAL, _FITS = 3.0, 3.0


@dataclass
class Clock:
    """The time budget; `reserve` seconds are kept for the final training."""

    began: float
    budget: float
    reserve: float = 0.0

    @property
    def left(self) -> float:
        """Seconds until the final training must begin."""
        return self.began + self.budget - self.reserve - monotonic()

    @property
    def used(self) -> float:
        """Seconds since the beginning."""
        return monotonic() - self.began


def search(recipe: Recipe, streams: Mapping[str, Iterable[Row]], progress: Progress) -> Model:
    """Train the best model that is found within `recipe.budget` seconds; its backbone is `auto`.

    Raises
    ------
    RecipeError
        At `budget`, if it is too small for the default recipe; at `backbone`, if no backbone can be used.
    DependencyError
        Without Optuna.
    TransferError
        As a training does.
    """
    clock = Clock(monotonic(), recipe.budget or 600.0)
    check_optuna()
    # Rows of a stream are read once per backbone.
    kept = {name: list(rows) for name, rows in streams.items()}
    base = replace(recipe, budget=None, preset="fast", steps=(), train=Train())
    with spool_folder() as spool:
        searching = _Search(base, kept, spool, clock, progress)
        best = searching.best_frozen()
        tuned, more = best_fine_tuned(best, searching.singles(), kept, clock, progress)
    chosen = tuned or best
    progress.stage("train", f"best of {searching.count + more} trials: {chosen.title}")
    return five_steps.run(chosen.recipe, kept, progress)


def check_optuna() -> None:
    """Raise `DependencyError` without Optuna, before any work."""
    from importlib.util import find_spec

    if find_spec("optuna") is None:
        raise DependencyError("backbone auto", "optuna", "search")


class _Search:
    """Trials on frozen embeddings, as many as there is time for."""

    def __init__(
        self, base: Recipe, streams: Mapping[str, list[Row]], spool: Path, clock: Clock, progress: Progress
    ) -> None:
        self._base, self._streams, self._spool = base, streams, spool
        self._clock, self._progress = clock, progress
        self._trials: list[Trial] = []

    @property
    def count(self) -> int:
        """Number of trials."""
        return len(self._trials)

    def singles(self) -> list[Trial]:
        """Trials of one backbone with the default head, the best first."""
        found = [t for t in self._trials if len(t.embedded.names) == 1 and t.recipe.head is None]
        return sorted(found, key=lambda trial: trial.loss)

    def best_frozen(self) -> Trial:
        """The trial with the lowest cross-validated loss, or the default."""
        candidates = self._candidates()
        default = self._default(candidates[0])
        try:
            for candidate in self._affordable(candidates[1:], default):
                self._single(candidate)
            best = min(self._trials, key=lambda trial: trial.loss)
            for head in other_heads(best.embedded):
                self._head(best.embedded, head)
            self._repeat()
        except Cancelled:
            self._progress.check()  # raises if the user cancelled, not the clock
        default, *others = self._trials
        most = max((trial.losses.shape[1] for trial in others), default=0)
        finalists = [trial for trial in others if trial.losses.shape[1] == most]
        return chosen_beside(default, min(finalists, key=lambda trial: trial.loss, default=default))

    def _candidates(self) -> list[Candidate]:
        try:
            return candidates_for(modality_of(self._base.data, self._base.columns, self._streams))
        except RecipeError as error:
            raise _at_backbone(error) from None

    def _default(self, candidate: Candidate) -> Trial:
        """The trial of the default recipe.

        Raises
        ------
        RecipeError
            At `budget`, if it does not end in time.
        """
        needed = [0.0]

        def emit(event: Event) -> None:
            if event["event"] == "progress" and event["step"] == "freeze" and event["done"]:
                needed[0] = self._clock.used * event["total"] / event["done"]
            self._progress.emit(event)

        self._clock.reserve = _FINAL
        try:
            watched = replaced(self._watched(), emit=emit)
            embedded = self._embedded(candidate, None, watched)
            self._progress.stage("train", f"trial 1: {candidate.facts.name}")
            self._add(run_trial(self._base, embedded, None, watched))
        except Cancelled:
            self._progress.check()
            raise too_small(self._clock.budget, max(needed[0], self._clock.used) + 2 * _FINAL) from None
        return self._trials[0]

    def _affordable(self, candidates: Sequence[Candidate], default: Trial) -> list[Candidate]:
        """Candidates that embed all examples in the time that is left, the most promising first."""
        splits = default.embedded.frozen.splits
        if len(splits.train) + len(splits.valid) <= _FEW or not candidates:
            return list(candidates)
        by_name = {candidate.facts.name: candidate for candidate in candidates}
        share = max(1.0, self._clock.left / 4)
        try:
            ranking = rank_backbones(self._base, list(by_name), None, share, self._streams, self._watched())
        except RecipeError:  # none of the others can be used
            return []
        inputs = ranking.examples / (1 - self._base.split.test) - ranking.sampled
        left, found = self._clock.left, []
        for entry in ranking.backbones:
            needed = inputs * (entry.seconds_per_input or 0)
            if needed < left:
                found.append(by_name[entry.backbone])
                left -= needed
        return found

    def _single(self, candidate: Candidate) -> None:
        try:
            embedded = self._embedded(candidate, self._trials[0].embedded, self._watched())
            self._add(run_trial(self._base, embedded, None, self._watched()))
            if joined := joined_trial(self._base, self._trials, embedded, self._watched()):
                self._add(joined)
        except TransferError as error:
            self._leave_out(candidate.facts.name, error)

    def _head(self, embedded: Embedded, head: ClassicHead) -> None:
        try:
            self._add(run_trial(self._base, embedded, head, self._watched()))
        except TransferError as error:
            self._leave_out(str(head.__struct_config__.tag), error)

    def _leave_out(self, title: str, error: TransferError) -> None:
        if isinstance(error, Cancelled):
            raise error
        self._progress.warning(f"trial left out: {title}: {error}")

    def _repeat(self) -> None:
        """Cross-validate the default and the best other trials in further folds."""
        order = sorted(range(1, len(self._trials)), key=lambda place: self._trials[place].loss)
        for _ in range(_REPETITIONS):
            for place in (0, *order[:_FINALISTS]):
                self._trials[place] = repeated(self._trials[place], self._watched())

    def _embedded(self, candidate: Candidate, like: Embedded | None, watched: Progress) -> Embedded:
        recipe = replace(self._base, backbone=candidate.facts.name)
        return embed_split(recipe, self._streams, self._spool, like.frozen if like else None, watched)

    def _add(self, trial: Trial) -> None:
        self._trials.append(trial)
        self._clock.reserve = max(self._clock.reserve, _FINAL + _FITS * trial.seconds)
        number = len(self._trials)
        self._progress.stage("train", f"trial {number}: {trial.title}: loss {trial.loss:.3f}")

    def _watched(self) -> Progress:
        """Report the share of the budget, and stop when it is used up."""

        def emit(event: Event) -> None:
            if event["event"] != "overall":
                self._progress.emit(event)
            self._progress.emit(self._overall())

        def cancelled() -> bool:
            return self._progress.cancelled() or self._clock.left < 0

        return replaced(self._progress, emit=emit, cancelled=cancelled)

    def _overall(self) -> dict[str, Any]:
        left = max(0.0, self._clock.budget - self._clock.used)
        return {"event": "overall", "share": 1 - left / self._clock.budget, "seconds_left": left}


def chosen_beside(default: Trial, best: Trial) -> Trial:
    """`best`, if its mean loss is lower than that of the default by more than a standard error."""
    gains = default.by_example(best.losses.shape[1]) - best.by_example()
    gains = gains[np.isfinite(gains)]
    if len(gains) < 2 or gains.mean() <= gains.std(ddof=1) / math.sqrt(len(gains)):
        return default
    return best


def too_small(budget: float, needed: float) -> RecipeError:
    """An error that states the seconds that are needed for one trial and the final training."""
    message = f"no trial ends within {budget:g} s on this data. Fix: budget: {math.ceil(needed)} or more"
    return RecipeError([Problem("budget", message)])


def _at_backbone(error: RecipeError) -> RecipeError:
    renamed = {"among": "backbone"}
    return RecipeError([Problem(renamed.get(one.path, one.path), one.message) for one in error.problems])
