"""The result of an explanation, as data, as a picture and as HTML."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from transfer_core.explain import markup, pictures
from transfer_core.explain.alignment import Alignment
from transfer_core.runtime.atomic import replacing, unfollowed
from transfer_core.runtime.errors import ConfigurationError
from transfer_core.tasks.criteria import Array


@dataclass(frozen=True, eq=False)
class Explanation:
    """Contributions of the parts of one input to a score of its prediction.

    Attributes
    ----------
    label
        The explained class, label or output of a regression; of a translation the target. None for a photo
        with boxes, unless one was given.
    against
        The class whose score is subtracted; None without one.
    method
        `hirescam`, `attention`, `rollout`, `linear`, `integrated_gradients`, `occlusion`, `rise` or
        `cross_attention`.
    score
        The explained number: the logit of `label`, less that of `against`; of a regression the value; of a
        translation the geometric mean of the probabilities of its tokens. None for a photo with boxes.
    base
        The score that contributions add up from, of `linear` and `integrated_gradients`; else None.
    heatmap
        (H, W) float32: the contribution of each pixel of `image`; None for other inputs.
    image
        (H, W, 3) uint8: what the network computes on, the center crop, or the whole photo for a detector.
    tokens
        Words or terms with their contributions; None unless the input is a text.
    columns
        Contributions by name; None unless the input is a row.
    box
        `x`, `y`, `width` and `height` in pixels of the upright photo, if this explains one of its boxes.
    boxes
        Of a detector, an explanation for each predicted box, the highest score first; else None.
    alignment
        Of a translation, the attention of each of its tokens to the source; else None.
    scale
        Pixels of `image` per pixel of the photo that `box` refers to.
    """

    label: str | None
    against: str | None
    method: str
    score: float | None
    base: float | None = None
    heatmap: Array | None = None
    image: Array | None = None
    tokens: tuple[tuple[str, float], ...] | None = None
    columns: dict[str, float] | None = None
    box: dict[str, float] | None = None
    boxes: tuple[Explanation, ...] | None = None
    alignment: Alignment | None = None
    scale: float = 1.0

    @property
    def overlay(self) -> bytes | None:
        """A PNG: `image` with contributions for the label in red, and against it in blue, and the boxes; or
        the matrix of an alignment. None for other texts and rows."""
        if self.alignment is not None:
            return pictures.matrix(self.alignment)
        if self.image is None:
            return None
        parts = (self,) if self.boxes is None else self.boxes
        heat = np.zeros(self.image.shape[:2])
        for part in parts:
            assert part.heatmap is not None
            own = pictures.scaled(part.heatmap)
            heat = np.where(np.abs(own) > np.abs(heat), own, heat)
        return pictures.overlay(self.image, heat, [part._drawn_box() for part in parts if part.box])

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the picture (`….png`), a page (`….html`), or all contributions (`….json`).

        Raises
        ------
        ConfigurationError
            If the name has another ending, there is no picture for a `.png`, or the file can't be written.
        """
        return save(self, path)

    def to_html(self) -> str:
        """A fragment of HTML without scripts and requests, with labels and inputs escaped."""
        facts = {"label": self.label, "against": self.against, "method": self.method, "score": self.score}
        found = [markup.described({**facts, "base": self.base})]
        if self.alignment is not None:
            found.append(markup.alignment(self.alignment))
        elif overlay := self.overlay:
            found.append(markup.picture(overlay, f"heatmap of {self.label or 'the boxes'}"))
        for box in self.boxes or ():
            found.append(markup.described({"box": box.label, "score": box.score, **(box.box or {})}))
        if self.tokens is not None:
            found.append(f"<p>{markup.words(self.tokens)}</p>")
        if self.columns is not None:
            found.append(markup.bars(self.columns))
        return "\n".join(found)

    def _repr_html_(self) -> str:
        return self.to_html()

    def _repr_png_(self) -> bytes | None:
        return self.overlay

    def to_dict(self) -> dict[str, Any]:
        """Convert to plain data: the heatmap as lists, without the image."""
        found: dict[str, Any] = {"label": self.label, "against": self.against, "method": self.method}
        found |= {"score": self.score, "base": self.base}
        if self.heatmap is not None:
            found["heatmap"] = self.heatmap.tolist()
        if self.tokens is not None:
            found["tokens"] = [{"text": text, "score": score} for text, score in self.tokens]
        if self.columns is not None:
            found["columns"] = self.columns
        if self.box is not None:
            found["box"] = self.box
        if self.boxes is not None:
            found["boxes"] = [box.to_dict() for box in self.boxes]
        if self.alignment is not None:
            found["alignment"] = self.alignment.to_dict()
        return found

    def _drawn_box(self) -> dict[str, Any]:
        """The box in pixels of `image`, with its label and the share that its score is the logit of."""
        assert self.box is not None
        assert self.score is not None
        sides = {side: self.scale * value for side, value in self.box.items()}
        return {"label": self.label or "", "score": 1 / (1 + np.exp(-self.score)), **sides}


def save(result: Any, path: str | os.PathLike[str]) -> Path:
    """Write a result with `overlay`, `to_html` and `to_dict` in the format of its name; see
    `Explanation.save`."""
    target = Path(os.path.expanduser(path))
    ending = target.suffix.lower()
    if ending == ".json":
        content = msgspec.json.encode(result.to_dict())
    elif ending == ".html":
        content = markup.page(type(result).__name__, result.to_html()).encode()
    elif ending == ".png" and (overlay := result.overlay):
        content = overlay
    else:
        kinds = ".png, .html or .json" if result.overlay else ".html or .json"
        raise ConfigurationError(f"{target}: expected a name that ends with {kinds}")
    with replacing(target) as temporary, open(temporary, "wb", opener=unfollowed) as file:
        file.write(content)
    return target
