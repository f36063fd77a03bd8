"""A detector as operators: from a photo to calibrated boxes in its pixels."""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from transfer_core.backbones import Backbone, Preprocessing
from transfer_core.backbones.graph import INPUTS, traced_graph
from transfer_core.export.graph_of_model import Parts
from transfer_core.export.images import IMAGE, normalized
from transfer_core.export.operators import Graph, Value
from transfer_core.export.resize import image_sides, resized
from transfer_core.export.session import bare_session
from transfer_core.features.frozen_maps import LARGEST_VALUE, MapOutputs
from transfer_core.features.image_tensors import normalize, to_batch
from transfer_core.features.letterbox import load_letterboxed
from transfer_core.heads.detection.build import maps_used
from transfer_core.heads.detection.detections import LEAST_SCORE, MOST_CANDIDATES, MOST_DETECTIONS
from transfer_core.heads.detection.detector import Detector
from transfer_core.metrics.box_calibration import EDGE
from transfer_core.tasks.detection import DetectionState
from transfer_core.tasks.suppression import IOU

SIZE = "size"
_CORNERS, _SCORES = "corners", "scores"
# A score may equal its threshold up to rounding.
_ROUNDING = 1e-9


class _Placement(NamedTuple):
    """Width and height, float64 (2,), of the whole photo, and of the part of the canvas that it covers."""

    photo: Value
    part: Value


def detection_network(backbone: Backbone, detector: Detector) -> bytes:
    """An ONNX file from a normalized input (1, 3, S, S) to candidates: corners (A, 4) and scores (A, K).

    Raises
    ------
    RecipeError
        At `backbone`, if it can't be converted, with the reason.
    """
    network = _Candidates(copy.deepcopy(backbone).cpu().float(), copy.deepcopy(detector).cpu().float())
    example = torch.zeros(1, 3, detector.image_size, detector.image_size)
    axes = {name: {0: "A"} for name in (_CORNERS, _SCORES)}
    given = {INPUTS["image"]: example}
    return traced_graph(backbone.facts, network.eval(), given, (_CORNERS, _SCORES), axes)


def detection_graph(parts: Parts, network: Any) -> Any:
    """A detector as a ModelProto without metadata (docs/reference/onnx_file.md).

    Parameters
    ----------
    parts
        The model.
    network
        The result of `detection_network` as a ModelProto, perhaps in another precision.
    """
    graph, preprocessing = Graph(), parts.backbone.preprocessing
    assert parts.recipe.image_size is not None
    pixels, placement = _letterboxed(graph, preprocessing, parts.recipe.image_size)
    given = {INPUTS["image"]: normalized(pixels, preprocessing)}
    corners, scores = graph.inline(network, given, (np.float32, np.float32))
    classes = len(parts.header.labels)
    found = _in_photo(_suppressed(corners, scores, classes), placement)
    _add_outputs(found, parts.state, classes)
    return graph.model()


@torch.no_grad()
def compare_candidates(
    backbone: Backbone, detector: Detector, network: Any, photos: Sequence[bytes]
) -> float:
    """The largest difference of 90 % of the best scores, and of their boxes as a share of the input's side.

    Candidates of equal score come in any order, and one box may suppress another by a rounding error.

    Parameters
    ----------
    backbone, detector
        The model.
    network
        The result of `detection_network` as a ModelProto, perhaps in another precision.
    photos
        Encoded images.
    """
    session = bare_session(network.SerializeToString())
    reference = _Candidates(copy.deepcopy(backbone).cpu().float(), copy.deepcopy(detector).cpu().float())
    reference.eval()
    error = 0.0
    for photo in photos:
        pixels = load_letterboxed(photo, detector.image_size, backbone.preprocessing).pixels
        given = normalize(to_batch([pixels]), backbone.preprocessing, torch.float32)
        corners, scores = (found.numpy() for found in reference(given))
        best = np.argsort(-scores.max(axis=1))[:MOST_DETECTIONS]
        found, found_scores = session.run(None, {INPUTS["image"]: np.asarray(given.contiguous())})
        if not len(best) or not len(found):
            error = max(error, float(scores.max(initial=0)), float(found_scores.max(initial=0)))
            continue
        apart = np.abs(found - corners[best, None]).max(axis=2).min(axis=1) / detector.image_size
        expected, own = (np.sort(each, axis=None)[::-1][: len(best)] for each in (scores, found_scores))
        count = min(len(expected), len(own))
        differences = np.abs(expected[:count] - own[:count])
        error = max(error, *(float(np.quantile(each, 0.9)) for each in (apart, differences)))
    return error


class _Candidates(nn.Module):
    def __init__(self, backbone: Backbone, detector: Detector) -> None:
        super().__init__()
        maps = maps_used(backbone.facts.feature_maps)
        names = list(dict(backbone.blocks.named_children()))
        needed = names[: 1 + max(names.index(found.block) for found in maps)]
        blocks = OrderedDict((name, backbone.blocks.get_submodule(name)) for name in needed)
        self.front = MapOutputs(nn.Sequential(blocks), maps, False)
        self.detector = detector
        with torch.no_grad():
            found = self._maps(torch.zeros(1, 3, detector.image_size, detector.image_size))
        self._grids = tuple((x.shape[2], x.shape[3]) for x in found)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """See `detection_network`."""
        return self.detector.candidates(self._maps(images), self._grids)

    def _maps(self, images: Tensor) -> list[Tensor]:
        """In half precision, as `FrozenMaps` stores them."""
        maps, _ = self.front.outputs(images)
        return [x.clamp(-LARGEST_VALUE, LARGEST_VALUE).half().float() for x in maps.values()]


