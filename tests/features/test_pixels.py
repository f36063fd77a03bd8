"""The pixels a backbone sees: those of torchvision's own transform, cut out of the right place."""

import io

import msgspec
import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_sample_images
from torchvision.transforms import InterpolationMode
from torchvision.transforms._presets import ImageClassification

from transfer_core import backbones
from transfer_core.features import load_augmented_pixels, load_pixels
from transfer_core.features.augment import random_crop
from transfer_core.features.image_tensors import normalize, to_batch
from transfer_core.recipe.augmentations import Color, Crop, Flip, Rotate
from transfer_core.runtime.errors import DataError

PREPROCESSING = backbones.facts("mobilenet_v2").default_weights.preprocessing


def encoded(array, format="PNG"):
    file = io.BytesIO()
    Image.fromarray(array).save(file, format, quality=95)
    return file.getvalue()


def theirs(image, preprocessing):
    """torchvision's inference transform, back in units of a pixel's 0..255: float (H, W, 3)."""
    transform = ImageClassification(
        crop_size=preprocessing.crop_size,
        resize_size=preprocessing.resize_size,
        mean=(0, 0, 0),
        std=(1, 1, 1),
        interpolation=InterpolationMode(preprocessing.interpolation),
    )
    return 255 * transform(image).permute(1, 2, 0).numpy()


def photos():
    for photo in load_sample_images().images:
        yield from (photo, photo.transpose(1, 0, 2), photo[:, :501], photo[::2, ::2])


@pytest.mark.parametrize("name", ["mobilenet_v2", "efficientnet_b1", "inception_v3", "regnet_y_400mf"])
def test_photos_as_torchvision_sees_them(name):
    preprocessing = backbones.facts(name).default_weights.preprocessing
    for photo in photos():
        ours = load_pixels(encoded(photo), preprocessing)
        expected = theirs(Image.fromarray(photo), preprocessing)
        assert ours.shape == (preprocessing.crop_size, preprocessing.crop_size, 3)
        assert ours.dtype == np.uint8
        assert np.abs(ours - expected).mean() < 0.2  # Pillow rounds between its two passes


def test_large_photos_are_shrunk_in_two_steps():
    photo = Image.fromarray(load_sample_images().images[0]).resize((2560, 1708))
    expected = theirs(photo, PREPROCESSING)
    of_png = load_pixels(encoded(np.asarray(photo)), PREPROCESSING)
    assert np.abs(of_png - expected).mean() < 0.6
    of_jpeg = load_pixels(encoded(np.asarray(photo), "JPEG"), PREPROCESSING)
    assert np.abs(of_jpeg - expected).mean() < 2.5


def coordinates(width, height):
    """A picture whose red says x and whose green says y, in 1/1000 of the longer side times 255."""
    y, x = np.mgrid[0:height, 0:width] + 0.5
    scale = 255 / max(width, height)
    return np.stack([x * scale, y * scale, 0 * x], axis=2).round().astype(np.uint8), scale


@pytest.mark.parametrize(
    ("width", "height"), [(240, 240), (250, 190), (190, 250), (251, 101), (101, 251), (2000, 1500)]
)
@pytest.mark.parametrize(("crop", "resize"), [(224, 256), (240, 240), (64, 127)])
def test_the_crop_is_the_middle(width, height, crop, resize):
    preprocessing = msgspec.structs.replace(PREPROCESSING, crop_size=crop, resize_size=resize)
    picture, scale = coordinates(width, height)
    found = load_pixels(encoded(picture), preprocessing) / scale
    side = min(width, height) * crop / resize
    along = (np.arange(crop) + 0.5) * side / crop - side / 2
    # Half a level of rounding in the picture and in the result; torchvision's crop begins at a whole pixel.
    tolerance = 1.01 / scale + 0.5 * side / crop
    inner = slice(2, -2)
    assert np.abs(found[:, :, 0] - (width / 2 + along)[None, :])[:, inner].max() <= tolerance
    assert np.abs(found[:, :, 1] - (height / 2 + along)[:, None])[inner].max() <= tolerance


