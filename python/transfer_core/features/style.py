"""Style of a target domain: statistics of its images, given to training images of a source domain."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image

from transfer_core.recipe.augmentations import Augmentation, Style

Floats: TypeAlias = npt.NDArray[np.floating[Any]]

# RGB to the responses of the cones, and their logarithms to the axes l (lightness), alpha and beta, which are
# nearly independent in natural images (Ruderman et al. 1998; Reinhard et al. 2001, section 2).
_TO_LMS = np.array([[0.3811, 0.5783, 0.0402], [0.1967, 0.7244, 0.0782], [0.0241, 0.1288, 0.8444]], np.float32)
_TO_AXES = np.array([[1, 1, 1], [1, 1, -2], [1, -1, 0]], np.float32) / np.sqrt(
    np.array([[3], [6], [2]], np.float32)
)
# The darkest pixel, whose logarithm must be finite.
_DARKEST = np.float32(1 / 255)
_LEAST_SPREAD = 1e-3
# Beyond these, a level is black or white.
_LOGARITHMS = (-12.0, 2.0)


class TargetStyle:
    """An augmentation: the style of one of several images of the target domain, drawn evenly.

    Parameters
    ----------
    style
        Method and options.
    images
        (H, W, 3) uint8 images of the target, of the size of the images to change.
    digests
        The digests of their files.
    """

    def __init__(self, style: Style, images: Sequence[npt.NDArray[np.uint8]], digests: Sequence[str]) -> None:
        self._style = style
        self.identity = (style, tuple(digests))
        of_one = self._band if style.method == "fourier" else _moments
        self._references: list[Any] = [of_one(image) for image in images]

    def applied(self, image: Image.Image, rng: np.random.Generator) -> Image.Image:
        """Return an image of mode RGB in the style of a random reference."""
        reference = self._references[int(rng.integers(len(self._references)))]
        pixels = np.asarray(image)
        of_fourier = self._style.method == "fourier"
        styled = self._with_band(pixels, reference) if of_fourier else with_moments(pixels, *reference)
        mixed = pixels + self._style.strength * (styled - pixels)
        return Image.fromarray(np.clip(np.rint(mixed), 0, 255).astype(np.uint8))

    def _spectrum(self, pixels: npt.NDArray[np.uint8]) -> tuple[Any, tuple[slice, slice]]:
        """The spectrum (H, W, 3) with the mean in the middle, and the lowest frequencies of it."""
        spectrum = np.fft.fftshift(np.fft.fft2(pixels, axes=(0, 1)), axes=(0, 1))
        half = int(min(pixels.shape[:2]) * self._style.band)
        rows, columns = (slice(size // 2 - half, size // 2 + half + 1) for size in pixels.shape[:2])
        return spectrum, (rows, columns)

    def _band(self, pixels: npt.NDArray[np.uint8]) -> Floats:
        spectrum, window = self._spectrum(pixels)
        amplitudes: Floats = np.abs(spectrum[window])
        return amplitudes

    def _with_band(self, pixels: npt.NDArray[np.uint8], amplitudes: Floats) -> Floats:
        spectrum, window = self._spectrum(pixels)
        spectrum[window] = amplitudes * np.exp(1j * np.angle(spectrum[window]))
        styled: Floats = np.fft.ifft2(np.fft.ifftshift(spectrum, axes=(0, 1)), axes=(0, 1)).real
        return styled


def with_moments(pixels: npt.NDArray[np.uint8], mean: Floats, spread: Floats) -> Floats:
    """Give an image (H, W, 3) the mean (3,) and standard deviation (3,) on the axes l, alpha and beta, in
    levels that may lie outside of 0 to 255."""
    axes = _axes(pixels)
    own = axes.reshape(-1, 3)
    scale = spread / np.maximum(own.std(axis=0), _LEAST_SPREAD)
    moved = (axes - own.mean(axis=0)) * scale + mean
    cones = np.exp(np.clip(moved @ np.linalg.inv(_TO_AXES).T, *_LOGARITHMS))
    levels: Floats = cones @ np.linalg.inv(_TO_LMS).T * 255
    return levels


def _moments(pixels: npt.NDArray[np.uint8]) -> tuple[Floats, Floats]:
    axes = _axes(pixels).reshape(-1, 3)
    return axes.mean(axis=0), axes.std(axis=0)


def _axes(pixels: npt.NDArray[np.uint8]) -> Floats:
    levels = np.maximum(pixels.astype(np.float32) / 255, _DARKEST)
    axes: Floats = np.log(levels @ _TO_LMS.T) @ _TO_AXES.T
    return axes


# An augmentation of a view: a `Style` of the recipe stands as its `TargetStyle`.
ViewChange: TypeAlias = Augmentation | TargetStyle
