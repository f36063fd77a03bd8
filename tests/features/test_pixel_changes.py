"""Augmentations of pixels against independent definitions: torchvision, NumPy and the papers' formulae."""

import io

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_sample_images
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional

from transfer_core.features.augment import augment
from transfer_core.features.rand_augment import OPERATIONS
from transfer_core.features.style import TargetStyle
from transfer_core.recipe.augmentations import (
    Blur,
    Color,
    Grayscale,
    Jpeg,
    Noise,
    RandAugment,
    Style,
)

CHINA, FLOWER = (image[100:196, 100:196] for image in load_sample_images().images)
PHOTO = Image.fromarray(CHINA)


def changed(augmentation, seed=0, image=PHOTO):
    return np.asarray(augment(image, [augmentation], np.random.default_rng(seed))).astype(int)


@pytest.mark.parametrize("augmentation", [Blur(), Noise(), Jpeg(), Grayscale(0.5), RandAugment(), Color()])
def test_changes_are_determined_by_the_seed_and_keep_the_size(augmentation):
    found = [changed(augmentation, seed).tobytes() for seed in range(12)]
    assert found == [changed(augmentation, seed).tobytes() for seed in range(12)]
    assert len(set(found)) > 1
    assert changed(augmentation, image=Image.fromarray(CHINA[:1, :1])).shape == (1, 1, 3)


def test_noise_has_the_drawn_spread():
    grey = Image.fromarray(np.full((200, 200, 3), 128, np.uint8))
    spreads = [changed(Noise(0.1), seed, grey).std() for seed in range(40)]
    expected = [255 * np.random.default_rng(seed).uniform(0, 0.1) for seed in range(40)]
    assert np.allclose(spreads, expected, atol=0.4)
    assert abs(changed(Noise(0.1), 1, grey).mean() - 128) < 0.2


def test_blur_is_torchvisions():
    deviation = np.random.default_rng(0).uniform(0, 2)
    tensor = torch.from_numpy(CHINA.transpose(2, 0, 1).copy())
    blurred = functional.gaussian_blur(tensor, [13, 13], [deviation, deviation]).numpy().transpose(1, 2, 0)
    inner = (slice(8, -8), slice(8, -8))  # PIL approximates the Gaussian by boxes, and extends the edge
    found, original = changed(Blur(2.0), 0)[inner], CHINA[inner].astype(int)
    assert np.abs(found - blurred[inner]).mean() < 0.1 * np.abs(original - blurred[inner]).mean()


def test_jpeg_loses_as_much_as_the_drawn_quality():
    quality = int(np.random.default_rng(5).integers(20, 96))
    file = io.BytesIO()
    PHOTO.save(file, "JPEG", quality=quality)
    assert np.array_equal(changed(Jpeg(20), 5), np.asarray(Image.open(file)))


def test_grayscale_is_luma():
    luma = CHINA @ np.array([299, 587, 114]) / 1000
    assert np.abs(changed(Grayscale(1.0)) - luma[..., None]).max() <= 1
    assert np.array_equal(changed(Grayscale(0.0)), CHINA)


AS_TORCHVISION = {
    "identity": lambda x, m: x,
    "brightness": lambda x, m: functional.adjust_brightness(x, 1 + 0.9 * m),
    "color": lambda x, m: functional.adjust_saturation(x, 1 + 0.9 * m),
    "contrast": lambda x, m: functional.adjust_contrast(x, 1 + 0.9 * m),
    "sharpness": lambda x, m: functional.adjust_sharpness(x, 1 + 0.9 * m),
    "posterize": lambda x, m: functional.posterize(x, 8 - round(4 * abs(m))),
    "solarize": lambda x, m: functional.solarize(x, 255 * (1 - abs(m))),
    "auto_contrast": lambda x, m: functional.autocontrast(x),
    "equalize": lambda x, m: functional.equalize(x),
    "rotate": lambda x, m: affine(x, angle=30 * m),
    "shear_x": lambda x, m: affine(x, shear=[float(np.degrees(np.arctan(0.3 * m))), 0.0]),
    "shear_y": lambda x, m: affine(x, shear=[0.0, float(np.degrees(np.arctan(0.3 * m)))]),
    "translate_x": lambda x, m: affine(x, translate=[-round(0.45 * m * 96), 0]),
    "translate_y": lambda x, m: affine(x, translate=[0, -round(0.45 * m * 96)]),
}


def affine(x, angle=0.0, translate=(0, 0), shear=(0.0, 0.0)):
    return functional.affine(
        x, angle, list(translate), 1.0, list(shear), InterpolationMode.BILINEAR, fill=[128.0] * 3
    )


