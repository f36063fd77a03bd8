"""The modules of steps 2 to 5, by the representation that a task needs."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any, Protocol, cast

from transfer_core.backbones.representations import Representation
from transfer_core.model.model import Model
from transfer_core.pipeline.artifacts import Chosen
from transfer_core.pipeline.pilot import StepEstimate, Stopwatch
from transfer_core.runs.checkpoints import RunCheckpoints
from transfer_core.runtime.overall_progress import ExpectedPhase
from transfer_core.runtime.progress import Progress
from transfer_core.runtime.run_log import RunLog
from transfer_core.tasks import Task


class Steps(Protocol):
    """Steps 2 to 5 and evaluation. Types of the data between the steps are the module's own."""

    def expected_work(self, chosen: Chosen) -> list[ExpectedPhase]:
        """Each phase in order; work is in forward passes of one input through the backbone."""

    def freeze(self, chosen: Chosen, progress: Progress) -> Any:
        """Step 2: the representation of all examples by the frozen backbone, one forward pass each."""

    def add_head_and_train(
        self, frozen: Any, checkpoints: RunCheckpoints, progress: Progress
    ) -> tuple[Any, Any]:
        """Steps 3 and 4: a new head, trained on the representation; returns `frozen` and the head."""

    def fine_tune(self, frozen: Any, head: Any, checkpoints: RunCheckpoints, progress: Progress) -> Any:
        """Step 5: train the further phases of the plan, if there are any."""

    def evaluate(self, frozen: Any, tuned: Any, path: Path, log: RunLog, progress: Progress) -> Model:
        """Calibrate, evaluate on the test examples, save the model at `path`, and a report beside it."""


class Pilot(Protocol):
    """Measures steps 2 to 5 and evaluation on a few examples."""

    def measure(
        self, chosen: Chosen, folder: Path, watch: Stopwatch, progress: Progress
    ) -> tuple[StepEstimate, ...]:
        """Estimate all steps after `choose`; `folder` is for checkpoints and the model of the pilot."""


_STEPS: dict[Representation, str] = {
    "pooled": "transfer_core.pipeline.pooled_steps",
    "feature_maps": "transfer_core.pipeline.detection_steps",
    "encoder_decoder": "transfer_core.pipeline.generation_steps",
}


def steps_for(task: Task[Any]) -> Steps:
    """The steps of a task; imports their module."""
    return cast(Steps, import_module(_STEPS[task.needs]))


def pilot_for(task: Task[Any]) -> Pilot:
    """The pilot of a task; imports its module."""
    return cast(Pilot, import_module(_STEPS[task.needs].replace("_steps", "_pilot")))
