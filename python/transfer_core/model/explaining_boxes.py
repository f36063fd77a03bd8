"""Explain the boxes that a detector predicts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import numpy as np

from transfer_core.data import Input
from transfer_core.data.boxes import Detections, as_rows, clipped
from transfer_core.explain.boxes import MOST_BOXES, BoxCase, explain_boxes
from transfer_core.explain.explanation import Explanation
from transfer_core.features import Load
from transfer_core.features.letterbox import Letterboxed
from transfer_core.model.explaining import enlarged, other_place, place_of
from transfer_core.model.restore import Misfit, use_of
from transfer_core.tasks.detection import Detection, DetectionState

if TYPE_CHECKING:
    from transfer_core.model.detection_predictor import DetectionPredictor
    from transfer_core.model.inference import Inference


def explain_photo(
    model: Inference, input: Input, label: str | None, against: str | None, method: str
) -> Explanation:
    """One explanation for each predicted box, or for each of a class; see `Model.explain`."""
    place = None if label is None else place_of(model, "for", label)
    other = None if against is None else other_place(model, against, place)
    predictor = cast("DetectionPredictor", model.predictor)
    loaded: Letterboxed = model.load(0, input, 1)
    with use_of(model.path):
        [found], _ = predictor.compute([cast(Load, lambda: loaded)])
        boxes = _predicted(model, found.detections)
        if place is not None:
            boxes = boxes.take(boxes.classes == place)
        if other is not None:
            boxes = boxes.take(boxes.classes != other)
        boxes = boxes.take(slice(MOST_BOXES))
        case = BoxCase(loaded, predictor.detector, predictor.feature_maps, boxes, other)
        name, attributions = explain_boxes(case, method)
        if not all(np.isfinite(one.score) and np.isfinite(one.heatmap).all() for one in attributions):
            raise Misfit("its contributions are not finite numbers")
    _, _, width, height = loaded.placement.rectangle
    image, scale = loaded.pixels[:height, :width], width / loaded.size[0]
    rows: list[dict[str, Any]] = as_rows(clipped(boxes, loaded.size), model.labels)
    explained = []
    for row, one in zip(rows, attributions, strict=True):
        own, heatmap = row.pop("label"), one.heatmap
        if name == "hirescam":  # of the whole square input
            heatmap = enlarged(heatmap, loaded.pixels.shape[:2])[:height, :width]
        else:
            heatmap = enlarged(heatmap, (height, width))
        explained.append(
            Explanation(own, against, name, one.score, None, heatmap, image, box=row, scale=scale)
        )
    return Explanation(label, against, name, None, image=image, boxes=tuple(explained), scale=scale)


def _predicted(model: Inference, found: Detections) -> Detections:
    """The detections that reach their thresholds, with the scores of the network."""
    task, state = cast(Detection, model.task), cast(DetectionState, model.state)
    scores = task.calibrated(found, state).scores
    return found.take(scores >= task.thresholds(state, model.labels)[found.classes])
