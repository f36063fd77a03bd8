"""What the catalogue says of a backbone with one file of weights."""

from __future__ import annotations

import msgspec

TOP1 = "ImageNet-1K top-1"  # the metric of most networks of images, in percent


class Entry(msgspec.Struct, frozen=True):
    """One backbone with one file of weights; the defaults say that nothing is known.

    Parameters
    ----------
    name
        What a recipe's `backbone` takes.
    backbone
        The name without that of the weights, which is all of it where there is one file only.
    weights
        The name of the weights: what a recipe's `weights` takes.
    modality
        What goes in: `image` or `text`.
    trained_for
        What its publisher trained it for: `classification`, `images alone` (no labels), `images with texts`,
        `sentence embeddings`, `masked words`, `replaced words`, or `unknown`.
    parameters
        Of the published model, with its classifier; of texts, of the encoder alone.
    embedding_width, input_size
        Numbers per input; pixels of a side, or the most tokens. None: known once it is built.
    metric, metric_value, metric_source
        What its publisher measured, the value, and where it says so. None: nothing that we could cite.
    relevance
        How far the metric is above what is usual for so many parameters, in its own unit.
    noncommercial
        True if the licence forbids commercial use as far as its name says so.
    trained_on
        The training data.
    paper, arxiv
        The paper that describes the architecture; empty: unknown.
    weights_paper
        The arXiv id of the paper that describes the weights, where it is another.
    code_url, weights_url
        The code, and the file of weights or its page.
    images_per_second
        Forward passes on this machine, on a CPU of one core; None: it was not measured yet.
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
