"""Width and height of photos from their headers, with and without the EXIF orientation."""

from __future__ import annotations

from typing import NamedTuple

from PIL import Image

from transfer_core.data.bad_input import Unreadable, open_input
from transfer_core.data.container import problem_before_opening, problem_of_opened
from transfer_core.data.formats import HEADER_BYTES, READABLE, complaint

_ORIENTATION = 0x0112  # EXIF 2.3, table 4
_ON_THEIR_SIDE = range(5, 9)


class PhotoSize(NamedTuple):
    """Width and height of the upright photo, and whether the stored pixels lie on their side."""

    width: int
    height: int
    turned: bool = False

    @property
    def stored(self) -> tuple[int, int]:
        """Width and height before the EXIF orientation is applied."""
        return (self.height, self.width) if self.turned else (self.width, self.height)


def photo_size(path: str) -> PhotoSize:
    """Read the size of a photo without decoding its pixels.

    Raises
    ------
    Unreadable
        The file is missing, no image, or too large.
    """
    with open_input(path) as file:
        header = file.read(HEADER_BYTES)
        if problem := complaint(header, path) or problem_before_opening(header):
            raise Unreadable(problem)
        file.seek(0)
        # Damaged headers make Pillow raise nearly anything.
        try:
            with Image.open(file, formats=tuple(READABLE)) as image:
                if problem := problem_of_opened(image):
                    raise Unreadable(problem)
                return _upright(image)
        except (Unreadable, MemoryError):
            raise
        except Exception as error:
            raise Unreadable("it is not an image, or its header is damaged") from error


def _upright(image: Image.Image) -> PhotoSize:
    width, height = image.size
    try:
        turned = image.getexif().get(_ORIENTATION, 1) in _ON_THEIR_SIDE
    except Exception:  # damaged EXIF data are ignored, as when the photo is decoded
        turned = False
    return PhotoSize(height, width, True) if turned else PhotoSize(width, height)
