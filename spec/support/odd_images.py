"""Write image files of odd kinds, sound and damaged, and what `transfer_core` makes of them.

Usage: odd_images.py DIRECTORY

For each file `x` and required length `n` (0: none), `x.n.rgb` holds the pixels; `decoded.json` maps `x|n` to
the width and height, or to the error.
"""

from __future__ import annotations

import io
import json
import random
import struct
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from transfer_core.data.decode import decode_image

FOLDER = Path(sys.argv[1])
LENGTHS = (0, 100, 256)
files: dict[str, bytes] = {}
noise = np.random.default_rng(1)


def photo(width: int, height: int, channels: int = 3) -> np.ndarray:
    y, x = np.mgrid[0:height, 0:width]
    waves = [np.sin(x / 9 + c) * 60 + np.cos(y / 7 * (c + 1)) * 50 + 128 for c in range(channels)]
    return np.clip(np.stack(waves, -1) + noise.normal(0, 12, (height, width, channels)), 0, 255).astype(
        np.uint8
    )


def saved(image: Image.Image, form: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


BASE, BIG = Image.fromarray(photo(333, 251)), Image.fromarray(photo(1203, 907))
SMALL, CLEAR = BASE.resize((40, 31)), Image.fromarray(photo(97, 64, 4), "RGBA")


def jpegs() -> None:
    for subsampling in (0, 1, 2):
        files[f"s{subsampling}.jpg"] = saved(BASE, "JPEG", quality=75, subsampling=subsampling)
        files[f"big{subsampling}.jpg"] = saved(BIG, "JPEG", quality=90, subsampling=subsampling)
    files["progressive.jpg"] = saved(BIG, "JPEG", progressive=True)
    files["grey.jpg"] = saved(BASE.convert("L"), "JPEG")
    files["cmyk.jpg"] = saved(BIG.convert("CMYK"), "JPEG")
    files["rgb.jpg"] = saved(BASE, "JPEG", keep_rgb=True)
    files["restart.jpg"] = saved(BASE, "JPEG", restart_marker_blocks=3)
    files["odd.jpg"] = saved(Image.fromarray(photo(17, 3)), "JPEG")
    files["wide.jpg"] = saved(Image.fromarray(photo(2301, 40)), "JPEG")
    files["tail.jpg"] = files["s2.jpg"] + b"garbage" * 10


def orientations() -> None:
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
    for turn in range(1, 10):
        exif = Image.Exif()
        exif[0x112] = turn
        files[f"exif{turn}.jpg"] = saved(BASE, "JPEG", exif=exif)
        files[f"exif{turn}.png"] = saved(SMALL, "PNG", exif=exif)
        files[f"exif{turn}.webp"] = saved(SMALL, "WEBP", exif=exif)
    files["xmp.jpg"], files["xmp.webp"] = saved(BASE, "JPEG", xmp=xmp), saved(BASE, "WEBP", xmp=xmp)
    info = PngInfo()
    info.add_itxt("XML:com.adobe.xmp", xmp.decode())
    files["xmp.png"] = saved(BASE, "PNG", pnginfo=info)
    tiff = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x08\0\0\0\0\0\0"
    files["motorola.jpg"] = saved(BASE, "JPEG", exif=tiff)


def others() -> None:
    for mode in ("1", "L", "P", "RGB"):
        image = BASE.quantize(200) if mode == "P" else BASE.convert(mode)
        for form in ("PNG", "GIF", "BMP"):
            files[f"{mode}.{form.lower()}"] = saved(image, form)
    for form in ("PNG", "WEBP", "BMP"):
        files[f"clear.{form.lower()}"] = saved(CLEAR, form)
    few = BASE.quantize(30)
    files["clear_color.png"], files["clear_color.gif"] = (
        saved(few, form, transparency=7) for form in ("PNG", "GIF")
    )
    files["clear_palette.png"] = saved(
        few, "PNG", transparency=noise.integers(0, 256, 30).astype(np.uint8).tobytes()
    )
    files["interlaced.gif"] = saved(few, "GIF", interlace=1)
    files["lossless.webp"], files["lossy.webp"] = (
        saved(BASE, "WEBP", lossless=True),
        saved(BIG, "WEBP", quality=80),
    )
    more = [Image.new("RGBA", CLEAR.size, (9, 9, 9, 30))]
    files["moving.webp"] = saved(CLEAR, "WEBP", save_all=True, append_images=more)
    files["moving.gif"] = saved(BASE.quantize(64), "GIF", save_all=True, append_images=[BASE.quantize(16)])
    gamma = chunk(b"gAMA", struct.pack(">I", 100_000))
    files["gamma.png"] = files["RGB.png"][:33] + gamma + files["RGB.png"][33:]


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def filtered(rows: list[bytes], pixel: int) -> bytes:
    """The rows with all five filters in turn."""
    result, above = b"", bytes(len(rows[0]))
    for number, row in enumerate(rows):
        kind, line = number % 5, bytearray()
        for i, byte in enumerate(row):
            left, corner = (row[i - pixel], above[i - pixel]) if i >= pixel else (0, 0)
            up = above[i]
            nearest = min((left, up, corner), key=lambda each: abs(left + up - corner - each))
            line.append((byte - (0, left, up, (left + up) // 2, nearest)[kind]) & 255)
        result, above = result + bytes([kind]) + bytes(line), row
    return result


PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
PALETTE = np.random.default_rng(5).integers(0, 256, 120).astype(np.uint8).tobytes()


def png(width: int, height: int, depth: int, color: int, interlaced: int, clear: bytes = b"") -> bytes:
    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[color]
    pixels = np.random.default_rng(width).integers(0, 1 << depth, (height, width, channels))
    pixels = pixels % 40 if color == 3 else pixels
    data = b""
    for x, y, step_x, step_y in PASSES if interlaced else ((0, 0, 1, 1),):
        part = pixels[y::step_y, x::step_x]
        if part.size:
            data += filtered([packed(row.ravel(), depth) for row in part], max(1, depth * channels // 8))
    body = zlib.compress(data)
    third = len(body) // 3 + 1
    header = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, interlaced)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + (chunk(b"PLTE", PALETTE) if color == 3 else b"")
        + (chunk(b"tRNS", clear) if clear else b"")
        + b"".join(chunk(b"IDAT", body[i : i + third]) for i in range(0, len(body), third))
        + chunk(b"IEND", b"")
    )


def packed(samples: np.ndarray, depth: int) -> bytes:
    if depth == 16:
        return samples.astype(">u2").tobytes()
    bits = np.unpackbits(samples.astype(np.uint8)[:, None], axis=1)[:, 8 - depth :].ravel()
    return np.packbits(bits).tobytes()


def pngs() -> None:
    depths = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
    clear = {0: struct.pack(">H", 1), 2: struct.pack(">HHH", 1, 2, 3), 3: bytes([0, 128, 255, 40])}
    for color, some in depths.items():
        for depth in some:
            for interlaced in (0, 1):
                for side in (1, 3, 8, 37):
                    files[f"{color}_{depth}_{interlaced}_{side}.png"] = png(
                        side, side // 2 + 1, depth, color, interlaced
                    )
            if color in clear:
                files[f"{color}_{depth}_clear.png"] = png(37, 23, depth, color, 0, clear[color])


def damaged() -> None:
    for name in ("s2.jpg", "progressive.jpg", "RGB.png", "lossy.webp", "P.gif", "RGB.bmp"):
        content = files[name]
        for share in (0, 0.02, 0.3, 0.9, 0.999):
            files[f"cut_{share}_{name}"] = content[: int(len(content) * share)]
        if not name.endswith(".jpg"):  # versions of libjpeg differ in what they bear
            for seed in range(8):
                chance, hit = random.Random(seed), bytearray(content)
                for _ in range(chance.choice([1, 3, 20])):
                    hit[chance.randrange(len(hit))] = chance.randrange(256)
                files[f"hit_{seed}_{name}"] = bytes(hit)
    files["text.jpg"], files["pdf.png"], files["empty.png"] = b"hello", b"%PDF-1.4 ", b""


def main() -> None:
    for make in (jpegs, orientations, others, pngs, damaged):
        make()
    found: dict[str, Any] = {}
    for name, content in files.items():
        FOLDER.joinpath(name).write_bytes(content)
        for length in LENGTHS:
            try:
                image = decode_image(str(FOLDER / name), length or None)
            except Exception as error:  # of the core, and Pillow's own
                found[f"{name}|{length}"] = str(error)
            else:
                found[f"{name}|{length}"] = image.size
                FOLDER.joinpath(f"{name}.{length}.rgb").write_bytes(image.tobytes())
    FOLDER.joinpath("decoded.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main()
