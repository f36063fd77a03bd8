"""Random views: of the size, place and frequency that the recipe says, and the same for the same seed."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_sample_images
from torchvision.transforms.v2.functional import adjust_brightness, adjust_contrast, adjust_saturation

from photos import save
from tiny_backbone import tiny_backbone
from transfer_core.features import Views, image_extractor
from transfer_core.features.augment import augment, random_angle, random_crop
from transfer_core.recipe.augmentations import Color, Crop, Flip, Rotate
from transfer_core.runtime.devices import Device

ALL = (Flip(), Crop(), Rotate(), Color())


def noise(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def changed(array, *augmentations, seed=0):
    return np.asarray(augment(Image.fromarray(array), augmentations, np.random.default_rng(seed)))


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


def evenly_between(draws, low, high):
    """Within the limits, and no farther from an even distribution than chance: Kolmogorov-Smirnov, 1 %."""
    expected = np.linspace(low, high, len(draws))
    distance = np.abs(np.sort(draws) - expected).max() / (high - low)
    return low <= draws.min() and draws.max() <= high and distance < 1.63 / len(draws) ** 0.5


def test_what_is_not_asked_for_is_not_drawn():
    assert random_crop((Flip(), Color(), Rotate()), np.random.default_rng(0)) is None
    assert random_angle((Flip(), Color(), Crop()), np.random.default_rng(0)) == 0


@pytest.mark.parametrize(("width", "height"), [(100, 100), (200, 100), (90, 130), (3000, 5), (1, 1)])
@pytest.mark.parametrize("smallest", [0.2, 0.5, 0.999])
def test_crops_are_within_and_evenly_large(width, height, smallest):
    rng = np.random.default_rng(1)
    boxes = np.array([random_crop([Crop(smallest)], rng).box(width, height) for _ in range(2000)])
    left, top, right, bottom = boxes.T
    assert (np.minimum(left, top) >= 0).all()
    assert (right <= width * (1 + 1e-12)).all()
    assert (bottom <= height * (1 + 1e-12)).all()
    shares = (right - left) * (bottom - top) / (width * height)
    assert evenly_between(shares, smallest - 1e-9, 1 + 1e-9)


def test_crops_lie_anywhere_and_have_every_ratio():
    rng = np.random.default_rng(2)
    crops = [random_crop([Crop(0.01)], rng) for _ in range(2000)]
    assert evenly_between(np.log([crop.ratio for crop in crops]), np.log(3 / 4), np.log(4 / 3))
    assert evenly_between(np.array([crop.across for crop in crops]), 0, 1)
    assert evenly_between(np.array([crop.down for crop in crops]), 0, 1)
    for crop in crops:
        left, top, right, bottom = crop.box(400, 300)
        if right - left < 400 and bottom - top < 300:
            assert (right - left) / (bottom - top) == pytest.approx(crop.ratio)
            assert left == pytest.approx(crop.across * (400 - right + left))
            assert top == pytest.approx(crop.down * (300 - bottom + top))


@pytest.mark.parametrize(("width", "height"), [(1, 1), (1.5, 1), (1, 3)])
def test_a_photo_as_long_as_a_crop_asks_for_is_enough(width, height):
    """And on a square one, no longer than needed."""
    rng = np.random.default_rng(3)
    for _ in range(500):
        crop = random_crop([Crop(0.05)], rng)
        side = crop.shorter_side(224)
        left, top, right, bottom = crop.box(width * side, height * side)
        assert min(right - left, bottom - top) >= 224 - 1e-9
        left, top, right, bottom = crop.box(side - 1, side - 1)
        assert min(right - left, bottom - top) < 224 or crop.area > 3 / 4


def test_angles_are_evenly_distributed():
    rng = np.random.default_rng(4)
    assert evenly_between(np.array([random_angle([Rotate()], rng) for _ in range(2000)]), -15, 15)


def test_color_changes_by_its_strength():
    grey = np.full((4, 4, 3), 100, np.uint8)  # contrast and saturation leave an even grey as it is
    levels = np.array([changed(grey, Color(0.2), seed=seed)[0, 0, 0] for seed in range(500)])
    assert levels.min() >= 80
    assert levels.max() <= 120
    assert levels.mean() == pytest.approx(100, abs=3 * 40 / 12**0.5 / 500**0.5)
    assert levels.std() == pytest.approx(40 / 12**0.5, rel=0.1)


def test_colors_as_torchvision_adjusts_them():
    photo = load_sample_images().images[0][100:200, 100:200]
    expected = torch.from_numpy(photo.transpose(2, 0, 1).copy())
    rng = np.random.default_rng(7)
    for adjust in (adjust_brightness, adjust_contrast, adjust_saturation):
        expected = adjust(expected, rng.uniform(0.6, 1.4))
    found = changed(photo, Color(0.4), seed=7).transpose(2, 0, 1).astype(int)
    assert np.abs(found - expected.numpy()).max() <= 3  # each of three steps rounds or cuts off
    assert np.abs(found - photo.transpose(2, 0, 1)).mean() > 10


@pytest.fixture
def extractor():
    return image_extractor(tiny_backbone(), Device("cpu"), "float32")


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
