"""The whole way over the wire: train on real pretrained weights, predict, evaluate, save."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import pytest
from PIL import Image

from worker.client import REAL_WORKER, Client

pytestmark = pytest.mark.slow

COLORS = {"brick": (180, 60, 40), "sky": (60, 120, 200)}
PER_CLASS = 6


def photo(label: str, number: int) -> bytes:
    """A noisy PNG of 48 × 48 pixels in the colour of its class."""
    noise = np.random.default_rng(number).normal(0, 20, (48, 48, 3))
    file = io.BytesIO()
    Image.fromarray(np.clip(noise + COLORS[label], 0, 255).astype(np.uint8)).save(file, "PNG")
    return file.getvalue()


PHOTOS = [(label, n, photo(label, n)) for label in COLORS for n in range(PER_CLASS)]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for label, n, png in PHOTOS:
        file = tmp_path / "photos" / label / f"{n}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(png)
    return tmp_path / "photos"


@pytest.fixture
def real(start: Callable[..., Client], tmp_path: Path) -> Client:
    home = str(tmp_path / "home")
    client = start(*REAL_WORKER, TRANSFER_HOME=home, TRANSFER_OFFLINE="1", HOME=home)
    client.hello()
    return client


def recipe(data: Any, **words: Any) -> dict[str, Any]:
    return {"data": data, "backbone": "mobilenet_v2", "seed": 1, **words}


def test_train_predict_evaluate_save(real: Client, photos: Path, tmp_path: Path) -> None:
    call = real.request("train", recipe=recipe(str(photos)))
    events = []
    while (message := real.read())[0] == 2:
        assert message[2]["call"] == call
        events.append(message[2]["event"])
    kind, id, error, summary = message
    assert (kind, id, error) == (1, call, None)
    stages = [event["step"] for event in events if event["event"] == "stage"]
    assert stages[:2] == ["choose", "freeze"]
    assert stages[-1] == "evaluate"
    assert summary["labels"] == ["brick", "sky"]
    assert sum(summary["sizes"].values()) == len(PHOTOS)

    model = summary["path"]
    assert Path(model).stat().st_size == summary["bytes"]
    assert real.call("describe", model=model) == summary

    files = [str(photos / label / f"{n}.png") for label, n, _ in PHOTOS]
    of_files = real.call("predict", model=model, inputs=files)
    assert [prediction["label"] for prediction in of_files] == [label for label, _, _ in PHOTOS]
    assert all(sum(p["scores"].values()) == pytest.approx(1) for p in of_files)
    assert_same(real.call("predict", model=model, inputs=[png for _, _, png in PHOTOS]), of_files)

    embedding = real.call("embed", model=model, inputs=files[:3])
    dtype, shape, data = msgpack.unpackb(embedding.data)
    assert (embedding.code, dtype, shape, len(data)) == (1, "float32", [3, 1280], 3 * 1280 * 4)

    (photos / "sky" / "mislabelled.png").write_bytes(photo("brick", PER_CLASS))
    evaluated = real.call("evaluate", model=model, data=str(photos))
    assert evaluated["accuracy"] == pytest.approx(len(PHOTOS) / (len(PHOTOS) + 1))

    target = tmp_path / "small.transfer"
    saved = real.call("save", model=model, path=str(target), backbone=False)
    digest = hashlib.sha512(target.read_bytes()).hexdigest()
    assert saved == {"path": str(target), "bytes": target.stat().st_size, "sha512": digest}
    assert saved["bytes"] < summary["bytes"] / 10
    assert_same(real.call("predict", model=str(target), inputs=files), of_files)


def assert_same(predictions: list[Any], others: list[Any]) -> None:
    """Sums of floats depend on how many images go through the network together."""
    for one, other in zip(predictions, others, strict=True):
        assert one["label"] == other["label"]
        assert one["scores"] == pytest.approx(other["scores"], abs=1e-6)


def answer_rows(real: Client, call: int, streams: dict[str, list[Any]]) -> Any:
    """Play Ruby's part, five rows at a time, until `call` is answered."""
    while (message := real.read())[0] != 1:
        if message[0] == 0:
            assert message[2] == "next_rows"
            rows = streams[message[3]["stream"]]
            batch, rows[:] = rows[:5], rows[5:]
            real.send([1, message[1], None, {"rows": batch, "done": not rows}])
    assert message[:3] == [1, call, None]
    return message[3]


def test_train_and_evaluate_on_rows_from_ruby(real: Client) -> None:
    rows = [{"input": png, "label": label} for label, _, png in PHOTOS]
    data = {"train": {"stream": "s1"}, "test": {"stream": "s2"}}
    call = real.request("train", recipe=recipe(data))
    summary = answer_rows(real, call, {"s1": rows[:4] + rows[6:10], "s2": rows[4:6] + rows[10:]})
    assert summary["labels"] == ["brick", "sky"]
    assert summary["sizes"]["test"] == 4

    call = real.request("evaluate", model=summary["path"], data={"stream": "s3"})
    mislabelled = [{**rows[0], "label": "sky"}, *rows[1:]]
    evaluated = answer_rows(real, call, {"s3": mislabelled})
    assert evaluated["accuracy"] == pytest.approx(1 - 1 / len(rows))


def test_a_training_is_cancelled(real: Client, photos: Path) -> None:
    endless = {"type": "train", "epochs": 100_000, "optimizer": "adam", "learning_rate": 1e-6}
    call = real.request("train", recipe=recipe(str(photos), steps=[{"type": "freeze"}, endless]))
    while real.read()[2]["event"]["event"] != "epoch":
        pass
    real.cancel(call)
    assert real.response(call)["type"] == "Cancelled"
    assert real.call("ping") == "pong"


def test_a_photo_that_can_not_be_read_is_named(real: Client, photos: Path) -> None:
    broken = photos / "sky" / "broken.png"
    broken.write_bytes(PHOTOS[0][2][:100])
    failure = real.call("train", recipe=recipe(str(photos)))
    assert (failure["type"], failure["details"]) == ("DataError", {"path": str(broken)})


def test_a_model_that_is_not_there(real: Client) -> None:
    failure = real.call("predict", model="/nowhere/signs.transfer", inputs=[])
    assert failure["type"] == "ModelFileError"
    assert "/nowhere/signs.transfer" in failure["message"]
