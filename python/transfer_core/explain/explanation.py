"""The result of an explanation, as data and as a picture."""

from __future__ import annotations

import io
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from PIL import Image

from transfer_core.runtime.atomic import replacing, unfollowed
from transfer_core.runtime.errors import ConfigurationError
from transfer_core.tasks.criteria import Array

# Colors of contributions for and against, and the share of the image that they cover at most.
_FOR, _AGAINST = (230, 30, 30), (30, 80, 230)
_COVERED = 0.65


@dataclass(frozen=True, eq=False)
class Explanation:
    """Contributions of the parts of one input to a score of its prediction.

    Attributes
    ----------
    label
        The explained class, label or output of a regression.
    against
        The class whose score is subtracted; None without one.
    method
        `hirescam`, `attention`, `linear` or `occlusion`.
    score
        The explained number: the logit of `label`, less that of `against`; of a regression the value.
    base
        The score that contributions add up from, of the method `linear`; else None.
    heatmap
        (H, W) float32: the contribution of each pixel of `image`; None for other inputs.
    image
        (H, W, 3) uint8: the center crop that the network computes on.
    tokens
        Words or terms with their contributions; None unless the input is a text.
    columns
        Contributions by name; None unless the input is a row.
    """

    label: str
    against: str | None
    method: str
    score: float
    base: float | None = None
    heatmap: Array | None = None
    image: Array | None = None
    tokens: tuple[tuple[str, float], ...] | None = None
    columns: dict[str, float] | None = None

    @property
    def overlay(self) -> bytes | None:
        """`image` as PNG with contributions for the label in red, and against it in blue; None without an
        image."""
        if self.heatmap is None or self.image is None:
            return None
        strength = self.heatmap / max(float(np.abs(self.heatmap).max()), 1e-12)
        share = (_COVERED * np.abs(strength))[..., None]
        color = np.where((strength > 0)[..., None], _FOR, _AGAINST)
        file = io.BytesIO()
        Image.fromarray(((1 - share) * self.image + share * color).astype(np.uint8)).save(file, "PNG")
        return file.getvalue()

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the overlay of an image (`….png`), or all contributions (`….json`).

        Raises
        ------
        ConfigurationError
            If the name has another ending, there is no image for a `.png`, or the file can't be written.
        """
        target = Path(os.path.expanduser(path))
        if target.suffix.lower() == ".json":
            content = msgspec.json.encode(self.to_dict())
        elif target.suffix.lower() == ".png" and (overlay := self.overlay):
            content = overlay
        else:
            kinds = ".json" if self.heatmap is None else ".png or .json"
            raise ConfigurationError(f"{target}: expected a name that ends with {kinds}")
        with replacing(target) as temporary, open(temporary, "wb", opener=unfollowed) as file:
            file.write(content)
        return target

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
        return found
