"""Drawing of predicted boxes."""

import numpy as np
import pytest
from PIL import Image

import transfer_core
from box_sets import write_photo
from transfer_core.data.drawing import colour_of
from transfer_core.runtime.errors import ConfigurationError, DataError


def prediction(*boxes, size=(400, 300)):
    rows = [
        {"label": label, "score": score, "x": x, "y": y, "width": width, "height": height}
        for label, score, x, y, width, height in boxes
    ]
    return {"boxes": rows, "width": size[0], "height": size[1]}


@pytest.fixture
def grey(tmp_path):
    path = tmp_path / "grey.png"
    Image.new("RGB", (400, 300), (120, 120, 120)).save(path)
    return str(path)


def test_boxes_have_the_colour_of_their_label(grey, tmp_path):
    target = str(tmp_path / "found.png")
    found = prediction(("stop", 0.93, 100, 100, 80, 60), ("give way", 0.5, 250, 150, 100, 90))
    transfer_core.draw(grey, found, target)
    pixels = np.asarray(Image.open(target))
    assert pixels.shape == (300, 400, 3)
    for (x, y), label in (((100, 130), "stop"), ((180, 130), "stop"), ((300, 240), "give way")):
        assert tuple(pixels[y, x]) == colour_of(label)
    # The inside of a box and the rest of the photo stay as they are.
    assert tuple(pixels[130, 140]) == (120, 120, 120)
    assert tuple(pixels[280, 20]) == (120, 120, 120)
    # A label on a background of its colour stands above the box: both it and the ink occur there.
    above = pixels[80:99, 100:180].reshape(-1, 3).tolist()
    assert list(colour_of("stop")) in above
    assert [0, 0, 0] in above or [255, 255, 255] in above


@pytest.mark.parametrize(
    "box", [("a", 1.0, -50, -50, 900, 900), ("b", 0.1, 399, 299, 1, 1), ("ü" * 80, 1.0, 0, 0, 5, 5)]
)
def test_boxes_at_the_edge(grey, tmp_path, box):
    target = tmp_path / "found.jpg"
    transfer_core.draw(grey, prediction(box), str(target))
    assert Image.open(target).format == "JPEG"


def test_the_upright_photo_is_drawn_on(tmp_path):
    photo = write_photo(tmp_path / "turned.jpg", (100, 80), orientation=6)
    target = tmp_path / "found.webp"
    transfer_core.draw(photo.read_bytes(), prediction(size=(80, 100)), str(target))
    assert Image.open(target).size == (80, 100)


def test_what_can_not_be_drawn(grey, tmp_path):
    target = str(tmp_path / "found.png")
    with pytest.raises(DataError, match=r"for an image of 80 x 60 pixels, but this one has 400 x 300"):
        transfer_core.draw(grey, prediction(size=(80, 60)), target)
    with pytest.raises(DataError, match="expected one of a detection model"):
        transfer_core.draw(grey, {"label": "cat", "score": 0.5}, target)
    with pytest.raises(DataError, match="no label, score, x, y, width and height"):
        transfer_core.draw(grey, {"boxes": [{"label": "cat", "score": 0.5}]}, target)
    with pytest.raises(
        DataError, match=r"found.gif: expected a name that ends with .png, .jpg, .jpeg, .webp"
    ):
        transfer_core.draw(grey, prediction(), str(tmp_path / "found.gif"))
    for wrong in (float("nan"), float("inf"), 10**400, "1", None):
        with pytest.raises(DataError, match="no label, score, x, y, width and height"):
            transfer_core.draw(grey, prediction(("cat", 0.5, wrong, 1, 1, 1)), target)
    with pytest.raises(DataError, match="no such file"):
        transfer_core.draw(str(tmp_path / "gone.png"), prediction(), target)
    with pytest.raises(ConfigurationError, match="there is no folder"):
        transfer_core.draw(grey, prediction(), str(tmp_path / "none" / "found.png"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["grey.png"]
