"""A real worker with real models: the same answers as alone, and files that change under it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import pytest

import transfer_core
from photos import COLORS, class_folder, pixels, png, save
from worker.client import REAL_WORKER, Client

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with `first.transfer`, `second.transfer` (other labels), and some photos."""
    folder = tmp_path_factory.mktemp("serving")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRANSFER_HOME", str(folder / "home"))
        patch.setenv("TRANSFER_OFFLINE", "1")
        for name, colors in (("first", COLORS), ("second", {"warm": (200, 90, 40), "cold": (40, 90, 200)})):
            photos = class_folder(folder / name, per_class=5, colors=colors)
            model = transfer_core.train(backbone="mobilenet_v2", data=photos, seed=1)
            model.save(folder / f"{name}.transfer")
        for i in range(12):
            color = np.random.default_rng(i).uniform(40, 220, 3)
            save(folder / "photos" / f"{i}.png", pixels(color, seed=i, noise=60))
        yield folder


@pytest.fixture(autouse=True)
def home(trained: Path) -> Path:
    """The worker's: where networks are timed anew, another precision may be found the faster one."""
    return trained / "home"


@pytest.fixture
def worker(start: Callable[..., Client], trained: Path) -> Client:
    home = {"TRANSFER_HOME": str(trained / "home"), "TRANSFER_OFFLINE": "1", "HOME": str(trained)}
    client = start(*REAL_WORKER, **home)
    client.hello()
    return client


def numbers(extension: Any) -> Any:
    dtype, shape, data = msgpack.unpackb(extension.data)
    return np.frombuffer(data, dtype).reshape(shape)


def answers(worker: Client, ids: list[int]) -> list[Any]:
    """Of all `ids`, whichever comes first; results, or errors."""
    found = {}
    while len(found) < len(ids):
        kind, id, error, result = worker.read()
        assert kind == 1
        found[id] = error or result
    return [found[id] for id in ids]


def test_together_as_alone(worker: Client, trained: Path) -> None:
    model = transfer_core.load(trained / "first.transfer")
    photos = [str(path) for path in sorted((trained / "photos").iterdir())]
    groups: list[Any] = [[photo] for photo in photos] * 2 + [photos[:3], photos[3:], [], photos[::-1]]
    groups[3] = [Path(photos[3]).read_bytes()]
    path = str(trained / "first.transfer")
    predicts = [worker.request("predict", model=path, inputs=group) for group in groups]
    embeds = [worker.request("embed", model=path, inputs=group) for group in groups]
    found = answers(worker, [*predicts, *embeds])
    alone = {photo: model.predict(photo) for photo in photos}
    alone[groups[3][0]] = alone[photos[3]]
    for group, predictions in zip(groups, found, strict=False):
        assert [each["label"] for each in predictions] == [alone[photo]["label"] for photo in group]
        for each, photo in zip(predictions, group, strict=True):
            assert each["scores"] == pytest.approx(alone[photo]["scores"], abs=1e-5)
    for group, rows in zip(groups, found[len(groups) :], strict=True):
        expected = np.concatenate([model.embed([]), *(model.embed([photo]) for photo in group)])
        np.testing.assert_allclose(numbers(rows), expected, rtol=0, atol=1e-5)
    sizes = worker.call("serving")["batches"]["sizes"]
    assert sum(int(size) * times for size, times in sizes.items()) == 2 * (24 + 12 + 12)
    assert max(map(int, sizes)) > 1


def test_a_broken_photo_among_others(worker: Client, trained: Path) -> None:
    photo = str(trained / "photos" / "0.png")
    path = str(trained / "first.transfer")
    inputs: list[Any] = [[photo], [Path(photo).read_bytes()[:200]], [photo], [photo, "/nowhere.png"], [photo]]
    found = answers(worker, [worker.request("predict", model=path, inputs=each) for each in inputs])
    assert [found[n][0]["label"] for n in (0, 2, 4)] == [found[0][0]["label"]] * 3
    assert (found[1]["type"], found[1]["message"]) == ("DataError", "the image: the file is truncated")
    assert (found[3]["type"], found[3]["message"]) == ("DataError", "/nowhere.png: no such file")


def test_a_broken_photo_is_marked_within_its_request(worker: Client, trained: Path) -> None:
    photo = str(trained / "photos" / "0.png")
    path = str(trained / "first.transfer")
    none = "/nowhere.png"
    inputs: list[Any] = [
        [photo, none, Path(photo).read_bytes()[:200], photo],
        [none],
        [photo] * 3,
        [none] * 2,
    ]
    asked = [worker.request("predict", model=path, inputs=each, on_bad_input="mark") for each in inputs]
    found = answers(worker, asked)
    missing = {"error": f"{none}: no such file", "path": none}
    assert found[0][1:3] == [missing, {"error": "image 3 of 4: the file is truncated"}]
    assert [found[1], found[3]] == [[missing], [missing] * 2]
    labels = {each["label"] for each in (found[0][0], found[0][3], *found[2])}
    assert labels == {transfer_core.load(path).predict(photo)["label"]}


