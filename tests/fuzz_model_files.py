"""Saved models with anything in them, under right digests: each predicts finite numbers, or is refused.

    PYTHONPATH=python:tests python tests/fuzz_model_files.py [CASES] [SEED] [FIRST CASE]

Every case runs under limits of CPU time and of memory that no case may need. Prints how often what happened,
and ends with status 1 at anything else.
"""

from __future__ import annotations

import faulthandler
import json
import math
import os
import random
import re
import resource
import struct
import sys
import tempfile
from collections import Counter
from pathlib import Path

import msgpack
import numpy as np

from forged import container, fields_of, places_of, sealed, tensors_of
from photos import class_folder, pixels, png
from tiny_encoder import tiny_encoder
from transfer_core.model_file.format import tensors_digest

CPU_S, MEMORY = 30, 2 << 30

# Errors beside `ModelFileError`: weights that are elsewhere, code that may not run, and an input that lacks
# the columns of the header, which may be those of another table.
OTHERS = {"WeightsNotFound", "RecipeError: trust", "DataError"}


def deep(depth):
    value = 1
    for _ in range(depth):
        value = [value]
    return value


ODD = list(map(json.dumps, [
    *(None, True, False, 0, 1, -1, 2, 3, 7, 255, 256, 2048, 2**15, 2**31, 2**53, 2**63 - 1, 2**64, 10**30),
    *(0.5, -0.5, 1e-320, 1e-7, 1e7, 1e38, 3.5e38, 1e300, -1e300),
    *("", " ", "a", "a\0b", "x" * 5000, "/etc/passwd", "/dev/zero", "../..", "mobilenet_v2", "text", "ü"),
    *("multi_label", "regression", "onnx:/etc/passwd", "torchhub:./x:y", "sklearn:PCA", "keras/ResNet50"),
    *([], {}, [[]], [1], [-1], ["a"], ["a", "a", "a"], [1] * 100_000, [[0]] * 1000, {"": 0}, deep(80)),
    deep(900),
    {str(number): number for number in range(2000)},
]))  # fmt: skip


def odd(rng):
    return json.loads(rng.choice(ODD))


# Changes of a header.


def leaves(value, way=()):
    """The ways to all values within, containers included."""
    if isinstance(value, dict | list):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for name, inner in items:
            yield (*way, name)
            yield from leaves(inner, (*way, name))


def change_field(rng, fields):
    way = rng.choice(list(leaves(fields)))
    parent = fields
    for name in way[:-1]:
        parent = parent[name]
    match rng.choice(["odd", "odd", "odd", "odd", "near", "near", "remove", "double"]):
        case "odd":
            parent[way[-1]] = odd(rng)
        case "near":
            parent[way[-1]] = near(rng, parent[way[-1]])
        case "remove":
            del parent[way[-1]]
        case "double" if isinstance(parent, list):
            parent.append(parent[way[-1]])
        case _:
            parent[f"{way[-1]}2"] = parent[way[-1]]


