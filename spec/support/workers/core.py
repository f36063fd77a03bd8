"""The methods of the real core, without PyTorch."""

import os
import signal
import struct
import tempfile

import msgpack
from wire import Server, answer, refuse, write

signal.signal(signal.SIGINT, signal.SIG_IGN)
signal.signal(signal.SIGTERM, signal.SIG_DFL)
FOLDER = tempfile.gettempdir()


METRICS = {
    "accuracy": 0.975,
    "balanced_accuracy": 0.75,
    "macro_f1": 0.75,
    "baseline": {"label": "red", "accuracy": 0.5},
    "most_confused": [],
    "examples": 2,
    "per_class": [{"label": "red", "precision": 0.5, "recall": 1.0, "f1": 0.75, "support": 2}],
}


def summary(path, recipe):
    return {
        "path": path,
        "task": "classification",
        "labels": ["blue", "red"],
        "backbone": recipe["backbone"],
        "embedding_width": 2,
        "modality": "image",
        "columns": [],
        "metrics": METRICS,
        "history": [{"step": "train", "epoch": 1, "loss": 0.5}],
        "recipe": recipe,
        "sizes": {"train": 8, "valid": 2, "test": 2},
        "warnings": [],
        "created_at": "2024-01-01T00:00:00Z",
        "versions": {"torch": "2"},
        "bytes": 1234,
    }


def problems(recipe):
    for i, step in enumerate(recipe.get("steps", [])):
        if step.get("optimizer") == "adm":
            yield (
                f"steps[{i}].optimizer",
                'unknown optimizer "adm", did you mean "adam"? (one of: lbfgs, adam)',
            )
    for word in recipe.get("train", {}):
        if word not in ("epochs", "optimizer"):
            yield f"train.{word}", f'unknown word "{word}" for train (one of: epochs, optimizer)'
    for word in ("data", "backbone"):
        if word not in recipe:
            yield word, "is missing"
    if not isinstance(recipe.get("seed", 0), int):
        yield "seed", f"expected `int`, got `str` (got {recipe['seed']!r})"


def train(server, id, params):
    recipe = params["recipe"]
    wrong = [{"path": path, "message": message} for path, message in problems(recipe)]
    if wrong:
        return refuse(id, "RecipeError", "wrong", details={"problems": wrong})
    tell(id, event="run", id="r1", path="/runs/r1", history=[])
    tell(id, event="stage", step="choose", title="Choosing " + recipe["backbone"])
    tell(id, event="stage", step="train", title="Training the head")
    if isinstance(recipe["data"], dict) and "stream" in recipe["data"]:
        read_rows(server, id, recipe["data"]["stream"])
    tell(id, event="progress", step="train", done=5, total=10, unit="photos")
    for number in (1, 2):
        tell(id, event="epoch", step="train", number=number, of=2, metrics={"accuracy": number / 2})
    tell(id, event="news", text="from a newer core")
    tell(id, event="warning", message="few photos")
    if recipe["backbone"] == "endless":
        server.wait_for_cancel(id)
    if recipe["backbone"] == "deaf":
        return
    if id in server.cancelled:
        return refuse(id, "Cancelled", "cancelled", details={"run": "r1"})
    answer(id, summary(os.path.join(FOLDER, "m.transfer"), recipe))


def read_rows(server, id, stream):
    while True:
        error, result = server.ask("next_rows", stream=stream, max=3)
        if error or result["done"]:
            return
        tell(id, event="progress", step="choose", done=len(result["rows"]), total=0, unit="rows")
        if id in server.cancelled:
            return


def resume(server, id, params):
    if params["run"] != "r1":
        return refuse(id, "ConfigurationError", f'there is no run "{params["run"]}"')
    done = {"step": "train", "epoch": 1, "loss": 0.5}
    tell(id, event="run", id="r1", path="/runs/r1", history=[done])
    tell(id, event="stage", step="train", title="Training the head")
    if isinstance(params.get("data"), dict) and "stream" in params["data"]:
        read_rows(server, id, params["data"]["stream"])
    tell(id, event="epoch", step="train", number=2, of=2, metrics={"loss": 0.25})
    answer(id, summary(os.path.join(FOLDER, "m.transfer"), {"backbone": "b", **params}))


