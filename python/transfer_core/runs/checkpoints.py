"""Checkpoints of a run: written while it trains, loaded when it is resumed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import inf
from pathlib import Path
from time import monotonic
from typing import Any

import msgspec

from transfer_core.plan.phases import Phase
from transfer_core.runs import RunFolder
from transfer_core.runs.checkpoint_file import Damaged, Position, read_checkpoint, write_checkpoint
from transfer_core.runtime.errors import ConfigurationError
from transfer_core.runtime.progress import Progress
from transfer_core.training.checkpointer import Checkpointer, Snapshot

# Writing checkpoints may take a twentieth of the time; very short epochs need none.
SHORTEST_PAUSE_S = 1.0
PAUSE_PER_COST = 20
_BACKBONE = "before."


class RunCheckpoints:
    """Checkpoints of one run.

    Attributes
    ----------
    phase
        Number of the training phase in which the run was interrupted; 0 for a run without a checkpoint, too.
    history
        Epochs of the phases before that one.
    """

    def __init__(self, folder: RunFolder, warnings: list[str], progress: Progress) -> None:
        self.phase = 0
        self.history: list[dict[str, Any]] = []
        self._path = folder.checkpoint
        self._warnings = warnings
        self._progress = progress
        self._step = ""
        self._saved = Snapshot()
        if self._path.exists():
            self._read()

    @property
    def epochs(self) -> list[dict[str, Any]]:
        """All epochs that were finished before the interruption."""
        return self.history + [
            {"step": self._step, **entry} for entry in self._saved.facts.get("history", ())
        ]

    @property
    def changed(self) -> dict[str, Any]:
        """Arrays of the backbone, by name, that differed from the published ones when the phase began."""
        tensors = self._saved.tensors.items()
        return {name[len(_BACKBONE) :]: array for name, array in tensors if name.startswith(_BACKBONE)}

    def for_phase(
        self,
        number: int,
        phase: Phase,
        history: list[dict[str, Any]],
        changed: Callable[[], Mapping[str, Any]] = dict,
    ) -> Checkpointer:
        """Return the checkpointer of a training phase.

        Parameters
        ----------
        number
            Number of the phase; 0 fits the new head.
        history
            Epochs of the phases before it.
        changed
            Returns the tensors of the backbone that earlier phases changed and this one does not.
        """
        position = Position(
            phase=number,
            step="fine_tune" if phase.changes_backbone else "train",
            epoch=0,
            epochs=phase.train.epochs or 0,
            history=list(history),
            warnings=[],
        )
        saved = None
        if number == self.phase and self._saved.tensors:
            saved, self._saved = self._saved, Snapshot()
        write = _Write(self._path, position, changed, self._warnings)
        return PhaseCheckpointer(saved, write, self._progress)

    def _read(self) -> None:
        try:
            position, self._saved = read_checkpoint(self._path)
        except Damaged as reason:
            self._progress.warning(
                f"the checkpoint is damaged, so this run starts from the beginning: {reason}"
            )
            return
        self.phase, self.history, self._step = position.phase, position.history, position.step
        self._warnings += position.warnings


@dataclass(frozen=True)
class _Write:
    """Write a checkpoint of one training phase."""

    path: Path
    position: Position
    changed: Callable[[], Mapping[str, Any]]
    warnings: list[str]

    def __call__(self, snapshot: Snapshot) -> None:
        backbone = {f"{_BACKBONE}{name}": tensor for name, tensor in self.changed().items()}
        now = {"epoch": len(snapshot.facts["history"]), "warnings": list(self.warnings)}
        everything = Snapshot({**snapshot.tensors, **backbone}, snapshot.facts)
        write_checkpoint(self.path, msgspec.structs.replace(self.position, **now), everything)

    def last(self) -> Snapshot | None:
        """Return the state that was written last, if it is of this phase and intact."""
        try:
            position, snapshot = read_checkpoint(self.path)
        except Damaged:
            return None
        return snapshot if position.phase == self.position.phase else None


class PhaseCheckpointer:
    """A checkpointer that writes as often as it costs little time."""

    def __init__(self, saved: Snapshot | None, write: Callable[[Snapshot], None], progress: Progress) -> None:
        self._saved = saved
        self._write = write
        self._progress = progress
        self._pause = SHORTEST_PAUSE_S
        self._due = monotonic() + self._pause

    def load(self) -> Snapshot | None:
        """See `Checkpointer.load`."""
        saved, self._saved = self._saved, None
        return saved

    def save(self, snapshot: Callable[[], Snapshot]) -> None:
        """See `Checkpointer.save`."""
        started = monotonic()
        if started < self._due:
            return
        try:
            self._write(snapshot())
        except ConfigurationError as error:
            self._progress.warning(f"no checkpoint could be written, the training continues: {error}")
        ended = monotonic()
        self._due = ended + max(self._pause, PAUSE_PER_COST * (ended - started))

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_saved": None, "_progress": Progress()}

    def in_process(self, rank: int, progress: Progress) -> PhaseCheckpointer:
        """Turn this unpickled copy into the checkpointer of process `rank`, and return it.

        It loads the state that was saved last; process 0 alone saves.
        """
        if isinstance(self._write, _Write):
            self._saved = self._write.last()
        self._progress = progress
        self._due = self._due if rank == 0 else inf
        return self
