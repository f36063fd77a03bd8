"""Image formats: detection by extension in a listing, and by signature once opened."""

from __future__ import annotations

import codecs
import os

READABLE = {
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif"),
    "PNG": (".png",),
    "WEBP": (".webp",),
    "GIF": (".gif",),
    "BMP": (".bmp", ".dib"),
    "TIFF": (".tif", ".tiff"),
}

# Photos in formats that Pillow can't decode: an error, because skipping them silently would lose examples.
UNREADABLE_PHOTOS = {
    "HEIC": (".heic", ".heif"),
    "AVIF": (".avif",),
    "JPEG XL": (".jxl",),
    "JPEG 2000": (".jp2", ".j2k"),
}

# Source files that often lie beside the photo made from them; not examples of their own.
ORIGINALS = {
    "SVG": (".svg", ".svgz"),
    "Photoshop": (".psd",),
    "Camera raw": (".cr2", ".cr3", ".nef", ".arw", ".dng", ".orf", ".rw2", ".raf"),
}

_UNREADABLE = {**UNREADABLE_PHOTOS, **ORIGINALS}
_LISTED = frozenset(e for one in (READABLE, UNREADABLE_PHOTOS) for all_ in one.values() for e in all_)
_UNREADABLE_BY_EXTENSION = {e: name for name, all_ in _UNREADABLE.items() for e in all_}

_SIGNATURES = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"BM", "BMP"),
    (b"II*\x00", "TIFF"),
    (b"MM\x00*", "TIFF"),
    (b"II+\x00", "TIFF"),
    (b"MM\x00+", "TIFF"),
    (b"\xff\x0a", "JPEG XL"),
    (b"\x00\x00\x00\x0cJXL ", "JPEG XL"),
    (b"\x00\x00\x00\x0cjP  ", "JPEG 2000"),
    (b"8BPS", "Photoshop"),
)

# Signatures of common files that are not images.
_NO_IMAGES = {
    b"%PDF": "a PDF document, not an image",
    b"PK\x03\x04": "a ZIP archive or an office document, not an image",
    b"\x1f\x8b\x08\x00": "a gzip archive, not an image",
    b"\x1f\x8b\x08\x08": "a gzip archive, not an image",
}

HEADER_BYTES = 1024

_EXPECTED = "expected JPEG, PNG, WebP, GIF, BMP or TIFF"


def has_image_extension(name: str) -> bool:
    """Whether a name has the extension of a photo: `IMG_1.JPG`, `x.heic`; not `README.txt`, `IMG_1.CR2`."""
    return _extension(name) in _LISTED


def complaint(header: bytes, name: str = "") -> str | None:
    """The reason that a file that begins with `header` can't be decoded, or None if it may be an image.

    The content decides, not the name: a JPEG named `x.heic` is accepted. Only camera raw files, which start
    like any TIFF, are recognized by the extension of `name`.
    """
    if not header:
        return "the file is empty"
    kind = _format_of_header(header)
    named = _UNREADABLE_BY_EXTENSION.get(_extension(name))
    if kind in READABLE and named != "Camera raw":
        return None
    if kind in _UNREADABLE or named:
        return f"{kind if kind in _UNREADABLE else named} images need conversion to JPEG or PNG first"
    if header.startswith(b"version https://git-lfs"):
        return "it is a Git LFS pointer and not the image, run git lfs pull"
    found = _NO_IMAGES.get(header[:4])
    if found is None:
        found = "not an image, it holds text" if _is_text(header) else "not an image"
    return f"it is {found} ({_EXPECTED})"


def _extension(name: str) -> str:
    return os.path.splitext(name)[1].lower()


def _format_of_header(header: bytes) -> str | None:
    if header[:4] == b"RIFF" and header[8:12] == b"WEBP":
        return "WEBP"
    if header[4:8] == b"ftyp":
        return _format_of_brand(header[8:12])
    start = header.lstrip(b"\xef\xbb\xbf \t\r\n")
    if start.startswith(b"<svg") or (start.startswith((b"<?xml", b"<!")) and b"<svg" in start):
        return "SVG"
    return next((name for signature, name in _SIGNATURES if header.startswith(signature)), None)


def _format_of_brand(brand: bytes) -> str | None:
    """The image format of an ISO base media file (ISO/IEC 14496-12); None for other brands."""
    if brand in (b"avif", b"avis"):
        return "AVIF"
    return "HEIC" if brand[:3] in (b"hei", b"hev", b"mif", b"msf") else None


def _is_text(header: bytes) -> bool:
    try:
        # Incremental, since the end of the header may cut a character in two.
        text = codecs.getincrementaldecoder("utf-8")().decode(header)
    except UnicodeDecodeError:
        return False
    return all(c.isprintable() or c.isspace() for c in text)
