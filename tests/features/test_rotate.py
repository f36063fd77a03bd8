"""A turned view shows what Pillow and torchvision show, and something in every corner."""

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_sample_images
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2.functional import rotate

from transfer_core.features.augment import random_angle
from transfer_core.features.rotate import rotated
from transfer_core.recipe.augmentations import Rotate

BILINEAR = Image.Resampling.BILINEAR
PHOTO = load_sample_images().images[0]  # (427, 640, 3)


def turned(pixels, box, degrees, size):
    return np.asarray(rotated(Image.fromarray(pixels), box, degrees, size, BILINEAR)).astype(int)


@pytest.mark.parametrize("degrees", [-30, -7.5, 0.5, 15, 90, 170])
def test_within_the_photo(degrees):
    box = (120, 110, 320, 310)
    found = turned(PHOTO, box, degrees, 200)
    around = PHOTO[10:410, 20:420]
    pillow = Image.fromarray(around).rotate(-degrees, BILINEAR).crop((100, 100, 300, 300))
    assert np.abs(found - np.asarray(pillow)).max() <= 1
    tensor = torch.from_numpy(around.transpose(2, 0, 1).copy())
    theirs = rotate(tensor, -degrees, InterpolationMode.BILINEAR)[:, 100:300, 100:300]
    assert np.abs(found - theirs.permute(1, 2, 0).numpy()).max() <= 2


@pytest.mark.parametrize("degrees", [-45, 10, 180])
@pytest.mark.parametrize("box", [(0, 0, 200, 200), (440, 227, 640, 427), (200, 227, 400, 427)])
def test_beyond_the_border_the_photo_is_mirrored(box, degrees):
    left, top, right, bottom = (edge + 100 for edge in box)
    mirrored = np.pad(PHOTO, ((100, 100), (100, 100), (0, 0)), mode="symmetric")
    centre = ((left + right) / 2, (top + bottom) / 2)
    whole = Image.fromarray(mirrored).rotate(-degrees, BILINEAR, center=centre)
    expected = np.asarray(whole.crop((left, top, right, bottom)))
    assert np.abs(turned(PHOTO, box, degrees, 200) - expected).max() <= 1


def test_a_shrunken_photo_turns_like_a_photo_that_is_shrunk():
    found = turned(PHOTO, (120, 10, 520, 410), 12, 100)
    large = Image.fromarray(PHOTO).rotate(-12, BILINEAR, center=(320, 210)).crop((120, 10, 520, 410))
    expected = np.asarray(large.resize((100, 100), BILINEAR))
    assert np.abs(found - expected)[5:-5, 5:-5].mean() < 4


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (3000, 5), (5, 3000), (40, 30)])
def test_no_colour_comes_from_nowhere(size):
    rng = np.random.default_rng(0)
    height, width = size
    picture = np.full((*size, 3), (10, 120, 250), np.uint8)
    for _ in range(50):
        degrees = random_angle([Rotate(180.0)], rng)
        left, right = np.sort(rng.uniform(0, width, 2))
        top, bottom = np.sort(rng.uniform(0, height, 2))
        for box in ((0, 0, width, height), (left, top, right, bottom)):
            found = turned(picture, box, degrees, 32)
            assert found.shape == (32, 32, 3)
            assert (found == (10, 120, 250)).all()


def test_positive_angles_turn_clockwise():
    picture = np.zeros((101, 101, 3), np.uint8)
    picture[48:53, 88:93] = 255  # 40 pixels right of the centre
    y, x = np.mgrid[-50:51, -50:51]
    for degrees in range(-80, 81, 16):
        weight = turned(picture, (0, 0, 101, 101), degrees, 101)[:, :, 0]
        found = np.degrees(np.arctan2((weight * y).sum(), (weight * x).sum()))
        assert found == pytest.approx(degrees, abs=0.5)
