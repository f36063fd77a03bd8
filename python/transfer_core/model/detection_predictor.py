"""Predict boxes with a detector on feature maps; implements `predictor.PredictorModule`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property, partial
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import msgspec
import torch
from PIL import Image
from torch import nn

from transfer_core.data import Dataset
from transfer_core.data.bad_input import left_out
from transfer_core.data.boxes import Detections
from transfer_core.features import Load
from transfer_core.features.frozen_maps import FrozenMaps
from transfer_core.features.letterbox import Letterboxed, letterboxed, load_letterboxed
from transfer_core.features.loading import load_one
from transfer_core.features.parallel import map_on_cores
from transfer_core.features.pixels import Pixels
from transfer_core.heads.detection.build import build_detector, maps_used
from transfer_core.heads.detection.detections import detections
from transfer_core.heads.detection.detector import Detector
from transfer_core.model.restore import Misfit, check_numbers, facts_of, under
from transfer_core.model_file.format import HEAD_PREFIX, ModelHeader
from transfer_core.recipe.heads import DetectionHead
from transfer_core.recipe.parser import parse_recipe
from transfer_core.runtime.devices import choose_like, cores, torch_threads
from transfer_core.runtime.errors import DataError, RecipeError
from transfer_core.runtime.progress import Progress
from transfer_core.tasks.detection import Detection, DetectionState
from transfer_core.tasks.tiling import Tile, merge, tiles

if TYPE_CHECKING:
    from transfer_core.model.inference import Inference


class Found(NamedTuple):
    """Detections in a photo, with the scores of the network, and its width and height."""

    detections: Detections
    size: tuple[int, int]


class DetectionPredictor:
    """See `predictor.Predictor`; `compute` gives a `Found` per photo."""

    def __init__(self, model: Inference, detector: Detector, task: Detection) -> None:
        self._model = model
        self.detector = detector
        self._task = task

    def feature_maps(self, pixels: Sequence[Pixels]) -> list[torch.Tensor]:
        """The feature maps (N, C, H, W) of N inputs that the detector takes."""
        with torch_threads(cores()):
            return self._maps.maps(pixels, few=True)

    @cached_property
    def _maps(self) -> FrozenMaps:
        model, recipe = self._model, self._model.recipe
        device, precision = choose_like(recipe.device, recipe.precision)
        self.detector.to(device)
        maps = maps_used(model.backbone.facts.feature_maps)
        backbone = model.backbone.module()
        blocks = len(backbone.blocks)
        return FrozenMaps(backbone, maps, blocks, self.detector.image_size, device, precision)

    @property
    def concurrent(self) -> bool:
        """See `Predictor`."""
        return self._maps.device.type == "cpu"

    @property
    def batch_size(self) -> int:
        """See `Predictor`."""
        return self._maps.batch_size

    def prepare(self) -> None:
        """See `Predictor`."""
        self._maps.prepare()

    def load(self, input: Any, name: str | None = None) -> Letterboxed:
        """See `Predictor`."""
        maps = self._maps
        display = None if isinstance(input, str) else name
        return load_letterboxed(input, maps.image_size, maps.preprocessing, display)

    def compute(self, loads: Sequence[Load]) -> tuple[list[Found], dict[int, DataError]]:
        """See `Predictor`."""
        if len(loads) <= self.batch_size:
            with torch_threads(cores()):
                outcomes = self._batch(loads, few=True)
        else:
            outcomes = list(chain.from_iterable(self._batches(loads)))
        bad = {row: outcome for row, outcome in enumerate(outcomes) if isinstance(outcome, DataError)}
        return [outcome for outcome in outcomes if isinstance(outcome, Found)], bad

    def compute_tiled(
        self, loads: Sequence[Callable[[], Image.Image]]
    ) -> tuple[list[Found], dict[int, DataError]]:
        """As `compute`, from whole photos and tiles of them (see `tasks.tiling`).

        Parameters
        ----------
        loads
            Each returns a decoded photo; one at a time is in memory.
        """
        found: list[Found] = []
        bad: dict[int, DataError] = {}
        maps = self._maps
        for number, load in enumerate(loads):
            try:
                photo = load()
            except DataError as error:
                bad[number] = error
                continue
            places = tiles(*photo.size, maps.image_size)
            crops = [partial(self._crop, photo, place) for place in places]
            parts, _ = self.compute(cast(Sequence[Load], crops))
            found.append(Found(merge([part.detections for part in parts], places), photo.size))
        return found, bad

    def _crop(self, photo: Image.Image, place: Tile) -> Letterboxed:
        crop = photo.crop(place)
        return letterboxed(crop, crop.size, self._maps.image_size, self._maps.preprocessing)

    def running(self) -> None:
        """See `Predictor`."""

    def predictions(
        self, computed: Sequence[Found], level: float | None, min_score: float | None = None
    ) -> list[dict[str, Any]]:
        """See `Predictor`; `min_score` in place of the thresholds of the classes."""
        task, labels, state = self._task, self._model.labels, self._state
        if min_score is not None:
            state = msgspec.structs.replace(state, thresholds=(min_score,) * len(labels))
        return [
            task.prediction(task.calibrated(found, state), size, labels, state, level)
            for found, size in computed
        ]

    def evaluate(self, dataset: Dataset, on_bad_input: str, progress: Progress) -> dict[str, Any]:
        """See `Predictor`."""
        model = self._model
        readable, found = self.detect(dataset, on_bad_input, progress)
        if not found:
            raise DataError(f"none of the {model.modality.many} to measure on can be read")
        calibrated = [self._task.calibrated(one, self._state) for one in found]
        seed = int(model.header.recipe.get("seed", 0))
        return self._task.metrics(
            calibrated, readable.targets, model.labels, self._state, seed, readable.inputs
        )

    def detect(
        self, dataset: Dataset, on_bad_input: str, progress: Progress
    ) -> tuple[Dataset, list[Detections]]:
        """Detections with the scores of the network, and the images that they are in: all readable ones.

        Raises
        ------
        DataError
            For the first image that can't be read, unless `on_bad_input` is `skip`.
        """
        loads: list[Load] = [cast(Load, partial(self.load, path)) for path in dataset.inputs]
        found: list[Detections] = []
        bad: dict[str, str] = {}
        outcomes = chain.from_iterable(self._batches(loads))
        tracked = progress.track(outcomes, "evaluate", len(loads), self._model.modality.many)
        for path, outcome in zip(dataset.inputs, tracked, strict=True):
            if isinstance(outcome, Found):
                found.append(outcome.detections)
            elif on_bad_input == "skip":
                bad[path] = str(outcome)
            else:
                raise outcome
        if bad:
            progress.warning(left_out(bad))
        return dataset.take(row for row, path in enumerate(dataset.inputs) if path not in bad), found

    def _batches(self, loads: Sequence[Load]) -> Iterator[list[Found | DataError]]:
        """The outcomes of some loads at a time, in order."""
        self.prepare()
        size = self.batch_size
        return map_on_cores(
            self._batch, (loads[start : start + size] for start in range(0, len(loads), size))
        )

    @torch.no_grad()
    def _batch(self, loads: Sequence[Load], few: bool = False) -> list[Found | DataError]:
        """The outcome of each load, by one forward pass."""
        loaded: list[Any] = [load_one(load) for load in loads]
        good: list[Letterboxed] = [one for one in loaded if not isinstance(one, DataError)]
        if good:
            maps = self._maps.maps([one.pixels for one in good], few)
            grids = tuple((x.shape[2], x.shape[3]) for x in maps)
            outputs = self.detector(maps).float()
            if not outputs.isfinite().all():
                raise Misfit("its predictions are not finite numbers")
            places, sizes = [one.placement for one in good], [one.size for one in good]
            each = detections(self.detector, outputs, grids, places, sizes)
            found = iter(map(Found, each, sizes))
        return [one if isinstance(one, DataError) else next(found) for one in loaded]

    @property
    def _state(self) -> DetectionState:
        state = self._model.state
        assert isinstance(state, DetectionState)
        return state


def predictor(model: Inference) -> DetectionPredictor:
    """See `PredictorModule`."""
    assert isinstance(model.task, Detection)
    assert isinstance(model.head, Detector)
    return DetectionPredictor(model, model.head, model.task)


def restore_head(header: ModelHeader, arrays: Mapping[str, Any]) -> nn.Module:
    """See `PredictorModule`."""
    try:
        recipe = parse_recipe(header.recipe)
    except RecipeError as error:
        raise Misfit(f"its recipe is wrong: {error}") from error
    if not isinstance(recipe.head, DetectionHead) or recipe.image_size is None:
        raise Misfit("its recipe has no detection head or no image_size")
    try:
        detector = build_detector(
            recipe.head, facts_of(header).feature_maps, recipe.image_size, len(header.labels), 0
        )
        detector.load_state_dict(
            {name: torch.from_numpy(array) for name, array in under(HEAD_PREFIX, arrays).items()}
        )
    except (IndexError, RuntimeError) as error:  # torch raises these for wrong shapes and names
        raise Misfit("its head does not fit its header") from error
    check_numbers(detector, HEAD_PREFIX)
    return detector.eval().requires_grad_(False)