def test_too_many_requests(start: Callable[..., Client], trained: Path) -> None:
    client = start(*REAL_WORKER, TRANSFER_HOME=str(trained), TRANSFER_SERVING_QUEUE_LIMIT="3")
    client.hello()
    ask = {"model": str(trained / "first.transfer"), "inputs": [str(trained / "photos" / "0.png")]}
    found = answers(client, [client.request("predict", **ask) for _ in range(5)])
    assert [len(each) for each in found[:3]] == [1] * 3
    assert [(each["type"], each["details"]) for each in found[3:]] == [("Overloaded", {"limit": 3})] * 2
    assert len(client.call("predict", **ask)) == 1


def test_a_model_is_exchanged_while_it_serves(worker: Client, trained: Path, tmp_path: Path) -> None:
    path, photo = str(tmp_path / "model.transfer"), str(trained / "photos" / "0.png")
    shutil.copyfile(trained / "first.transfer", path)
    assert set(predict(worker, path, photo)) == set(COLORS)
    whole = (trained / "second.transfer").read_bytes()
    for part in (whole[:-10], whole[:100], b""):
        Path(path).write_bytes(part)
        id = worker.request("predict", model=path, inputs=[photo])
        event, answer = worker.read(), worker.read()
        assert event[2]["call"] == answer[1] == id
        assert event[2]["event"]["message"].endswith("; the previous model stays in use")
        assert set(answer[3][0]["scores"]) == set(COLORS)
        assert set(predict(worker, path, photo)) == set(COLORS)  # without another warning
        assert worker.call("describe", model=path)["type"] == "ModelFileError"
        assert worker.call("reload", model=path)["type"] == "ModelFileError"
    shutil.copyfile(trained / "second.transfer", tmp_path / "new")
    os.replace(tmp_path / "new", path)
    assert set(predict(worker, path, photo)) == {"warm", "cold"}
    shutil.copyfile(trained / "first.transfer", path)
    assert worker.call("reload", model=path)["labels"] == list(COLORS)
    assert set(predict(worker, path, photo)) == set(COLORS)
    assert worker.call("serving")["models"]["count"] == 1


def test_a_model_is_saved_as_what_it_was_asked_for(worker: Client, trained: Path, tmp_path: Path) -> None:
    """Who had it read knew its file by a link, which is one to another model by now."""
    link, first, second = tmp_path / "current", trained / "first.transfer", trained / "second.transfer"
    link.symlink_to(first)
    worker.call("predict", model=str(link), inputs=[])
    link.unlink()
    link.symlink_to(second)
    worker.call("save", model=str(first), path=str(tmp_path / "copy"))
    assert worker.call("describe", model=str(tmp_path / "copy"))["labels"] == list(COLORS)
    assert worker.call("reload", model=str(first))["path"] == str(first)


def test_models_make_room_for_others(start: Callable[..., Client], trained: Path) -> None:
    client = start(*REAL_WORKER, TRANSFER_HOME=str(trained), TRANSFER_MODEL_MEMORY="20000000")
    client.hello()
    photo = png(pixels(COLORS["sky"], seed=3))
    for name in ("first", "second"):
        client.call("predict", model=str(trained / f"{name}.transfer"), inputs=[photo])
    seen = client.call("serving")["models"]
    assert (seen["count"], seen["limit"]) == (1, 20_000_000)
    size = os.path.getsize(trained / "second.transfer")
    assert 1.9 * size < seen["bytes"] < 2.1 * size


def predict(worker: Client, model: str, photo: str) -> Any:
    return worker.call("predict", model=model, inputs=[photo])[0]["scores"]


def test_a_warning_of_the_model_is_one_of_the_first_call(
    worker: Client, trained: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TRANSFER_HOME", str(tmp_path))
    monkeypatch.setattr("sklearn.__version__", "0.1")
    photos = class_folder(tmp_path / "photos", per_class=5)
    model = transfer_core.train(backbone="sklearn:pixels", data=photos, seed=1)
    photo = str(trained / "photos" / "1.png")
    said = []
    for _ in range(2):
        id = worker.request("predict", model=str(model.path), inputs=[photo])
        while (message := worker.read())[:2] != [1, id]:
            said.append(message[2]["event"])
        assert message[2] is None
    (event,) = said
    assert event["event"] == "warning"
    assert "was fitted by scikit-learn 0.1 and is used by" in event["message"]