@pytest.mark.parametrize("size", [(1, 1), (1, 2), (3000, 5), (5, 3000), (2, 2)])
def test_any_size_will_do(size):
    picture = np.full((*size, 3), (10, 200, 90), np.uint8)
    whole = load_pixels(encoded(picture), PREPROCESSING)
    assert whole.shape == (224, 224, 3)
    assert (whole == (10, 200, 90)).all()
    for seed in range(20):
        rng = np.random.default_rng(seed)
        assert (
            load_augmented_pixels(encoded(picture), PREPROCESSING, (Flip(), Crop(0.1)), rng) == (10, 200, 90)
        ).all()


def test_a_checkerboard_keeps_its_corners():
    """Four quarters of 112 pixels around the centre, wherever the middle of the picture lies."""
    for width, height in ((300, 300), (400, 300), (300, 400)):
        picture = np.zeros((height, width, 3), np.uint8)
        picture[: height // 2, : width // 2] = 255
        picture[height // 2 :, width // 2 :] = 255
        found = load_pixels(encoded(picture), PREPROCESSING)
        assert (found[:111, :111] == 255).all()
        assert (found[113:, 113:] == 255).all()
        assert (found[:111, 113:] == 0).all()
        assert (found[113:, :111] == 0).all()


def test_a_small_crop_of_a_large_jpeg_is_as_sharp_as_that_of_a_png():
    stripes = np.where(np.arange(2400) // 4 % 2, 40, 215).astype(np.uint8)
    photo = np.broadcast_to(stripes[None, :, None], (2400, 2400, 3))
    change = (Crop(0.01),)
    small = [s for s in range(200) if random_crop(change, np.random.default_rng(s)).area < 0.03]
    assert len(small) > 2
    for seed in small[:3]:
        of_jpeg, of_png = (
            load_augmented_pixels(encoded(photo, format), PREPROCESSING, change, np.random.default_rng(seed))
            for format in ("JPEG", "PNG")
        )
        assert of_png.std() > 60
        assert of_jpeg.std() > 0.9 * of_png.std()


@pytest.mark.parametrize("changes", [(Rotate(), Color()), (Flip(), Crop(0.1), Rotate(180.0), Color())])
@pytest.mark.parametrize("size", [(1, 1), (3000, 5), (5, 3000), (300, 400)])
def test_every_view_has_the_size_of_the_backbone_s_input(size, changes):
    picture = encoded(np.full((*size, 3), 99, np.uint8))
    for seed in range(5):
        view = load_augmented_pixels(picture, PREPROCESSING, changes, np.random.default_rng(seed))
        assert view.shape == (224, 224, 3)
        assert view.dtype == np.uint8


def test_a_rotation_starts_from_the_very_centre_that_is_used_untouched():
    photo = encoded(load_sample_images().images[0])
    plain = load_pixels(photo, PREPROCESSING).astype(int)
    view = load_augmented_pixels(photo, PREPROCESSING, (Rotate(1e-9),), np.random.default_rng(0))
    assert np.abs(view - plain).max() <= 2


def test_an_error_names_the_image(tmp_path):
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"\xff\xd8\xff\xe0 and no more")
    with pytest.raises(DataError) as error:
        load_pixels(str(broken), PREPROCESSING)
    assert str(error.value).startswith(f"{broken}: ")
    with pytest.raises(DataError, match=r"^image 3 of 4: "):
        load_pixels(broken.read_bytes(), PREPROCESSING, "image 3 of 4")


def test_a_batch_is_a_stack_in_channels_last():
    pixels = [np.random.default_rng(i).integers(0, 256, (5, 4, 3), dtype=np.uint8) for i in range(3)]
    batch = to_batch(pixels)
    assert batch.shape == (3, 3, 5, 4)
    assert batch.is_contiguous(memory_format=torch.channels_last)
    assert np.array_equal(batch[2, 1].numpy(), pixels[2][:, :, 1])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_normalize_as_torchvision_does(dtype):
    from torchvision.transforms.functional import normalize as torchvision_normalize

    batch = torch.arange(256, dtype=torch.uint8).repeat(3).view(1, 3, 16, 16)
    found = normalize(batch, PREPROCESSING, dtype)
    expected = torchvision_normalize(batch / 255, PREPROCESSING.mean, PREPROCESSING.std)
    assert found.dtype == dtype
    torch.testing.assert_close(
        found, expected.to(dtype), atol=1e-6, rtol=1e-6 if dtype == torch.float32 else 1e-2
    )
