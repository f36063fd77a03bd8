"""Decode a photo once for several views of it."""

from __future__ import annotations

from typing import Protocol

from PIL import Image

from transfer_core.data.decode import decode_sized


class Decoder(Protocol):
    """Decodes an image as `decode_sized` does."""

    def __call__(self, input: str, *, longer_at_least: int) -> tuple[Image.Image, tuple[int, int]]: ...  # noqa: D102


class LastDecoded:
    """A `Decoder` that keeps the last image; its pixels are those of `decode_sized`."""

    def __init__(self) -> None:
        self._path = ""
        self._size = (1, 1)
        self._images: dict[int, Image.Image] = {}

    def __call__(self, input: str, *, longer_at_least: int) -> tuple[Image.Image, tuple[int, int]]:
        """See `Decoder`."""
        if input == self._path:
            if found := self._images.get(_reduction(self._size, longer_at_least)):
                return found, self._size
        else:
            self._images = {}
        image, self._size = decode_sized(input, longer_at_least=longer_at_least)
        self._path = input
        reduction = _reduction(self._size, longer_at_least)
        # Formats other than JPEG are decoded at full size for every request.
        is_whole = reduction > 1 and image.size == self._size
        self._images |= dict.fromkeys((1, 2, 4, 8) if is_whole else (reduction,), image)
        return image, self._size


def _reduction(size: tuple[int, int], longer_at_least: int) -> int:
    """The divisor of the sides at which Pillow decodes a JPEG of this size."""
    at_least = -(-longer_at_least * min(size) // max(size))
    return next((divisor for divisor in (8, 4, 2) if min(size) // at_least >= divisor), 1)
