"""Boxes of views, compared with the pixels of the views and with torchvision's transforms."""

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import tv_tensors
from torchvision.transforms import v2

from transfer_core import backbones
from transfer_core.data.boxes import boxes_of
from transfer_core.data.decode import decode_sized
from transfer_core.features.box_views import BoxView, Photo, random_view, unchanged_view, visible
from transfer_core.features.letterbox import Placement, fitted, load_letterboxed
from transfer_core.features.mosaic import mosaic_cells
from transfer_core.recipe.augmentations import Color, Crop, Flip, Mosaic, Scale

SIZE = 128
# Colours that blend to different hues than each other's and the background's.
COLOURS = np.array([[250, 0, 0], [0, 250, 0], [0, 0, 250], [250, 250, 0]])


@pytest.fixture
def preprocessing():
    return backbones.facts("mobilenet_v2").default_weights.preprocessing


@pytest.fixture
def photos(tmp_path):
    """Four photos of different shapes, with one rectangle of another colour each."""
    made = []
    for number, (width, height) in enumerate([(300, 200), (160, 240), (200, 200), (400, 150)]):
        pixels = np.zeros((height, width, 3), np.uint8)
        x1, y1, x2, y2 = width // 4, height // 5, width // 4 + 60, height // 5 + 50
        pixels[y1:y2, x1:x2] = COLOURS[number]
        path = tmp_path / f"{number}.png"
        Image.fromarray(pixels).save(path)
        boxes = boxes_of([[x1, y1, x2, y2]], [number], size=(width, height))
        made.append(Photo(str(path), str(number), boxes))
    return made


def seen_boxes(pixels):
    """Class and corners of the rectangles in the pixels."""
    distance = np.abs(pixels.astype(int)[:, :, None] - COLOURS).max(axis=3)
    found = {}
    for number in range(len(COLOURS)):
        rows, columns = np.nonzero(distance[:, :, number] < 120)
        if len(rows):
            found[number] = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
    return found


@pytest.mark.parametrize(
    "augmentations",
    [
        [],
        [Flip(1.0)],
        [Crop(0.3)],
        [Scale(0.4)],
        [Mosaic(1.0)],
        [Flip(), Crop(0.5), Scale(0.6)],
        [Flip(), Crop(0.5), Mosaic()],
    ],
    ids=str,
)
def test_boxes_are_where_the_pixels_are(augmentations, photos, preprocessing):
    compared = 0
    for seed in range(12):
        rng = np.random.default_rng(seed)
        first, *others = photos[seed % 4 :] + photos[: seed % 4]
        view = random_view(first, others, augmentations, SIZE, rng)
        corners, classes = view.objects()
        seen = seen_boxes(view.load(SIZE, preprocessing))
        for number in set(classes.tolist()):
            if (classes == number).sum() == 1:
                np.testing.assert_allclose(corners[classes == number][0], seen[number], atol=2)
                compared += 1
    assert compared >= 8


def test_flip_and_resize_as_torchvision(photos, preprocessing):
    photo = photos[2]  # square: torchvision's resize has no margin
    boxes = tv_tensors.BoundingBoxes(photo.boxes.corners, format="XYXY", canvas_size=(200, 200))
    expected = v2.Compose([v2.Resize((SIZE, SIZE)), v2.RandomHorizontalFlip(1.0)])(boxes)
    view = random_view(photo, [], [Flip(1.0)], SIZE, np.random.default_rng(0))
    torch.testing.assert_close(torch.from_numpy(view.objects()[0]), expected.as_subclass(torch.Tensor))


@pytest.mark.parametrize("size", [(300, 200), (200, 300), (50, 40), (1000, 7)])
def test_back_to_the_photo(size):
    placement = fitted(size, SIZE)
    corners = np.array([[0.0, 0, *size], [3, 2, 11, 6]])
    mapped = placement.to_canvas(corners)
    assert mapped[0].tolist() == [0, 0, *placement.rectangle[2:]]
    assert max(placement.rectangle[2:]) == SIZE
    np.testing.assert_allclose(placement.to_image(mapped), corners)


def test_hidden_objects_are_left_out():
    """A crop keeps objects of which at least 0.3 are visible, cut at its edge."""
    placement = Placement((0, 0, 100, 100), (0, 0, 50, 50))
    corners = np.array([[90.0, 0, 110, 20], [95, 0, 115, 20], [-10, 50, 30, 90], [200, 0, 210, 9]])
    cut, rows = visible(corners, placement)
    assert rows.tolist() == [0, 2]
    assert cut.tolist() == [[45, 0, 50, 10], [0, 25, 15, 45]]


def test_cells_of_a_mosaic_cover_the_input():
    for seed in range(20):
        covered = np.zeros((SIZE, SIZE), int)
        for x, y, width, height in mosaic_cells(SIZE, np.random.default_rng(seed)):
            covered[y : y + height, x : x + width] += 1
        assert (covered == 1).all()


def test_colours_leave_the_boxes_alone(photos, preprocessing):
    rng = np.random.default_rng(0)
    view = random_view(photos[0], [], [Color(0.5)], SIZE, rng)
    plain = unchanged_view(photos[0], SIZE)
    np.testing.assert_array_equal(view.objects()[0], plain.objects()[0])
    assert not np.array_equal(view.load(SIZE, preprocessing), plain.load(SIZE, preprocessing))


def test_a_view_is_what_a_prediction_sees(photos, preprocessing):
    loaded = load_letterboxed(photos[1].path, SIZE, preprocessing)
    view = unchanged_view(photos[1], SIZE)
    np.testing.assert_array_equal(view.load(SIZE, preprocessing), loaded.pixels)
    assert (loaded.placement, loaded.size) == (view.placements[0], photos[1].boxes.size)


def test_large_photos_are_decoded_smaller(tmp_path, preprocessing):
    """The full size is that of the file, upright."""
    path = tmp_path / "large.jpg"
    image = Image.fromarray(np.zeros((800, 1200, 3), np.uint8))
    exif = image.getexif()
    exif[0x0112] = 6
    image.save(path, exif=exif)
    loaded = load_letterboxed(str(path), SIZE, preprocessing)
    assert loaded.size == (800, 1200)
    assert loaded.placement.rectangle == (0, 0, 85, 128)


def test_views_have_keys_of_their_own(photos):
    views = [
        random_view(photos[0], photos[1:], [Crop(), Mosaic()], SIZE, np.random.default_rng(i))
        for i in range(9)
    ]
    keys = {view.key for view in [*views, unchanged_view(photos[0], SIZE), unchanged_view(photos[1], SIZE)]}
    assert len(keys) == 11
    assert isinstance(views[0], BoxView)


@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_the_last_image_is_decoded_once_for_each_size(tmp_path, monkeypatch, suffix):
    from transfer_core.features import last_decoded

    path = str(tmp_path / f"photo.{suffix}")
    pixels = np.random.default_rng(0).integers(0, 256, (150, 200, 3), np.uint8)
    Image.fromarray(pixels).save(path)
    decoded = []

    def count(*args, **words):
        decoded.append(words)
        return decode_sized(*args, **words)

    monkeypatch.setattr(last_decoded, "decode_sized", count)
    decoder = last_decoded.LastDecoded()
    requests = (60, 50, 90, 100, 101, 55, 20, 200)
    for longer_at_least in requests:
        found = decoder(path, longer_at_least=longer_at_least)
        expected = decode_sized(path, longer_at_least=longer_at_least)
        assert found[1] == expected[1]
        np.testing.assert_array_equal(np.asarray(found[0]), np.asarray(expected[0]))
    assert len(decoded) == {"jpg": 3, "png": 1}[suffix]
