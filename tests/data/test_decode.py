import io
import os
import struct
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFile, ImageOps

from transfer_core.data import decode_image
from transfer_core.runtime.errors import DataError


def noise(*shape, seed=0, dtype=np.uint8):
    return np.random.default_rng(seed).integers(0, np.iinfo(dtype).max + 1, shape, dtype=dtype)


def smooth(height, width):
    """An image that JPEG keeps nearly unchanged: (H, W, 3) uint8."""
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([255 * x / width, 255 * y / height, 255 * (x + y) / (width + height)], -1).astype(
        np.uint8
    )


def encoded(image, format="PNG", **options):
    buffer = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(buffer, format, **options)
    return buffer.getvalue()


def chunk(kind, body):
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(width, height, bits, color_type, rows):
    """A PNG file whose header says that, and whose `rows` may be anything."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, color_type, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def pixels(image, **options):
    decoded = decode_image(image, **options)
    assert decoded.mode == "RGB"
    return np.asarray(decoded)


def on_white(colour, alpha):
    """The compositing formula a·c + (1 - a)·255."""
    a = alpha[..., None] / 255
    return a * colour + (1 - a) * 255


@pytest.mark.parametrize(
    ("format", "options"),
    [
        ("PNG", {}),
        ("BMP", {}),
        ("TIFF", {}),
        ("TIFF", {"compression": "tiff_lzw"}),
        ("WEBP", {"lossless": True}),
    ],
)
def test_lossless_formats(format, options):
    image = noise(9, 7, 3)
    np.testing.assert_array_equal(pixels(encoded(image, format, **options)), image)


def test_jpeg():
    assert abs(pixels(encoded(smooth(64, 48), "JPEG", quality=95)).astype(int) - smooth(64, 48)).max() < 12


def test_a_path_and_its_bytes_give_the_same(photo):
    path = photo("1.png")
    np.testing.assert_array_equal(pixels(path), pixels(Path(path).read_bytes()))


@pytest.mark.parametrize("format", ["GIF", "WEBP", "PNG", "TIFF"])
def test_the_first_frame(format):
    frames = [Image.new("RGB", (5, 5), colour) for colour in ("red", "blue")]
    moving = encoded(frames[0], format, save_all=True, append_images=frames[1:], duration=100, lossless=True)
    np.testing.assert_array_equal(pixels(moving), np.asarray(frames[0]))


def test_the_first_photo_of_those_that_a_phone_put_into_one_jpeg():
    photos = [Image.fromarray(smooth(64, 48)), Image.new("RGB", (48, 64))]
    several = encoded(photos[0], "MPO", save_all=True, append_images=photos[1:], quality=95)
    assert abs(pixels(several).astype(int) - smooth(64, 48)).max() < 12
    assert pixels(several, at_least=24).shape == (32, 24, 3)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_rotation(orientation):
    image = Image.fromarray(smooth(40, 64))
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(image, "JPEG", exif=exif)
    expected = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    np.testing.assert_array_equal(pixels(data), np.asarray(expected))


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
def test_damaged_exif_data_are_no_reason_to_refuse():
    image = encoded(smooth(16, 16), "JPEG", exif=b"Exif\x00\x00II*\x00\xff\xff\xff\xff garbage")
    assert pixels(image).shape == (16, 16, 3)


def test_sixteen_bit_grey_is_scaled_not_clipped():
    grey = noise(16, 16, dtype=np.uint16)
    expected = np.round(grey / 257).astype(np.uint8)
    for data in (encoded(grey), encoded(grey, "TIFF"), big_endian_tiff(grey)):
        np.testing.assert_array_equal(pixels(data), np.repeat(expected[..., None], 3, -1))


def big_endian_tiff(grey):
    height, width = grey.shape
    tags = [
        (256, width),
        (257, height),
        (258, 16),
        (259, 1),
        (262, 1),
        (273, 8),
        (277, 1),
        (278, height),
        (279, grey.nbytes),
    ]
    head = struct.pack(">2sHI", b"MM", 42, 8 + grey.nbytes)
    directory = b"".join(struct.pack(">HHII", tag, 4, 1, value) for tag, value in tags)
    return head + grey.astype(">u2").tobytes() + struct.pack(">H", len(tags)) + directory + b"\0" * 4


@pytest.mark.parametrize(("color_type", "channels"), [(2, 3), (4, 2), (6, 4)])
def test_sixteen_bit_channels_keep_their_upper_byte(color_type, channels):
    values = noise(4, 5, channels, dtype=np.uint16)
    data = png(5, 4, 16, color_type, b"".join(b"\0" + row.astype(">u2").tobytes() for row in values))
    exact = values / 257
    if channels in (2, 4):
        exact = on_white(exact[..., :-1], exact[..., -1])
    assert abs(pixels(data) - np.broadcast_to(exact, (4, 5, 3))).max() < 2.1


def test_grey_and_one_bit():
    grey = noise(8, 8)
    np.testing.assert_array_equal(pixels(encoded(grey)), np.repeat(grey[..., None], 3, -1))
    bits = noise(8, 8) > 127
    np.testing.assert_array_equal(pixels(encoded(bits)), np.repeat(bits[..., None], 3, -1) * 255)


def test_transparency_is_laid_on_white():
    rgba, grey_alpha = noise(8, 8, 4), noise(8, 8, 2)
    expected = on_white(rgba[..., :3], rgba[..., 3])
    for data in (encoded(rgba), encoded(rgba, "WEBP", lossless=True, exact=True)):
        assert abs(pixels(data) - expected).max() <= 1
    expected = on_white(grey_alpha[..., :1], grey_alpha[..., 1]).repeat(3, -1)
    assert abs(pixels(encoded(Image.fromarray(grey_alpha, "LA"))) - expected).max() <= 1


@pytest.mark.parametrize("mode", ["LA", "RGBA"])
def test_every_shade_at_every_transparency(mode):
    shade, alpha = np.mgrid[0:256, 0:256].astype(np.uint8)
    image = Image.fromarray(np.stack([shade] * (len(mode) - 1) + [alpha], -1), mode)
    expected = on_white(shade[..., None], alpha)
    assert abs(pixels(encoded(image)) - expected).max() < 0.5 + 1e-9


def test_palettes_with_transparent_entries():
    image = Image.fromarray(np.array([[0, 1], [2, 1]], dtype=np.uint8))
    image.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
    opaque = encoded(image)
    alphas = encoded(image, transparency=bytes([255, 0, 128]))
    gif = encoded(image, "GIF", transparency=1)
    assert pixels(opaque).tolist() == [[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [0, 255, 0]]]
    assert pixels(alphas).tolist() == [[[255, 0, 0], [255, 255, 255]], [[127, 127, 255], [255, 255, 255]]]
    assert pixels(gif).tolist() == [[[255, 0, 0], [255, 255, 255]], [[0, 0, 255], [255, 255, 255]]]


def test_one_transparent_colour():
    data = encoded(np.array([[10, 20]], dtype=np.uint8), transparency=10)
    assert pixels(data).tolist() == [[[255] * 3, [20] * 3]]


def test_cmyk_as_adobe_writes_it_and_plain():
    cmyk = Image.fromarray(smooth(32, 32)).convert("CMYK")
    for data in (encoded(cmyk, "JPEG", quality=95), encoded(cmyk, "TIFF")):
        assert abs(pixels(data).astype(int) - smooth(32, 32)).max() < 12


@pytest.mark.parametrize(
    ("size", "at_least", "expected"),
    [
        ((800, 640), 80, (100, 80)),
        ((800, 640), 81, (200, 160)),
        ((800, 640), 224, (400, 320)),
        ((800, 640), 400, (800, 640)),
        ((800, 640), 1000, (800, 640)),
        ((801, 643), 80, (101, 81)),
    ],
)
def test_a_jpeg_is_decoded_at_the_smallest_sufficient_scale(size, at_least, expected):
    data = encoded(smooth(*size), "JPEG", quality=95)
    found = pixels(data, at_least=at_least)
    assert found.shape[:2] == expected
    exact = Image.fromarray(smooth(*size)).resize(expected[::-1], Image.Resampling.BOX)
    assert abs(found.astype(int) - np.asarray(exact)).max() < 16


def test_at_least_keeps_the_rotation_and_leaves_other_formats_alone():
    exif = Image.Exif()
    exif[0x0112] = 6
    assert pixels(encoded(smooth(320, 640), "JPEG", exif=exif), at_least=160).shape == (320, 160, 3)
    assert pixels(encoded(smooth(320, 640)), at_least=10).shape == (320, 640, 3)


def failure(image, **options):
    with pytest.raises(DataError) as raised:
        decode_image(image, **options)
    return str(raised.value)


def test_files_that_cannot_be_decoded(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    way_out = "(fix or remove it, or use on_bad_input: :skip)"
    (tmp_path / "text.jpg").write_text("hello")
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "folder").mkdir()
    (tmp_path / "phone.heic").write_bytes(b"\x00\x00\x00\x18ftypheic")
    (tmp_path / "cut.jpg").write_bytes(encoded(noise(64, 64, 3), "JPEG")[:2000])
    (tmp_path / "fake.jpg").write_bytes(b"\xff\xd8\xffnot really")
    assert failure("text.jpg") == (
        f"text.jpg: it is not an image, it holds text (expected JPEG, PNG, WebP, GIF, BMP or TIFF) {way_out}"
    )
    assert failure("empty.jpg") == f"empty.jpg: the file is empty {way_out}"
    assert failure("folder") == f"folder: it is a folder, not an image {way_out}"
    assert failure("gone.jpg") == f"gone.jpg: no such file {way_out}"
    assert failure("phone.heic") == f"phone.heic: HEIC images need conversion to JPEG or PNG first {way_out}"
    assert failure("cut.jpg") == f"cut.jpg: the file is truncated {way_out}"
    assert failure("fake.jpg") == f"fake.jpg: it is not an image, or its header is damaged {way_out}"


@pytest.mark.skipif(not os.path.exists("/proc/self/mem"), reason="needs a file that can't be read")
def test_a_file_on_a_disk_that_fails(tmp_path):
    (tmp_path / "a.jpg").symlink_to("/proc/self/mem")
    assert failure(str(tmp_path / "a.jpg")).startswith(
        f"{tmp_path}/a.jpg: it can't be read, input/output error ("
    )


def test_an_error_names_the_input_and_carries_its_path(tmp_path):
    assert failure(b"").startswith("image bytes: the file is empty (")
    assert failure(b"", name="image 3").startswith("image 3: the file is empty (")
    with pytest.raises(DataError) as raised:
        decode_image(str(tmp_path / "a.jpg"), name="image 3")
    assert raised.value.details == {"path": str(tmp_path / "a.jpg")}


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"])
def test_truncated_files_of_every_format(format):
    data = encoded(noise(64, 64, 3), format)
    assert "image bytes: " in failure(data[: len(data) // 2])


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"])
def test_flipped_bytes_never_raise_anything_else(format):
    rng = np.random.default_rng(0)
    data = np.frombuffer(encoded(noise(24, 24, 3), format), dtype=np.uint8)
    messages = []
    for _ in range(150):
        damaged = data.copy()
        damaged[rng.integers(0, min(len(data), 400), 4)] = rng.integers(0, 256, 4)
        try:
            decode_image(damaged.tobytes())
        except DataError as error:
            messages.append(str(error))
    assert messages or format == "BMP"
    assert not [message for message in messages if "\n" in message or "0x" in message]


def test_a_bomb_is_refused_from_its_header(monkeypatch):
    assert failure(png(60_000, 60_000, 1, 0, b"")).startswith(
        "image bytes: its 3600000000 pixels are more than max_pixels = 67108864. Fix: raise "
        "Transfer.config.max_pixels (TRANSFER_MAX_PIXELS), or use a smaller input ("
    )
    monkeypatch.setenv("TRANSFER_MAX_PIXELS", "5000000000")
    assert "its 3600000000 pixels are more than Pillow decodes" in failure(png(60_000, 60_000, 1, 0, b""))
    monkeypatch.delenv("TRANSFER_MAX_PIXELS")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    assert failure(png(60_000, 60_000, 1, 0, b"")).startswith(
        "image bytes: its 60000 x 60000 pixels are more than max_pixels = 67108864. Fix: "
    )


def test_a_jpeg_of_huge_sides_is_refused_from_its_header():
    data = bytearray(encoded(smooth(16, 16), "JPEG"))
    sides = data.index(b"\xff\xc0") + 5  # in the frame header, ITU-T T.81 table B.2
    data[sides : sides + 4] = struct.pack(">HH", 65_000, 65_000)
    assert failure(bytes(data), at_least=224).startswith(
        "image bytes: its 4225000000 pixels are more than max_pixels = 67108864. Fix: "
    )


@pytest.mark.parametrize("kind", [b"zTXt", b"iCCP"])
def test_a_bomb_beside_the_pixels_is_not_unpacked(kind):
    image = encoded(smooth(8, 8))
    end_of_header = 33  # signature and IHDR
    bomb = chunk(kind, b"a\0\0" + zlib.compress(bytes(50_000_000)))
    assert failure(image[:end_of_header] + bomb + image[end_of_header:]).startswith(
        "image bytes: it is damaged, Decompressed data too large"
    )


def test_decoding_in_threads():
    images = [encoded(smooth(100 + i, 120), "JPEG") for i in range(8)] * 8
    with ThreadPoolExecutor(8) as pool:
        shapes = list(pool.map(lambda data: decode_image(data).size, images))
    assert shapes == [(120, 100 + i) for i in range(8)] * 8
    assert ImageFile.LOAD_TRUNCATED_IMAGES is False


def test_no_file_stays_open(photo):
    path = photo("1.png")
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(10):
        decode_image(path)
    assert len(os.listdir("/proc/self/fd")) == before
