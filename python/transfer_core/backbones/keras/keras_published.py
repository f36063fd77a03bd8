"""Table of `keras.applications`, readable without Keras."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

import msgspec

from transfer_core.backbones.facts import Preprocessing, WeightsFacts
from transfer_core.runtime.errors import Problem, RecipeError, did_you_mean

CODE = "https://github.com/keras-team/keras/blob/master"
TERMS = "ImageNet is offered for non-commercial research: whether its terms bind your use is yours to check"


class Published(msgspec.Struct, frozen=True):
    """One model of `keras.applications` with its ImageNet weights.

    Parameters
    ----------
    parameters
        Number of parameters, with the classifier.
    mean, std
        Of pixels scaled to 0..1, in the order red, green, blue.
    blue_first
        Whether the weights expect the channels in the order blue, green, red.
    scale
        Factors of the channels before the first convolution, if Keras applies them for these weights alone.
    digest
        MD5 or sha256 in hexadecimal; empty: not published.
    """

    name: str
    family: str
    paper: str
    arxiv: str
    parameters: int
    image_size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    blue_first: bool
    scale: tuple[float, float, float] | None
    file: str
    url: str
    digest: str
    trained_on: str

    @property
    def weights(self) -> WeightsFacts:
        """The published file. Its license is not stated; the crop is the usual 7/8 of the shorter side."""
        resized = round(self.image_size / 0.875)
        return WeightsFacts(
            name="imagenet",
            file=self.file,
            url=self.url,
            sha256=self.digest if len(self.digest) == 64 else "",
            preprocessing=Preprocessing(self.image_size, resized, "bilinear", self.mean, self.std),
            trained_on=self.trained_on,
            terms=TERMS,
        )


def published(name: str) -> Published:
    """Look up `keras.applications.NAME`.

    Raises
    ------
    RecipeError
        At `backbone` for an unknown name, with the nearest one.
    """
    known = _catalogue()
    if name not in known:
        nearest = did_you_mean(name, list(known))
        message = f'unknown backbone "keras/{name}"{nearest} (one of: {", ".join(known)}; or a .keras file)'
        raise RecipeError([Problem("backbone", message)])
    return known[name]


@cache
def _catalogue() -> dict[str, Published]:
    """Read `published.json`, which `scripts/build_keras_facts.py` writes."""
    text = files("transfer_core.backbones.keras").joinpath("published.json").read_bytes()
    return {entry.name: entry for entry in msgspec.json.decode(text, type=list[Published])}
