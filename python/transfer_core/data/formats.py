"""Which files are images: by extension in a folder listing, by their first bytes once opened."""

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

# Photos all the same: leaving them out of a folder in silence would hide half of someone's images.
UNREADABLE_PHOTOS = {
    "HEIC": (".heic", ".heif"),
    "AVIF": (".avif",),
    "JPEG XL": (".jxl",),
    "JPEG 2000": (".jp2", ".j2k"),
}

# What a photo was made from. It often lies beside the photo, and is no example of its own.
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

# What files that are no images begin with.
_NO_IMAGES = {
    b"%PDF": "a PDF document, not an image",
    b"PK\x03\x04": "a ZIP archive or an office document, not an image",
    b"\x1f\x8b\x08\x00": "a gzip archive, not an image",
    b"\x1f\x8b\x08\x08": "a gzip archive, not an image",
}

HEADER_BYTES = 1024

_EXPECTED = "expected JPEG, PNG, WebP, GIF, BMP or TIFF"


def has_image_extension(name: str) -> bool:
    """True for `IMG_1.JPG` and `x.heic`, False for `README.txt`, `Thumbs.db` and `IMG_1.CR2`."""
    return _extension(name) in _LISTED


def complaint(header: bytes, name: str = "") -> str | None:
    """Why a file that begins with `header` can't be decoded, or None if it may be an image.

    The content decides, not the name: a JPEG called `x.heic` is fine. Only camera raw files, which
    begin like any TIFF, are known by the extension of `name`.
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
    """The image formats among ISO base media files (ISO/IEC 14496-12), whose other brands are videos."""
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