def _letterboxed(graph: Graph, preprocessing: Preprocessing, image_size: int) -> tuple[Value, _Placement]:
    """See `features.letterbox`: pixels (1, 3, S, S) float32, from 0 to 255."""
    images = graph.input(IMAGE, np.uint8, [1, "H", "W", 3])
    photo = graph.input(SIZE, np.int64, [2]).cast(np.float64)
    scale = graph.constant(float(image_size)) / photo.apply("ReduceMax", keepdims=1)
    part = (photo * scale).apply("Round").apply("Max", 1.0)
    boxes, sizes = [], []
    for axis, length in zip((1, 0), image_sides(images), strict=True):  # rows, columns
        whole, decoded = _element(photo, axis), length.cast(np.float64)
        boxes.append((decoded * 0.0, (whole * (decoded / whole)).apply("Min", decoded)))
        sizes.append(_element(part, axis).cast(np.int64))
    height, width = sizes
    pixels = resized(images, boxes, (height, width), image_size, preprocessing.interpolation)
    places = graph.constant(np.arange(image_size))
    in_rows = places.apply("Less", height, dtype=bool).reshape(-1, 1)
    is_photo = in_rows.apply("And", places.apply("Less", width, dtype=bool))
    colour = np.round(255 * np.clip(preprocessing.mean, 0, 1)).reshape(3, 1, 1)
    return is_photo.choose(pixels, colour), _Placement(photo, part)


def _suppressed(corners: Value, scores: Value, classes: int) -> tuple[Value, Value, Value]:
    """Corners (D, 4), classes (D,) and scores (D,) that are left, as by `heads.detection.detections`."""
    graph = corners.graph
    # One more candidate that is never chosen: some operators need one.
    corners = corners.joined(graph.constant(np.zeros((1, 4), np.float32)), axis=0)
    flat = scores.reshape(-1).joined(graph.constant(np.zeros(1, np.float32)), axis=0)
    count = flat.apply("Shape", dtype=np.int64).apply("Min", MOST_CANDIDATES)
    best, places = graph.add("TopK", [flat, count], (np.float32, np.int64), axis=0)
    own = corners.apply("Gather", places / classes, axis=0)
    kinds = places.apply("Mod", classes)
    enough = best.apply("Less", LEAST_SCORE, dtype=bool).apply("Not")
    # As torchvision's `batched_nms`: boxes of different classes are moved apart.
    farthest = enough.apply("Unsqueeze", graph.constant(np.array([1]))).choose(own, 0.0)
    distance = farthest.apply("ReduceMax", keepdims=0) + 1.0
    apart = own + (kinds.cast(np.float32) * distance).reshape(-1, 1)
    given = [
        apart.apply("Unsqueeze", graph.constant(np.array([0]))),
        enough.choose(best, -1.0).reshape(1, 1, -1),
        graph.constant(np.array([MOST_DETECTIONS])),
        graph.constant(np.array([IOU], np.float32)),
        graph.constant(np.zeros(1, np.float32)),
    ]
    (chosen,) = graph.add("NonMaxSuppression", given, (np.int64,))
    rows = chosen.apply("Gather", graph.constant(np.array(2)), axis=1)
    return own.apply("Gather", rows, axis=0), kinds.apply("Gather", rows), best.apply("Gather", rows)


def _in_photo(found: tuple[Value, Value, Value], placement: _Placement) -> tuple[Value, Value, Value]:
    """In pixels of the photo, clipped to it; boxes on the margin beside the photo are removed."""
    corners, kinds, scores = found
    factor = placement.photo / placement.part
    corners = corners.cast(np.float64) * factor.joined(factor, axis=0)
    corners = corners.apply("Max", 0.0).apply("Min", placement.photo.joined(placement.photo, axis=0))
    first, last = corners.graph.add(
        "Split", [corners, corners.graph.constant(np.array([2, 2]))], (np.float64, np.float64), axis=1
    )
    shorter = (last - first).apply("ReduceMin", axes=[1], keepdims=0)
    return _kept((corners, kinds, scores), shorter.apply("Greater", 0.0, dtype=bool))


def _add_outputs(found: tuple[Value, Value, Value], state: DetectionState, classes: int) -> None:
    corners, kinds, scores = found
    graph, probabilities = corners.graph, scores.cast(np.float64)
    if (state.slope, state.offset) != (1.0, 0.0):
        inside = probabilities.apply("Max", EDGE).apply("Min", 1 - EDGE)
        logit = (inside / (-inside + 1.0)).apply("Log")
        probabilities = (logit * state.slope + state.offset).apply("Sigmoid")
    thresholds = graph.constant(np.array(state.thresholds or (0.5,) * classes)).apply("Gather", kinds)
    is_below = probabilities.apply("Less", thresholds + -_ROUNDING, dtype=bool)
    corners, kinds, probabilities = _kept((corners, kinds, probabilities), is_below.apply("Not"))
    graph.output("corners", corners, ["D", 4])
    graph.output("classes", kinds, ["D"])
    graph.output("scores", probabilities, ["D"])


def _kept(found: tuple[Value, Value, Value], mask: Value) -> tuple[Value, Value, Value]:
    corners, kinds, scores = (value.apply("Compress", mask, axis=0) for value in found)
    return corners, kinds, scores


def _element(pair: Value, number: int) -> Value:
    return pair.apply("Gather", pair.graph.constant(np.array([number])))
