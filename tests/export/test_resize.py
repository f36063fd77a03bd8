"""The resize in a graph equals Pillow's to the last bit."""

import io

import numpy as np
import onnx
import onnxruntime
import pytest
from PIL import Image

from transfer_core.backbones import Preprocessing
from transfer_core.export.operators import Graph
from transfer_core.export.resize import centre_pixels
from transfer_core.features.pixels import load_pixels

pytestmark = [pytest.mark.extras, pytest.mark.slow]

SIZES = (
    *((500, 400), (640, 480), (257, 255), (256, 256), (224, 224), (1024, 768)),  # as photos are
    *((1, 1), (3, 2), (30, 900), (900, 30), (2, 3000)),  # enlarged, one side or both
    *((501, 699), (1200, 800), (1000, 100)),  # reduced first, one side or both
)


def resizer(crop, resize, interpolation, squash=False):
    preprocessing = Preprocessing(crop, resize, interpolation, (0.0,) * 3, (1.0,) * 3, squash)
    graph = Graph()
    images = graph.input("image", np.uint8, ["N", "H", "W", 3])
    graph.output("pixels", centre_pixels(images, preprocessing), ["N", 3, crop, crop])
    model = graph.model()
    onnx.checker.check_model(model, full_check=True)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    return preprocessing, lambda images: session.run(None, {"image": images})[0]


def picture(size, seed):
    """Shades and edges with noise, uint8 (H, W, 3)."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (size[1] // 16 + 1, size[0] // 16 + 1, 3), np.uint8)
    smooth = np.asarray(Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC))
    noise = rng.integers(-9, 10, smooth.shape)
    return np.clip(smooth + noise, 0, 255).astype(np.uint8)


def png(array):
    file = io.BytesIO()
    Image.fromarray(array).save(file, "PNG")
    return file.getvalue()


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize(("crop", "resize"), [(64, 73), (224, 232), (30, 30)])
def test_equals_pillow(crop, resize, interpolation):
    preprocessing, resized = resizer(crop, resize, interpolation)
    for seed, size in enumerate(SIZES):
        image = picture(size, seed)
        expected = load_pixels(png(image), preprocessing)
        assert np.array_equal(resized(image[None])[0].transpose(1, 2, 0), expected), size


def test_squash_equals_pillow():
    preprocessing, resized = resizer(64, 64, "bicubic", squash=True)
    for seed, size in enumerate(SIZES):
        image = picture(size, seed)
        expected = load_pixels(png(image), preprocessing)
        assert np.array_equal(resized(image[None])[0].transpose(1, 2, 0), expected), size


def test_several_images_of_a_size():
    preprocessing, resized = resizer(32, 36, "bilinear")
    images = np.stack([picture((90, 70), seed) for seed in range(3)])
    for image, found in zip(images, resized(images), strict=True):
        assert np.array_equal(found.transpose(1, 2, 0), load_pixels(png(image), preprocessing))
