"""What a run has reached, kept while it trains and found when it is resumed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from time import monotonic
from typing import Any

import msgspec
import torch
from torch import Tensor

from transfer_core.backbones import Backbone
from transfer_core.finetune.lora import without_adapters
from transfer_core.plan.presets import Phase
from transfer_core.runs import RunFolder
from transfer_core.runs.checkpoint import Damaged, Position, read_checkpoint, write_checkpoint
from transfer_core.runtime.errors import ConfigurationError
from transfer_core.runtime.progress import Progress, Step
from transfer_core.runtime.snapshot import Snapshot
from transfer_core.training.state import DOES_NOT_FIT

# A checkpoint may take a twentieth of the time, and epochs of a moment need none.
SHORTEST_PAUSE_S = 1.0
PAUSE_PER_COST = 20
_BEFORE = "before."


class Checkpoints:
    """The checkpoints of one run. `phase` is the number of the training phase in which it was interrupted, 0
    also if there is nothing to go on from; `history` the epochs of the phases before that one."""

    def __init__(self, folder: RunFolder, warnings: list[str], progress: Progress) -> None:
        self.phase = 0
        self.history: list[dict[str, Any]] = []
        self._path = folder.checkpoint
        self._warnings = warnings
        self._step = ""
        self._found = Snapshot()
        if self._path.exists():
            self._read(progress)

    @property
    def epochs(self) -> list[dict[str, Any]]:
        """The history up to where the run goes on."""
        return self.history + [
            {"step": self._step, **entry} for entry in self._found.facts.get("history", ())
        ]

    def put_back(self, backbone: Backbone) -> None:
        """Give `backbone` what the phases before the interrupted one made of it."""
        tensors = {name: t for name, t in self._found.tensors.items() if name.startswith(_BEFORE)}
        state = {name[len(_BEFORE) :]: torch.from_numpy(array) for name, array in tensors.items()}
        if backbone.load_state_dict(state, strict=False).unexpected_keys:
            raise ConfigurationError(DOES_NOT_FIT)

    def during(
        self,
        number: int,
        phase: Phase,
        progress: Progress,
        history: list[dict[str, Any]],
        changed: Callable[[], Mapping[str, Tensor]] = dict,
    ) -> Progress:
        """`progress` for the phase of this number, whose loop is kept.

        `history` are the epochs of the phases before it, and `changed` the tensors of the backbone that those
        changed, and this one will not.
        """
        step: Step = "fine_tune" if phase.changes_backbone else "train"
        position = Position(
            phase=number,
            step=step,
            epoch=0,
            epochs=phase.train.epochs or 0,
            history=list(history),
            warnings=[],
        )
        found = None
        if number == self.phase and self._found.tensors:
            found, self._found = self._found, Snapshot()

        def write(snapshot: Snapshot) -> None:
            before = {f"{_BEFORE}{name}": tensor for name, tensor in changed().items()}
            now = {"epoch": len(snapshot.facts["history"]), "warnings": list(self._warnings)}
            everything = Snapshot({**snapshot.tensors, **before}, snapshot.facts)
            write_checkpoint(self._path, msgspec.structs.replace(position, **now), everything)

        return replace(progress, keeper=_NowAndThen(found, write, progress))

    def _read(self, progress: Progress) -> None:
        try:
            position, self._found = read_checkpoint(self._path)
        except Damaged as reason:
            progress.warning(f"the checkpoint is damaged, so this run begins anew: {reason}")
            return
        self.phase, self.history, self._step = position.phase, position.history, position.step
        self._warnings += position.warnings


class _NowAndThen:
    """Writes the state of a loop as often as it costs little time."""

    def __init__(self, found: Snapshot | None, write: Callable[[Snapshot], None], progress: Progress) -> None:
        self._found = found
        self._write = write
        self._progress = progress
        self._due = monotonic() + SHORTEST_PAUSE_S

    def found(self) -> Snapshot | None:
        found, self._found = self._found, None
        return found

    def keep(self, snapshot: Callable[[], Snapshot]) -> None:
        started = monotonic()
        if started < self._due:
            return
        try:
            self._write(snapshot())
        except ConfigurationError as error:
            self._progress.warning(f"no checkpoint could be written, the training goes on: {error}")
        ended = monotonic()
        self._due = ended + max(SHORTEST_PAUSE_S, PAUSE_PER_COST * (ended - started))


def changed_by(phases: Iterable[Phase], backbone: Backbone, but_not: Phase) -> dict[str, Tensor]:
    """The tensors of `backbone` in the blocks that `phases` trained and `but_not` does not, by name."""
    state = without_adapters(backbone.state_dict())
    changed = {block for phase in phases for block in phase.changed(backbone.facts.blocks)}
    blocks = changed - set(but_not.trainable)
    return {name: tensor for name, tensor in state.items() if name.split(".")[1] in blocks}
