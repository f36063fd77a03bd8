"""Small image files that are dear to decode, each in a process with bounded memory and processor time."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from bounded import run_bounded
from transfer_core.data import decode_image
from transfer_core.runtime.errors import DataError
from transfer_core.runtime.limits import DEFAULTS

pytestmark = pytest.mark.slow

DECODE = """
for path in sys.argv[1:]:
    try:
        print(*decode_image(path, at_least=224).size)
    except DataError as error:
        print(error)
"""
IMPORTS = """
import PIL.Image
from transfer_core.data import decode_image
from transfer_core.runtime.errors import DataError
PIL.Image.init()
"""
FIX = "Fix: raise Transfer.config.max_pixels (TRANSFER_MAX_PIXELS), or use a smaller input ("


def encoded(image, format, **options):
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def png_chunk(kind, body):
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(width, height, bits=8, color=2, before=b"", after=b""):
    """A PNG whose pixels are all zero; `before` and `after` are chunks around them."""
    row = 1 + (width * bits * {0: 1, 2: 3, 3: 1, 6: 4}[color] + 7) // 8
    packer, packed = zlib.compressobj(9), []
    for start in range(0, height, 256):
        packed.append(packer.compress(bytes(row * min(256, height - start))))
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, color, 0, 0, 0))
    data = png_chunk(b"IDAT", b"".join(packed) + packer.flush())
    return b"\x89PNG\r\n\x1a\n" + header + before + data + after + png_chunk(b"IEND", b"")


# A scan of the first component without data (ITU-T T.81, B.2.3): the decoder goes through all its blocks.
SCAN = b"\xff\xda\x00\x08\x01\x01\x00%b\x3f\x00"


def progressive(scans):
    """A grey JPEG with so many more scans."""
    plain = encoded(Image.new("L", (8192, 8192)), "JPEG", progressive=True)
    return plain[:-2] + SCAN % b"\x01" * scans + b"\xff\xd9"


def sequential(scans):
    """A JPEG of three colours whose scans have one component each."""
    plain = encoded(Image.new("RGB", (8192, 8192)), "JPEG")
    return plain[: plain.index(b"\xff\xda")] + SCAN % b"\x00" * scans + b"\xff\xd9"


def at_once(scans):
    """A grey JPEG with scans after the one that holds everything."""
    plain = encoded(Image.new("L", (8192, 8192)), "JPEG")
    return plain[:-2] + SCAN % b"\x00" * scans + b"\xff\xd9"


def riff(kind, body):
    return kind + struct.pack("<I", len(body)) + body + b"\0" * (len(body) % 2)


def webp(canvas):
    """An animation of one pixel on a square canvas (RFC 9649)."""
    pixel = encoded(Image.new("RGB", (1, 1)), "WEBP", lossless=True)[12:]
    side = (canvas - 1).to_bytes(3, "little")
    frame = riff(b"ANMF", bytes(16) + pixel)
    body = riff(b"VP8X", b"\2\0\0\0" + side + side) + riff(b"ANIM", bytes(6)) + frame
    return riff(b"RIFF", b"WEBP" + body)


def tiff(entries, data=b"", following=0):
    """A little-endian TIFF of one directory; `entries` are (tag, type, count, value)."""
    directory = struct.pack("<H", len(entries)) + b"".join(struct.pack("<HHII", *one) for one in entries)
    return b"II*\0" + struct.pack("<I", 8) + directory + struct.pack("<I", following) + data


def tiff_of_one_tile(side):
    """16 x 16 pixels of grey in one tile of `side` x `side`, packed."""
    tile = zlib.compress(bytes(side * side), 9)
    place = 8 + 2 + 9 * 12 + 4
    values = [(256, 16), (257, 16), (258, 8), (259, 8), (262, 1), (322, side), (323, side), (324, place)]
    entries = [(tag, 4, 1, value) for tag, value in [*values, (325, len(tile))]]
    return tiff(entries, tile)


def gif(screen, frame):
    """A GIF whose first frame is larger than its screen."""
    small = encoded(Image.new("P", (1, 1)), "GIF")
    start = small.index(b",")
    sides = struct.pack("<HH", screen, screen), struct.pack("<HH", frame, frame)
    return small[:6] + sides[0] + small[10 : start + 5] + sides[1] + small[start + 9 :]


def bmp(width, height):
    small = encoded(Image.new("RGB", (1, 1)), "BMP")
    return small[:18] + struct.pack("<ii", width, height) + small[26:]


HUGE = {
    "bits.png": lambda: png(13_000, 13_000, bits=1, color=0),
    "canvas.webp": lambda: webp(11_000),
    "sides.jpg": lambda: encoded(Image.new("L", (13_000, 13_000)), "JPEG"),
    "frame.gif": lambda: gif(1, 13_000),
    "header.bmp": lambda: bmp(13_000, 13_000),
    "strips.tif": lambda: encoded(Image.new("L", (13_000, 13_000)), "TIFF", compression="tiff_lzw"),
    "tile.tif": lambda: tiff_of_one_tile(20_000),
}


@pytest.mark.parametrize("name", HUGE)
def test_more_pixels_than_allowed_are_refused_before_memory_is_taken(tmp_path, name):
    file = tmp_path / name
    file.write_bytes(HUGE[name]())
    assert file.stat().st_size < 3_500_000
    (said,) = run_bounded(DECODE, file, imports=IMPORTS, memory=150 * 10**6, cpu_s=5)
    assert f"pixels are more than max_pixels = {8192 * 8192}. {FIX}" in said


@pytest.mark.parametrize("make", [progressive, sequential])
def test_a_jpeg_of_many_scans_is_refused_before_it_is_decoded(tmp_path, make):
    (tmp_path / "scans.jpg").write_bytes(make(50_000))
    (said,) = run_bounded(DECODE, tmp_path / "scans.jpg", imports=IMPORTS, cpu_s=5)
    assert "it is a JPEG of more than 100 scans (" in said


def test_scans_that_are_not_read_take_little(tmp_path):
    (tmp_path / "scans.jpg").write_bytes(at_once(50_000))
    assert len(run_bounded(DECODE, tmp_path / "scans.jpg", imports=IMPORTS, cpu_s=5)) == 1


def test_scans_outside_the_image_do_not_count():
    """Of a thumbnail, and of a film that phones append to a photo."""
    photo = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))
    plain = encoded(photo, "JPEG", progressive=True)
    thumbnail = b"\xff\xd8" + b"\xff\xda\x00\x02" * 200 + b"\xff\xd9"
    segment = b"\xff\xe1" + struct.pack(">H", len(thumbnail) + 2) + thumbnail
    photo_of_a_phone = plain[:2] + segment + plain[2:] + b"\xff\xda\x00\x02" * 200
    assert np.array_equal(decode_image(photo_of_a_phone), decode_image(plain))


LARGEST = {
    "grey16.png": lambda: png(8192, 8192, bits=16, color=0),
    "rgb_trns.png": lambda: png(8192, 8192, before=png_chunk(b"tRNS", bytes(6))),
    "still.webp": lambda: encoded(Image.new("RGBA", (8192, 8192), (9, 9, 9, 9)), "WEBP", lossless=True),
    "scans.jpg": lambda: progressive(90),
}


@pytest.mark.parametrize("name", LARGEST)
def test_the_largest_image_allowed_takes_16_bytes_a_pixel(tmp_path, name):
    (tmp_path / name).write_bytes(LARGEST[name]())
    (said,) = run_bounded(DECODE, tmp_path / name, imports=IMPORTS, memory=17 * 8192 * 8192, cpu_s=30)
    assert said in ("8192 8192", "1024 1024")


@pytest.mark.parametrize("sides", [(8160, 6144), (8192, 6144), (9280, 6944)])
def test_photos_of_phones_pass(sides):
    """50 and 64 megapixels."""
    photo = encoded(Image.new("RGB", sides, (10, 200, 30)), "JPEG")
    assert decode_image(photo, at_least=224).size == (-(-sides[0] // 8), -(-sides[1] // 8))


def garbage_exif(size):
    """A directory of as many entries as fit, each of which claims all bytes."""
    count = min(65_535, (size - 14) // 12)
    entries = b"".join(struct.pack("<HHII", tag, 7, size, 0) for tag in range(count))
    return (b"II*\0\x08\0\0\0" + struct.pack("<H", count) + entries).ljust(size, b"\0")


def jpeg_with_exif(size):
    exif, plain = garbage_exif(size), encoded(Image.new("L", (64, 64)), "JPEG")
    parts = [exif[start : start + 65_000] for start in range(0, size, 65_000)]
    segments = (b"\xff\xe1" + struct.pack(">H", len(part) + 8) + b"Exif\0\0" + part for part in parts)
    return plain[:2] + b"".join(segments) + plain[20:]  # without JFIF's segment


def tiff_with_tags(size):
    """Each of its private tags claims all bytes of the file."""
    values = [(256, 4, 1, 8), (257, 4, 1, 8), (258, 4, 1, 8), (259, 4, 1, 1), (262, 4, 1, 1), (273, 4, 1, 8)]
    private = [(tag, 7, size, 0) for tag in range(33_000, 33_000 + (size // 12 - 20) % 32_000)]
    return tiff([*values, *private], bytes(64)).ljust(size, b"\0")


def tiff_of_pages(count):
    """Pages that follow each other, each 8 x 8 pixels at the same place."""
    values = [(256, 8), (257, 8), (258, 8), (259, 1), (262, 1), (273, 8), (279, 64)]
    page = struct.pack("<H", len(values)) + b"".join(struct.pack("<HHII", tag, 4, 1, v) for tag, v in values)
    step = len(page) + 4
    chain = (page + struct.pack("<I", 8 + step * (number + 1)) for number in range(count - 1))
    return b"II*\0\x08\0\0\0" + b"".join(chain) + page + bytes(4) + bytes(64)


def texts(kind, count):
    """A PNG with so many chunks of text that are each a megabyte once they are unpacked."""
    body = b"key\0\0" + zlib.compress(bytes(10**6), 9)
    return png(8, 8, before=png_chunk(kind, body) * count)


BESIDE_THE_PIXELS = {
    "exif.jpg": lambda: jpeg_with_exif(800_000),
    "exif.png": lambda: png(8, 8, before=png_chunk(b"eXIf", garbage_exif(800_000))),
    "texts.png": lambda: texts(b"zTXt", 200),
    "profile.png": lambda: texts(b"iCCP", 1),
    "length.png": lambda: png(8, 8, before=b"\x7f\xff\xff\xfftEXt"),
    "tags.tif": lambda: tiff_with_tags(380_000),
    "pages.tif": lambda: tiff_of_pages(20_000),
    "comments.gif": lambda: encoded(Image.new("P", (8, 8)), "GIF").replace(
        b",", b"!\xfe" + (b"\xff" * 256) * 4000 + b"\0,", 1
    ),
    "frames.gif": lambda: encoded(
        Image.new("P", (64, 64)), "GIF", save_all=True, append_images=[Image.new("P", (64, 64), 1)] * 500
    ),
}


@pytest.mark.parametrize("name", BESIDE_THE_PIXELS)
def test_bytes_beside_the_pixels_take_little(tmp_path, name):
    """Whether it is decoded or refused: metadata, further pages and frames."""
    file = tmp_path / name
    file.write_bytes(BESIDE_THE_PIXELS[name]())
    (said,) = run_bounded(DECODE, file, imports=IMPORTS, memory=300 * 10**6, cpu_s=5)
    assert said in ("8 8", "64 64") or said.startswith(f"{file}: ")


def test_an_image_of_too_many_bytes_is_not_read(tmp_path, monkeypatch):
    file = tmp_path / "a.bmp"
    file.write_bytes(b"BM")
    with file.open("r+b") as opened:
        opened.truncate(DEFAULTS["max_image_bytes"] + 1)
    expected = f"{file}: its 128000001 bytes are more than max_image_bytes = 128000000. Fix: raise Transfer."
    (said,) = run_bounded(DECODE, file, imports=IMPORTS, memory=200 * 10**6, cpu_s=2)
    assert said.startswith(expected)
    monkeypatch.setenv("TRANSFER_MAX_IMAGE_BYTES", "1 kB")
    with pytest.raises(DataError, match=r"its 1001 bytes are more than max_image_bytes = 1000\."):
        decode_image(b"\xff\xd8\xff".ljust(1001))


def test_the_limit_is_a_setting(monkeypatch):
    photo = encoded(Image.new("RGB", (40, 30)), "PNG")
    monkeypatch.setenv("TRANSFER_MAX_PIXELS", "1200")
    assert decode_image(photo).size == (40, 30)
    monkeypatch.setenv("TRANSFER_MAX_PIXELS", "1199")
    with pytest.raises(DataError) as raised:
        decode_image(photo)
    assert str(raised.value).startswith(
        "image bytes: its 40 x 30 pixels are more than max_pixels = 1199. Fix: "
    )
