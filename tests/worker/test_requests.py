"""Requests that are nearly right, for every method of the real worker: a result or a foreseen error."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgpack
import pytest

import transfer_core
from photos import COLORS, class_folder
from transfer_core.worker.methods import METHODS
from worker.client import REAL_WORKER, Client

TABLE = "sklearn:ColumnTransformer"
ROW = {"rooms": 3, "city": "Ulm"}


def deep(levels: int) -> Any:
    value: Any = None
    for _ in range(levels):
        value = [value]
    return value


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A table, a folder of photos, and a model of each."""
    folder = tmp_path_factory.mktemp("requests")
    table = folder / "homes.csv"
    with table.open("w", newline="") as file:
        rows = [[i % 5, ["Ulm", "Bonn"][i % 2], ["low", "high"][i % 2]] for i in range(40)]
        csv.writer(file).writerows([["rooms", "city", "label"], *rows])
    photos = class_folder(folder / "photos", per_class=4, colors=dict(list(COLORS.items())[:2]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRANSFER_HOME", str(folder / "home"))
        patch.setenv("TRANSFER_OFFLINE", "1")
        transfer_core.train(backbone=TABLE, data=table, seed=1).save(folder / "table.transfer")
        transfer_core.train(backbone="mobilenet_v2", data=photos, seed=1).save(folder / "image.transfer")
    return {
        "folder": str(folder),
        "table": str(table),
        "photo": str(next(Path(photos).glob("*/*"))),
        "model": str(folder / "table.transfer"),
        "image": str(folder / "image.transfer"),
    }


@pytest.fixture(scope="module")
def worker(given: dict[str, str]) -> Iterator[Client]:
    home = {"TRANSFER_HOME": f"{given['folder']}/home", "TRANSFER_OFFLINE": "1", "HOME": given["folder"]}
    client = Client(*REAL_WORKER, **home)
    client.hello()
    yield client
    client.stop()


def requests(given: dict[str, str]) -> dict[str, list[dict[str, Any]]]:
    """By method, parameters as Ruby sends them."""
    table = {"model": given["model"], "inputs": [ROW, ROW], "signed_by": None}
    recipe = {
        "data": "/nowhere",
        "backbone": TABLE,
        "columns": {"input": ["rooms", "city"], "target": "label"},
        "head": {"type": "linear"},
        "steps": [{"type": "freeze"}, {"type": "train", "epochs": 1}],
        "seed": 1,
    }
    box = {"x": 1.0, "y": 2.0, "width": 3.0, "height": 4.0}
    evaluated = {"data": given["table"], "columns": {"target": "label"}, "on_bad_input": "raise"}
    return {
        "train": [
            {"recipe": recipe},
            {"recipe": {**recipe, "data": {"train": "/nowhere", "test": "/nowhere"}}},
        ],
        "check": [{"recipe": recipe}],
        "estimate": [{"recipe": recipe}],
        "learning_curve": [{"recipe": recipe, "more": 100}],
        "report": [{"model": given["model"], "path": f"{given['folder']}/a.html", "data": given["table"]}],
        "select": [
            {"model": given["model"], "unlabelled": given["table"], "labelled": given["table"], "count": 5}
        ],
        "predict_all": [
            {"model": given["model"], "data": given["table"], "into": f"{given['folder']}/a.csv", "part": 5}
        ],
        "explain": [
            {"model": given["model"], "input": ROW, "label": "low", "against": "high"},
            {"model": given["image"], "input": given["photo"], "method": "occlusion"},
        ],
        "features": [{"model": given["image"], "input": given["photo"], "block": "features_18", "most": 4}],
        "similar": [{"model": given["model"], "input": ROW, "count": 2}],
        "influential": [{"model": given["model"], "input": ROW, "count": 2}],
        "attention": [{"model": given["image"], "input": given["photo"]}],
        "faithfulness": [{"model": given["image"], "inputs": [given["photo"]], "method": "auto", "most": 1}],
        "compare_domains": [{"recipe": {**recipe, "source": "/nowhere"}}],
        "map_labels": [{"recipe": {**recipe, "source": "/nowhere"}}],
        "soup": [{"recipe": recipe, "models": [given["model"], "/nowhere.transfer"], "selection": "greedy"}],
        "export": [
            {"model": given["model"], "path": "/nowhere/a.onnx", "precision": "float32", "tolerance": 0.01}
        ],
        "audit": [{"recipe": recipe, "report": "/nowhere/a.html", "mode": 0o600}],
        "rank": [{"recipe": recipe, "among": ["sklearn:StandardScaler"], "modality": "table", "budget": 5.0}],
        "resume": [
            {"run": "20260314-150926-535897", "data": "/nowhere", "trust": False},
            {"run": "20260314-150926-5358", "engine": "local", "storage": "/nowhere"},
        ],
        "remove_run": [{"run": "20260314-150926-535897"}],
        "prune_runs": [{"max_bytes": 2**40, "older_than_s": 1e9, "dry_run": True}],
        "predict": [
            {**table, "level": 0.5},
            {"augment": ["flip"], "model": given["image"], "inputs": [given["photo"], b"png"]},
        ],
        "stream": [{"model": given["model"], "text": "good morning"}],
        "embed": [table],
        "evaluate": [{"model": given["model"], **evaluated}],
        "describe": [{"model": given["model"], "trust": False}],
        "reload": [{"model": given["model"]}],
        "save": [
            {
                "model": given["model"],
                "path": f"{given['folder']}/copy.transfer",
                "backbone": True,
                "mode": 0o644,
            }
        ],
        "draw": [
            {
                "image": given["photo"],
                "prediction": {"boxes": [{**box, "label": "stop", "score": 0.5}]},
                "path": f"{given['folder']}/drawn.png",
            }
        ],
        "backbones": [
            {
                "task": "image_classification",
                "max_parameters": 4e6,
                "license": "MIT",
                "source": "timm",
                "offline": True,
            }
        ],
        "backbone": [{"name": "mobilenet_v2", "trust": False}],
        "cache_prune": [{"max_bytes": 2**40, "older_than_s": 1e9}],
        **{name: [{}] for name in ("runs", "serving", "doctor", "ping")},
        **{name: [{}] for name in ("cache_stats", "cache_verify", "cache_clear")},
    }


def lies(truth: Any, folder: str) -> Iterator[Any]:
    """Other values in the place of one, or of one that it holds."""
    yield from [
        None,
        True,
        -1,
        1.5,
        math.nan,
        math.inf,
        2**63,
        "",
        f"{folder}/text",
        "a\0b",
        b"\xff",
        [],
        [None],
    ]
    yield from [{}, {"text": None}, {"stream": "s"}, {"train": {"stream": "s"}}, deep(400), {"a": deep(400)}]
    yield msgpack.ExtType(1, msgpack.packb(["uint8", [1], b"a"]))
    match truth:
        case dict():
            for key, value in truth.items():
                rest = {other: truth[other] for other in truth if other != key}
                yield from [rest, {**rest, "": value}]
                yield from ({**truth, key: lie} for lie in lies(value, folder))
        case list():
            yield truth * 2
            for i, value in enumerate(truth):
                yield from ([*truth[:i], lie, *truth[i + 1 :]] for lie in lies(value, folder))


def test_every_method_is_asked(given: dict[str, str]) -> None:
    assert requests(given).keys() == METHODS.keys()


def failure(worker: Client, id: int) -> Any:
    """The error of the response to `id`; rows that it asks for meanwhile can't be read."""
    while True:
        match worker.read():
            case [0, asked, "next_rows", _]:
                worker.send([1, asked, {"type": "DataError", "message": "no rows", "details": {}}, None])
            case [1, answered, error, _] if answered == id:
                return error


@pytest.mark.parametrize("method", METHODS)
def test_parameters_of_another_shape(method: str, given: dict[str, str], worker: Client) -> None:
    asked = errors = 0
    for params in requests(given)[method]:
        for lie in [params, *lies(params, given["folder"])]:
            if not isinstance(lie, dict):
                continue
            asked += 1
            error = failure(worker, worker.request(method, **lie))
            if error:
                errors += 1
                foreseen = error["type"] != "RemoteError" or error["python_class"].endswith(".BadCall")
                assert foreseen, (lie, error)
    assert worker.call("ping") == "pong"
    if requests(given)[method] != [{}]:
        assert errors > asked / 4
