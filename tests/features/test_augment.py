"""Random views: of the size, place and frequency that the recipe says, and the same for the same seed."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from PIL import Image

from photos import save
from tiny_backbone import tiny_backbone
from transfer_core.features import Views, build_extractor
from transfer_core.features.augment import augment, crop_box
from transfer_core.recipe import Color, Crop, Flip, Rotate

ALL = (Flip(), Crop(), Rotate(), Color())


def noise(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def changed(array, *augmentations, seed=0):
    return np.asarray(augment(Image.fromarray(array), augmentations, np.random.default_rng(seed)))


@pytest.mark.parametrize("change", ALL)
@pytest.mark.parametrize("size", [(1, 1), (5, 90), (40, 30)])
def test_the_size_stays(change, size):
    assert changed(noise(*size), change).shape == (*size, 3)


def test_flip():
    picture = noise(6, 9)
    for seed in range(20):
        assert np.array_equal(changed(picture, Flip(0.0), seed=seed), picture)
        assert np.array_equal(changed(picture, Flip(1.0), seed=seed), picture[:, ::-1])


def test_flips_are_as_frequent_as_asked_for():
    picture, rng = Image.fromarray(noise(1, 2)), np.random.default_rng(0)
    flips = sum(
        np.asarray(augment(picture, [Flip(0.3)], rng))[0, 0, 0] == noise(1, 2)[0, 1, 0] for _ in range(2000)
    )
    assert abs(flips / 2000 - 0.3) < 3 * (0.3 * 0.7 / 2000) ** 0.5


def test_no_crop_no_box():
    assert crop_box(10, 10, (Flip(), Color()), np.random.default_rng(0)) is None


@pytest.mark.parametrize(("width", "height"), [(100, 100), (200, 100), (90, 130), (3000, 5), (1, 1)])
@pytest.mark.parametrize("smallest", [0.2, 0.5, 1.0])
def test_crops_are_within_and_evenly_large(width, height, smallest):
    rng = np.random.default_rng(1)
    boxes = np.array([crop_box(width, height, [Crop(smallest)], rng) for _ in range(2000)])
    left, top, right, bottom = boxes.T
    assert (np.minimum(left, top) >= 0).all()
    assert (right <= width + 1e-9).all()
    assert (bottom <= height + 1e-9).all()
    shares = np.sort((right - left) * (bottom - top) / (width * height))
    assert shares[0] >= smallest - 1e-9
    # Kolmogorov and Smirnov: the largest distance from the uniform distribution, 1 % level.
    expected = np.linspace(smallest, 1, len(shares))
    assert np.abs(shares - expected).max() < 1.63 / len(shares) ** 0.5


def test_the_aspect_ratio_of_crops():
    rng = np.random.default_rng(2)
    boxes = np.array([crop_box(100, 100, [Crop(0.01)], rng) for _ in range(2000)])
    small = boxes[(boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]) < 5000]
    ratios = np.sort(np.log((small[:, 2] - small[:, 0]) / (small[:, 3] - small[:, 1])))
    limit = np.log(4 / 3)
    assert np.abs(ratios).max() <= limit + 1e-9
    assert (
        np.abs(ratios - np.linspace(-limit, limit, len(ratios))).max() < 1.63 * 2 * limit / len(ratios) ** 0.5
    )


def test_rotation_keeps_to_its_angle():
    picture = np.zeros((101, 101, 3), np.uint8)
    picture[48:53, 88:93] = 255  # 40 pixels right of the centre
    y, x = np.mgrid[-50:51, -50:51]
    angles = []
    for seed in range(200):
        weight = changed(picture, Rotate(30.0), seed=seed)[:, :, 0].astype(float)
        assert weight.sum() > 0
        angles.append(np.degrees(np.arctan2((weight * y).sum(), (weight * x).sum())))
    assert np.abs(angles).max() < 30.5
    assert abs(np.mean(angles)) < 3 * 30 / 3**0.5 / 200**0.5
    assert np.std(angles) == pytest.approx(30 / 3**0.5, rel=0.15)


def test_corners_of_a_rotated_photo_take_the_colour_of_the_border():
    picture = np.full((40, 40, 3), (10, 120, 250), np.uint8)
    assert (changed(picture, Rotate(45.0), seed=3) == (10, 120, 250)).all()


def test_color_changes_by_its_strength():
    grey = np.full((4, 4, 3), 100, np.uint8)  # contrast and saturation leave an even grey as it is
    levels = np.array([changed(grey, Color(0.2), seed=seed)[0, 0, 0] for seed in range(500)])
    assert levels.min() >= 80
    assert levels.max() <= 120
    assert levels.mean() == pytest.approx(100, abs=3 * 40 / 12**0.5 / 500**0.5)
    assert levels.std() == pytest.approx(40 / 12**0.5, rel=0.1)


@pytest.fixture
def extractor():
    return build_extractor(tiny_backbone(), torch.device("cpu"), torch.float32)


def test_a_view_depends_on_seed_photo_and_number_alone(extractor, tmp_path):
    photos = [save(tmp_path / f"{i}.png", noise(30, 40, seed=i)) for i in range(6)]
    wanted = [(photo, f"{i:064x}", view) for i, photo in enumerate(photos) for view in range(4)]
    views = Views(ALL, seed=5)
    assert views.count == 4
    in_order = [views.load(*which, extractor) for which in wanted]
    backwards = [views.load(*which, extractor) for which in reversed(wanted)][::-1]
    with ThreadPoolExecutor(4) as pool:
        at_once = list(pool.map(lambda which: views.load(*which, extractor), wanted))
    for first, *others in zip(in_order, backwards, at_once, strict=True):
        assert all(np.array_equal(first, other) for other in others)
    distinct = {pixels.tobytes() for pixels in in_order}
    assert len(distinct) == len(in_order)
    assert all(
        not np.array_equal(Views(ALL, seed=6).load(*which, extractor), pixels)
        for which, pixels in zip(wanted, in_order, strict=True)
        if which[2]
    )


def test_the_first_view_is_the_photo_itself(extractor, tmp_path):
    photo = save(tmp_path / "photo.png", noise(30, 40))
    plain = Views().load(photo, "0" * 64, 0, extractor)
    assert np.array_equal(Views(ALL, seed=1).load(photo, "0" * 64, 0, extractor), plain)


def test_keys_tell_views_apart():
    keys = {
        views.key(digest, view)
        for views in (Views(ALL, 0), Views(ALL, 1), Views((Flip(),), 0))
        for digest in ("a" * 64, "b" * 64)
        for view in range(4)
    }
    assert len(keys) == 2 + 3 * 2 * 3  # the untouched views are shared
    assert Views().count == 1