def near(rng, value):
    """A value of the same kind."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return rng.choice([value + 1, value - 1, -value, value * 2, value * 1000, value / 3, 0])
    if isinstance(value, str):
        return rng.choice([value[:-1], value + "x", value.upper(), value * 2])
    if isinstance(value, list):
        return rng.choice([value[:-1], value + value, value[::-1], []])
    return {} if isinstance(value, dict) else 0


# Changes of tensors.


def change_tensor(rng, tensors):
    name, other = (rng.choice(sorted(tensors)) for _ in range(2))
    if rng.random() < 0.6:  # heads are few among many
        name = rng.choice([name for name in sorted(tensors) if name.startswith("head.")] or [name])
    array = tensors[name]
    match rng.choice(["swap", "drop", "rename", "cut", "flat", "type", "number", "number", "all", "empty"]):
        case "swap":
            tensors[name], tensors[other] = tensors[other], array
        case "drop":
            del tensors[name]
        case "rename":
            tensors[rng.choice(["head.x", "backbone.x", "", "x" * 300, "head." + other])] = tensors.pop(name)
        case "cut":
            tensors[name] = array[: len(array) // 2] if array.ndim else array[None]
        case "flat":
            tensors[name] = array.reshape(-1) if array.ndim != 1 else array[None]
        case "type":
            with np.errstate(all="ignore"):
                tensors[name] = array.astype(rng.choice(["f8", "f4", "f2", "i8", "i4", "i1", "u1", "?"]))
        case "number" if array.size:
            changed = array.copy()
            with np.errstate(all="ignore"):
                changed.flat[rng.randrange(array.size)] = np.array(odd_number(rng, array.dtype)).astype(
                    array.dtype
                )
            tensors[name] = changed
        case "all":
            with np.errstate(all="ignore"):
                tensors[name] = np.full_like(array, odd_number(rng, array.dtype))
        case _:
            tensors[name] = np.zeros((0, *array.shape[1:]), array.dtype)


def odd_number(rng, dtype):
    if dtype.kind == "f":
        return rng.choice([np.nan, np.inf, -np.inf, 0, 1, -1, 1e30, 1e-40, np.finfo(dtype).max])
    most = np.iinfo(dtype).max if dtype.kind in "iu" else 1
    least = np.iinfo(dtype).min if dtype.kind in "iu" else 0
    return rng.choice([0, 1, most, least, most // 2, min(most, 100)])


# Changes of the container.


CONTAINER = [
    *("length", "nest", "double", "place", "place", "place", "flip", "cut", "longer", "metadata", "entry"),
    "blank",
]


def change_container(rng, data, entry):
    """Bytes that are no container of safetensors, or not quite."""
    length = struct.unpack("<Q", data[:8])[0]
    header, content = data[8 : 8 + length].decode(), data[8 + length :]
    table = json.loads(header)
    name = rng.choice([name for name in table if name != "__metadata__"] or ["__metadata__"])
    place = table[name]
    at = rng.randrange(len(data))
    match rng.choice(CONTAINER):
        case "length":
            return (
                struct.pack("<Q", rng.choice([0, 1, 2**31, 2**63, len(data), length - 1, 90_000_000]))
                + data[8:]
            )
        case "nest":
            inner = rng.choice(["[" * 100_000, '{"a":' * 100_000, "[" * 900 + "]" * 900])
            return container(header[:-1] + ',"x":' + inner + "}", content)
        case "double":
            return container(header[:-1] + f",{json.dumps(name)}:{json.dumps(place)}}}", content)
        case "place" if "shape" in place:
            field = rng.choice(["dtype", "shape", "data_offsets", "data_offsets"])
            place[field] = rng.choice(
                [odd(rng), odd(rng), "F32", "BF16", [0, 8], [8, 0], [0, 2**40], [2**40, 2**41], [1, 2, 3]]
            )
            return container(table, content)
        case "flip":
            return data[:at] + bytes([rng.randrange(256)]) + data[at + 1 :]
        case "cut":
            return data[:at]
        case "longer":
            return data + b"\0" * rng.choice([1, 8, 100_000])
        case "metadata":
            return container({**table, "__metadata__": odd(rng)}, content)
        case "entry":
            entry = rng.choice(
                [entry[:-1], entry + " ", entry.replace(":", ": ", 3), "{}", "[" * 100_000, ""]
            )
            return container({**table, "__metadata__": {"transfer": entry}}, content)
        case _:
            return container(header + "\n" * 8, content)


def double_field(rng, text):
    """The JSON of a header in which a name stands twice."""
    inside = re.sub(r'"(\w+)":', lambda name: rng.choice(["", f'"{name[1]}":0,']) + name[0], text)
    return rng.choice(
        [inside, text + f',"{rng.choice(list(json.loads(text + "}")))}":{json.dumps(odd(rng))}']
    )


def case(rng, fields, tensors):
    """The bytes of a file, and what was changed."""
    kind = rng.choice(["field"] * 6 + ["tensor"] * 4 + ["both"] * 2 + ["container"] * 3 + ["double"])
    fields, tensors = json.loads(json.dumps(fields)), dict(tensors)
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        if kind in ("field", "both"):
            change_field(rng, fields)
        if kind in ("tensor", "both"):
            change_tensor(rng, tensors)
    text = json.dumps(fields, ensure_ascii=False)[:-1]
    text = double_field(rng, text) if kind == "double" else text
    entry = sealed(text, tensors_digest(tensors))
    places, content = places_of(tensors)
    data = container({"__metadata__": {"transfer": entry}, **places}, content)
    return (change_container(rng, data, entry) if kind == "container" else data), kind


# What comes of it.


def outcome(path, input):
    """`predicts`, or the name of the error."""
    import transfer_core
    from transfer_core.runtime.errors import RecipeError, TransferError

    try:
        model = transfer_core.load(path)
        msgpack.packb(model.summary(), strict_types=True)
        numbers = list(numbers_in([model.predict(input), model.predict([input, input])]))
        return "predicts" if numbers and all(map(math.isfinite, numbers)) else f"predicts {numbers}"
    except RecipeError as error:
        return f"RecipeError: {', '.join(problem.path for problem in error.problems)}"
    except TransferError as error:
        str(error).encode()
        name = type(error).__name__
        return name if name in ("ModelFileError", *OTHERS) else f"{name}: {error}"
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def numbers_in(value):
    if isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from numbers_in(inner)
    elif isinstance(value, int | float):
        yield float(value)


# Models to begin with.


def models(folder):
    """A file of each kind with an input for it."""
    photos = class_folder(folder / "photos", per_class=4)
    network = {"backbone": "squeezenet1_1", "weights": "random", "precision": "float32"}
    words = {
        "good": ["good", "fine", "very good", "not bad"],
        "bad": ["bad", "awful", "very bad", "not good"],
    }
    things = ["train", "plane", "the train", "the plane"]
    texts = [
        {"input": f"{word} {thing}", "label": label}
        for label, some in words.items()
        for word in some
        for thing in things
    ]
    rooms = [{"input": {"rooms": n % 5, "city": "ab"[n % 2]}, "label": 10.0 * n} for n in range(20)]
    photo, text, row = png(pixels((60, 120, 200), seed=1)), "good train", {"rooms": 3, "city": "a"}
    said = [
        (photo, {**network, "data": photos}),
        (photo, {**network, "data": photos, "head": {"type": "mlp", "hidden": [8]}}),
        (photo, {**network, "data": photos, "head": {"type": "random_forest", "trees": 3}}),
        (photo, {**network, "data": photos, "head": {"type": "svm"}}),
        (photo, {**network, "data": photos, "head": {"type": "knn", "neighbors": 3}}),
        (text, {"backbone": tiny_encoder(folder / "encoder"), "data": texts, "precision": "float32"}),
        (row, {"backbone": "sklearn:ColumnTransformer", "data": rooms, "task": "regression"}),
    ]
    import transfer_core

    for input, recipe in said:
        path = transfer_core.train(**recipe).path
        fields = fields_of(path)
        if fields["modality"] == "image":  # of which a pass takes milliseconds
            fields["preprocessing"] |= {"crop_size": 64, "resize_size": 64}
        yield fields, tensors_of(path), input


def limit_cpu():
    used = math.ceil(sum(resource.getrusage(resource.RUSAGE_SELF)[:2]))
    resource.setrlimit(resource.RLIMIT_CPU, (used + CPU_S, resource.RLIM_INFINITY))


def limit_memory():
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * resource.getpagesize() + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (most, most))


def run(cases, seed, first, folder):
    """How often what happened; the number of a case is on standard error before it runs, in one line."""
    import torch

    torch.set_num_threads(1)
    bases = list(models(folder))
    path = folder / "case.transfer"
    seen = Counter()
    limit_memory()
    for number in range(first, first + cases):
        rng = random.Random(f"{seed} {number}")
        fields, tensors, input = rng.choice(bases)
        data, kind = case(rng, fields, tensors)
        path.write_bytes(data)
        print(f"\rcase {number} of seed {seed}: {kind:9}", end="", file=sys.stderr, flush=True)
        limit_cpu()
        what = outcome(path, input)
        if what not in {"predicts", "ModelFileError", *OTHERS}:
            print(f" {what}", file=sys.stderr, flush=True)
        seen[f"{kind}: {what[:300]}"] += 1
    return seen


def main(cases=5000, seed=0, first=0):
    faulthandler.enable()
    with tempfile.TemporaryDirectory() as name:
        os.environ |= {"TRANSFER_HOME": f"{name}/home", "TRANSFER_OFFLINE": "1"}
        seen = run(cases, seed, first, Path(name))
    print(file=sys.stderr)
    print(json.dumps(dict(sorted(seen.items()))))
    wrong = [what for what in seen if what.split(": ", 1)[1] not in {"predicts", "ModelFileError", *OTHERS}]
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
