"""An entry of the catalogue."""

from __future__ import annotations

import msgspec

TOP1 = "ImageNet-1K top-1"  # the metric of most networks of images, in percent
BOX_AP = "COCO box AP"  # the metric of detectors, in percent


class Entry(msgspec.Struct, frozen=True):
    """One backbone with one file of weights; defaults mean unknown.

    Parameters
    ----------
    name
        Value of a recipe's `backbone`.
    backbone
        The name without that of the weights; the same as `name` if there is one file only.
    weights
        Value of a recipe's `weights`.
    modality
        Kind of input: `image` or `text`.
    trained_for
        Objective of the pretraining: `classification`, `detection`, `images alone` (no labels),
        `images with texts`, `sentence embeddings`, `masked words`, `replaced words`, or `unknown`.
    parameters
        Number of the published model's parameters, with its classifier; of text encoders, without.
    embedding_width, input_size
        Numbers per embedding; side of the images in pixels, or the maximum number of tokens. None: known once
        the network is built.
    metric, metric_value, metric_source
        The published metric, its value, and the page that states it. None: no citable value.
    relevance
        Difference between the metric and the one expected for the number of parameters, in the metric's unit.
    noncommercial
        Whether the license forbids commercial use, judged by its name.
    trained_on
        The training data.
    paper, arxiv
        The paper that describes the architecture; empty: unknown.
    weights_paper
        The arXiv id of the paper that describes the weights, if it is another.
    code_url, weights_url
        The code, and the file of weights or its page.
    images_per_second
        Forward passes on this machine, of one core on a CPU; None: not measured yet.
    """

    name: str
    backbone: str
    weights: str
    source: str
    modality: str
    trained_for: str
    family: str
    parameters: int
    embedding_width: int | None = None
    input_size: int | None = None
    license: str = "unknown"
    noncommercial: bool = False
    trained_on: str = "unknown"
    paper: str = ""
    arxiv: str = ""
    weights_paper: str = ""
    code_url: str = ""
    weights_url: str = ""
    metric: str = ""
    metric_value: float | None = None
    metric_source: str = ""
    relevance: float | None = None
    images_per_second: float | None = None