def runs(server, id, params):
    common = {
        "created_at": "2026-03-14T15:09:26+00:00",
        "used_at": 1773500000.5,
        "status": "interrupted",
        "saved": False,
        "bytes": 20_100_000,
        "backbone": "b",
    }
    recipe = {"backbone": "b", "data": {"type": "path", "path": "/photos"}}
    place = {"step": "fine_tune", "epoch": 3, "epochs": 5}
    old = {"id": "r1", "path": "/runs/r1", "data": "/photos", "recipe": recipe, **place}
    streamed = {"backbone": "b", "data": {"type": "stream", "stream": "s1"}}
    none = dict.fromkeys(("step", "epoch", "epochs"))
    new = {"id": "r2", "path": "/runs/r2", "data": None, "recipe": streamed, **none}
    done = {**new, "id": "r3", "path": "/runs/r3", "status": "finished", "saved": True}
    return answer(id, [{**common, **run} for run in (old, new, done)])


def remove_run(server, id, params):
    if params["run"] != "r2":
        return refuse(id, "ConfigurationError", f"the run {params['run']} is being trained")
    answer(id, removed({}))


def prune_runs(server, id, params):
    # The parameters, as the recipe of the removed run.
    answer(id, [removed(params)])


def removed(recipe):
    none = dict.fromkeys(("created_at", "backbone", "data", "step", "epoch", "epochs"))
    run = {
        "id": "r2",
        "path": "/runs/r2",
        "status": "interrupted",
        "saved": False,
        "used_at": 0.0,
        "bytes": 1,
    }
    return {**none, **run, "recipe": recipe}


def tell(call, /, **event):
    write([2, "event", {"call": call, "event": event}])


def describe(server, id, params):
    if not params["model"].endswith(".transfer"):
        return refuse(id, "ModelFileError", f"{params['model']} is no model")
    answer(id, summary(params["model"], {"backbone": "mobilenet_v2"}))


def predict(server, id, params):
    inputs = params["inputs"]

    def say(item):
        label = os.path.basename(item) if isinstance(item, str) else f"{len(item)} bytes"
        said = {"label": label, "score": 0.75, "scores": {label: 0.75, params["model"]: 0.25}}
        return {**said, "set": [label, str(params["level"])]} if "level" in params else said

    def mark(number):
        name = "the image" if len(inputs) == 1 else f"image {number} of {len(inputs)}"
        return {"error": f"{name}: the file is empty", "path": "x"}

    answer(id, [say(item) if item else mark(number) for number, item in enumerate(inputs, start=1)])


def embed(server, id, params):
    numbers = [float(i) for i in range(2 * len(params["inputs"]))]
    content = msgpack.packb(
        ["float32", [len(params["inputs"]), 2], struct.pack(f"<{len(numbers)}f", *numbers)]
    )
    answer(id, msgpack.ExtType(1, content))


def evaluate(server, id, params):
    if isinstance(params.get("data"), dict) and "stream" in params["data"]:
        read_rows(server, id, params["data"]["stream"])
    answer(id, {**METRICS, **params})


def save(server, id, params):
    size = 10 if params["backbone"] else 1
    answer(id, {"path": params["path"], "bytes": size, "sha512": "0f" * 64})


def report(server, id, params):
    answer(id, {"path": params["path"], "bytes": len(params["model"])})


FACTS = {
    "name": "mobilenet_v2",
    "blocks": ["0", "1"],
    "parameters": 3_504_872,
    "embedding_width": 1280,
    "weights": [{"name": "IMAGENET1K_V1"}],
    "family": "MobileNet",
    "source": "torchvision",
    "modality": "image",
    "paper": "",
    "arxiv": "1801.04381",
    "code_url": "",
    "code_license": "BSD-3-Clause",
    "default": "IMAGENET1K_V1",
}
LISTED = {
    **{name: fact for name, fact in FACTS.items() if name not in ("blocks", "weights", "default")},
    "license": "BSD-3-Clause",
    "metric": "ImageNet-1K top-1",
    "metric_value": 71.9,
    "relevance": None,
    "images_per_second": None,
}


def backbones(server, id, params):
    answer(id, [LISTED])


def backbone(server, id, params):
    if params["name"] != FACTS["name"]:
        message = f'unknown backbone "{params["name"]}" (one of: mobilenet_v2)'
        return refuse(
            id, "RecipeError", message, details={"problems": [{"path": "backbone", "message": message}]}
        )
    answer(id, FACTS)


def pid(server, id, params):
    answer(id, os.getpid())


Server({name: thing for name, thing in globals().items() if callable(thing)}).run()