@pytest.mark.parametrize("magnitude", [0.3, -1.0])
@pytest.mark.parametrize("name", OPERATIONS)
def test_operations_of_rand_augment_are_torchvisions(name, magnitude):
    tensor = torch.from_numpy(CHINA.transpose(2, 0, 1).copy())
    expected = AS_TORCHVISION[name](tensor, magnitude).numpy().transpose(1, 2, 0).astype(int)
    found = np.asarray(OPERATIONS[name](PHOTO, magnitude)).astype(int)
    assert np.abs(found - expected).mean() < 1.2
    assert len(OPERATIONS) == 14


def test_rand_augment_draws_every_operation(monkeypatch):
    drawn = []
    spied = {
        name: (lambda image, magnitude, name=name: drawn.append((name, magnitude)) or image)
        for name in OPERATIONS
    }
    monkeypatch.setattr("transfer_core.features.rand_augment.OPERATIONS", spied)
    for seed in range(100):
        changed(RandAugment(operations=3, magnitude=15), seed)
    assert len(drawn) == 300
    assert {magnitude for _, magnitude in drawn} == {-0.5, 0.5}
    assert {name for name, _ in drawn} == set(OPERATIONS)


def as_reinhard(pixels):
    """The axes l, alpha, beta of Reinhard et al. 2001, equations 4, 5 and 6."""
    levels = np.maximum(pixels.reshape(-1, 3) / 255, 1 / 255)
    lms = np.log10(
        levels @ np.array([[0.3811, 0.5783, 0.0402], [0.1967, 0.7244, 0.0782], [0.0241, 0.1288, 0.8444]]).T
    )
    scale = np.diag([3**-0.5, 6**-0.5, 2**-0.5])
    return lms @ (scale @ np.array([[1, 1, 1], [1, 1, -2], [1, -1, 0]])).T


def muted(image):
    """Low contrast, so that no level of the result is cut off."""
    return (100 + 0.3 * image).astype(np.uint8)


def test_color_style_has_the_moments_of_the_target():
    style = TargetStyle(Style(), [muted(FLOWER)], ["a"])
    found = as_reinhard(changed(style, image=Image.fromarray(muted(CHINA))))
    wanted, before = as_reinhard(muted(FLOWER)), as_reinhard(muted(CHINA))
    assert np.abs(before.mean(axis=0) - wanted.mean(axis=0)).max() > 0.02
    assert found.mean(axis=0) == pytest.approx(wanted.mean(axis=0), abs=2e-3)
    assert found.std(axis=0) == pytest.approx(wanted.std(axis=0), rel=0.1)


def test_fourier_style_is_the_papers():
    """Yang and Soatto 2020, equation 3, with the mask as an explicit set of frequencies."""
    band, own, target = 0.03, muted(CHINA), muted(FLOWER)
    half, size = int(96 * band), 96
    frequencies = np.fft.fftfreq(size, 1 / size)
    low = (np.abs(frequencies)[:, None] <= half) & (np.abs(frequencies)[None] <= half)
    expected = np.empty(own.shape)
    for channel in range(3):
        a, b = np.fft.fft2(own[..., channel]), np.fft.fft2(target[..., channel])
        amplitude = np.where(low, np.abs(b), np.abs(a))
        expected[..., channel] = np.fft.ifft2(amplitude * np.exp(1j * np.angle(a))).real
    style = TargetStyle(Style(method="fourier", band=band), [target], ["a"])
    found = changed(style, image=Image.fromarray(own))
    assert np.abs(found - np.clip(expected, 0, 255)).max() <= 0.5 + 1e-6
    assert np.abs(expected - own).mean() > 3


@pytest.mark.parametrize("method", ["color", "fourier"])
def test_style_of_the_image_itself_changes_nothing(method):
    style = TargetStyle(Style(method=method), [CHINA], ["a"])
    assert np.abs(changed(style) - CHINA).max() <= 2
    half = TargetStyle(Style(method=method, strength=0.5), [FLOWER], ["a"])
    whole = TargetStyle(Style(method=method), [FLOWER], ["a"])
    assert np.abs(changed(half) - CHINA).mean() < np.abs(changed(whole) - CHINA).mean()


@pytest.mark.parametrize("method", ["color", "fourier"])
def test_style_of_flat_images_is_finite(method):
    flat = np.full((96, 96, 3), 255, np.uint8)
    spotted = flat.copy()
    spotted[0, 0] = 0
    for image in (flat, spotted, np.zeros_like(flat)):
        style = TargetStyle(Style(method=method), [FLOWER], ["a"])
        assert changed(style, image=Image.fromarray(image)).shape == (96, 96, 3)
