"""What Ruby gets to know of an exception."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from typing import Any

import pytest

from transfer_core.worker.methods import METHODS
from worker.client import Client, environment


def fails(worker: Client, how: str) -> Any:
    return worker.call("fail", how=how)


def test_a_recipe_error_carries_its_problems(worker: Client) -> None:
    assert fails(worker, "recipe") == {
        "type": "RecipeError",
        "message": "steps[1].epochs: expected 1; no data",
        "details": {
            "problems": [
                {"path": "steps[1].epochs", "message": "expected 1"},
                {"path": "", "message": "no data"},
            ]
        },
        "python_class": "transfer_core.runtime.errors.RecipeError",
    }


def test_a_data_error_names_the_file(worker: Client) -> None:
    assert fails(worker, "data") == {
        "type": "DataError",
        "message": "photos/a.jpg is empty",
        "details": {"path": "photos/a.jpg"},
        "python_class": "transfer_core.runtime.errors.DataError",
    }


def test_a_class_that_ruby_does_not_know_travels_as_the_one_above(worker: Client) -> None:
    failure = fails(worker, "private")
    assert (failure["type"], failure["python_class"]) == ("DataError", "__main__.PrivateDataError")


def test_a_dependency_error_is_the_line_that_mends_it(worker: Client) -> None:
    failure = fails(worker, "dependency")
    assert failure["type"] == "DependencyError"
    fix = f"{sys.executable} -m pip install 'transfer-core[timm]'"
    assert failure["message"] == f"timm backbones needs the package timm. Fix: {fix}"


def test_memory_that_ran_out(worker: Client) -> None:
    failure = fails(worker, "memory")
    assert failure["type"] == "OutOfMemory"
    assert failure["message"] == "out of memory: use a smaller batch_size, or close other programs"


def test_memory_that_ran_out_in_torch(worker: Client) -> None:
    failure = worker.call("torch_out_of_memory")
    assert failure["type"] == "OutOfMemory"
    assert failure["message"].startswith("out of memory ([enforce fail at alloc_cpu.cpp")
    assert failure["message"].endswith("): use a smaller batch_size, or close other programs")
    assert failure["python_class"] == "RuntimeError"


NARROW = """
import json, resource, threading
from transfer_core.runtime.errors import DataError, DependencyError
from transfer_core.worker.failures import describe_failure

def needs_a_library():
    import torch

def needs_one_that_users_install():
    try:
        import torch
    except ImportError:
        raise DependencyError("chance", "dice") from None

def needs_a_thread():
    threading.stack_size(256 * 2**20)
    threading.Thread(target=print).start()

def finds_a_file_too_large():
    try:
        bytearray(2**30)
    except MemoryError:
        raise DataError("photos/a.jpg is too large") from None

taken = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (taken + 64 * 2**20, -1))
try:
    {need}()
except Exception as error:
    failure = describe_failure(error)
    print(json.dumps([failure["type"], failure["message"]]))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="a limit on addresses, and /proc")
@pytest.mark.parametrize(
    ("need", "kind", "message"),
    [
        (
            "needs_a_library",
            "OutOfMemory",
            r"out of memory \(.*: failed to map segment from shared object.*\): use",
        ),
        ("needs_one_that_users_install", "OutOfMemory", r"out of memory \(.*failed to map segment"),
        ("needs_a_thread", "OutOfMemory", r"out of memory \(can't start new thread\): use a smaller"),
        ("finds_a_file_too_large", "DataError", "photos/a.jpg is too large"),
    ],
)
def test_memory_that_is_short(need: str, kind: str, message: str) -> None:
    script = NARROW.replace("{need}", need)
    ran = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, env=environment()
    )
    found, said = json.loads(ran.stdout)
    assert found == kind
    assert re.match(message, said)


def test_what_nobody_foresaw_brings_its_frames(worker: Client) -> None:
    failure = fails(worker, "empty")
    assert (failure["type"], failure["message"], failure["python_class"]) == (
        "RemoteError",
        "KeyError",
        "KeyError",
    )
    *_, outer, inner = failure["python_backtrace"]
    assert outer.rpartition(":in ")[2] == "'fail'"
    assert inner.rpartition(":in ")[2] == "'innermost'"
    assert inner.rpartition("/")[2].startswith("fake_worker.py:")
    assert not any("server.py" in frame for frame in failure["python_backtrace"])


@pytest.mark.parametrize(
    ("how", "message"),
    [("exit", "3"), ("mute", "Mute"), ("surrogate", r"caf\udce9")],
)
def test_odd_exceptions_are_answered_too(worker: Client, how: str, message: str) -> None:
    failure = fails(worker, how)
    assert (failure["type"], failure["message"]) == ("RemoteError", message)
    assert worker.call("ping") == "pong"
    assert worker.call("tell", events=[]) == "told"


def test_endless_messages_are_cut(worker: Client) -> None:
    short = f"{'é' * 4096}… (91808 more characters) …{'é' * 4096}"
    assert fails(worker, "long")["message"] == short
    assert fails(worker, "long problem")["details"] == {"problems": [{"path": short, "message": "unknown"}]}


def test_an_error_whose_details_can_not_be_sent_goes_without(worker: Client) -> None:
    failure = fails(worker, "details that can't be sent")
    assert (failure["type"], failure["message"], failure["details"]) == ("DataError", "a photo", {})
    assert worker.call("tell", events=[]) == "told"


def test_a_result_that_can_not_be_sent_is_an_error(worker: Client) -> None:
    failure = worker.call("result_that_cannot_be_sent")
    assert (failure["type"], failure["message"]) == ("RemoteError", "a object can't be sent")


def test_an_unknown_method_lists_the_known_ones(worker: Client) -> None:
    failure = worker.call("predikt")
    assert failure["type"] == "RemoteError"
    assert failure["python_class"] == "transfer_core.worker.arguments.BadCall"
    start, _, known = failure["message"].partition(" (one of: ")
    assert start == 'unknown method "predikt", did you mean "predict"?'
    assert set(METHODS) < set(known.rstrip(")").split(", "))


@pytest.mark.parametrize(
    ("method", "params", "message"),
    [
        (
            "predict",
            {},
            "predict: missing model; missing inputs "
            "(it takes: model, inputs, level, on_bad_input, tile, augment, min_score, signed_by)",
        ),
        (
            "predict",
            {"modle": "m.transfer", "inputs": []},
            'predict: missing model; unknown "modle", did you mean "model"? '
            "(it takes: model, inputs, level, on_bad_input, tile, augment, min_score, signed_by)",
        ),
        ("predict", {"model": 5, "inputs": []}, "predict: model: Expected `str`, got `int`"),
        ("ping", {"loud": True}, 'ping: unknown "loud" (it takes: nothing)'),
        ("train", {"recipe": "photos/"}, "train: recipe: Expected `object`, got `str`"),
        (
            "evaluate",
            {"model": "m", "data": "d", "on_bad_input": "ignore"},
            "evaluate: on_bad_input: Invalid enum value 'ignore'",
        ),
    ],
)
def test_wrong_parameters_are_named(
    worker: Client, method: str, params: dict[str, Any], message: str
) -> None:
    failure = worker.call(method, **params)
    assert (failure["type"], failure["message"]) == ("RemoteError", message)
