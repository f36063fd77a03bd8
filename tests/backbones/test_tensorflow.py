"""SavedModels in TensorFlow's own process. TensorFlow is never imported here: what it must give was computed
by itself, in another process (make_saved_models.py)."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import pytest

import transfer_core
from photos import SIZE, class_folder
from transfer_core import backbones
from transfer_core.backbones.tensorflow.saved_model import PREPARATION, read_files, write_files
from transfer_core.backbones.tensorflow.tensorflow_child import Child
from transfer_core.backbones.tensorflow.tensorflow_process import process_for
from transfer_core.backbones.tensorflow.tfhub import cache_name
from transfer_core.runtime.errors import DependencyError, ModelFileError, OutOfMemory, RecipeError

pytestmark = [pytest.mark.slow, pytest.mark.extras]

HANDLE = "google/imagenet/tiny/classification/4"
MAKER = Path(__file__).with_name("make_saved_models.py")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder of SavedModels and of what they must give."""
    root = tmp_path_factory.mktemp("made")
    variables = {
        "PYTHONPATH": os.pathsep.join(sys.path),
        "KERAS_BACKEND": "tensorflow",
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }
    subprocess.run(
        [sys.executable, MAKER, root], env={**os.environ, **variables}, check=True, capture_output=True
    )
    return root


@pytest.fixture(scope="module")
def process(made):
    """The process of the SavedModel `convolutions`, already started."""
    process = process_of(made / "convolutions")
    process.interface()
    return process


def process_of(folder, trust=False):
    return process_for(f"tensorflow:{folder.name}", folder.name, partial(read_files, folder), 32, trust)


def known(folder):
    """Images (N, 3, H, W) and what TensorFlow gave for them."""
    with np.load(f"{folder}.npz") as arrays:
        return arrays["images"].transpose(0, 3, 1, 2), arrays["embeddings"]


def pid_of(process):
    return process._child._process.pid


def is_running(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_until_gone(pid, seconds=10):
    deadline = time.monotonic() + seconds
    while is_running(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not is_running(pid)


# What a SavedModel takes and gives.


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("convolutions", {"size": 32, "levels": False, "width": 5}),
        ("flexible", {"size": None, "levels": False, "width": 5}),
        ("levels", {"size": 32, "levels": True, "width": 5}),
        ("callable", {"size": 32, "levels": False, "width": 5}),
        ("keras", {"size": 32, "levels": False, "width": 6}),
        ("old", {"size": 32, "levels": False, "width": 4}),
        ("default", {"size": 32, "levels": False, "width": 5}),
    ],
)
def test_images_go_in_and_embeddings_come_out(made, kind, expected):
    said = json.loads((made / "endpoints.json").read_text())[kind]
    assert said.pop("difference") < 1e-5
    assert said == expected


@pytest.mark.parametrize(
    ("kind", "error", "message"),
    [
        (
            "several",
            "Unusable",
            "several outputs could be the embedding, or none (outputs: one: float32 (1, 5), "
            "two: float32 (1, 2))",
        ),
        (
            "texts",
            "Unusable",
            "its signatures take texts. Texts are for hf/ORG/NAME",
        ),
        (
            "wide",
            "Unusable",
            "serving_default(images: float32 (None, 32, 64, 3)) takes images of 32 x 64 pixels, only squares "
            "are supported",
        ),
        ("writes", "Untrusted", "WriteFile"),
    ],
)
def test_what_is_no_extractor_of_images_says_what_it_is(made, kind, error, message):
    assert json.loads((made / "endpoints.json").read_text())[kind] == {"error": error, "message": message}


# The process.


def test_it_gives_what_tensorflow_gives(made, process):
    images, embeddings = known(made / "convolutions")
    np.testing.assert_allclose(process(images), embeddings, atol=1e-5)


def test_many_threads_are_answered_each_with_its_own(made, process):
    images, embeddings = known(made / "convolutions")
    numbers = [i % len(images) for i in range(40)]
    pid = pid_of(process)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda i: process(images[i : i + 1])[0], numbers))
    np.testing.assert_allclose(found, embeddings[numbers], atol=1e-5)
    assert pid_of(process) == pid


def test_models_with_the_same_saved_model_share_a_process(made, process):
    assert process_of(made / "convolutions") is process


def test_nothing_of_it_lies_on_the_disk_while_it_runs(process):
    arguments = json.loads(Path(f"/proc/{pid_of(process)}/cmdline").read_bytes().split(b"\0")[3])
    assert not Path(arguments["folder"]).exists()


def test_ctrl_c_is_not_meant_for_it(process):
    assert os.getsid(pid_of(process)) != os.getsid(0)


def test_it_is_started_again_after_whatever_ended_it(made):
    process = process_of(made / "keras")
    images, embeddings = known(made / "keras")
    np.testing.assert_allclose(process(images), embeddings, atol=1e-4)
    killed = pid_of(process)
    os.kill(killed, signal.SIGKILL)
    with pytest.raises(OutOfMemory) as raised:
        process(images)
    assert str(raised.value) == (
        "TensorFlow's process was killed while it ran tensorflow:keras, most likely because memory ran out; "
        "the next call starts another"
    )
    assert not Path(f"/proc/{killed}").exists()
    np.testing.assert_allclose(process(images), embeddings, atol=1e-4)
    last = pid_of(process)
    with pytest.raises(ModelFileError, match=r"^tensorflow:keras can't be used: .*[Dd]epth") as raised:
        process(images[:, :2])  # which have two colours
    assert "\n" not in str(raised.value)
    assert not Path(f"/proc/{last}").exists()
    del raised  # the traceback refers to the process


def test_what_reaches_out_needs_trust(made):
    with pytest.raises(RecipeError) as raised:
        process_of(made / "writes").interface()
    assert str(raised.value) == (
        "trust: tensorflow:writes needs operations that don't run without trust: WriteFile. "
        "Fix: `trust: true` runs them with your rights; pass it only if you trust the publisher"
    )
    assert not (made / "written").exists()
    assert process_of(made / "writes", trust=True).interface().width == 5
    assert (made / "written").read_text() == "yes"


def test_it_does_not_outlive_a_parent_that_is_killed(made):
    script = f"""
import sys
sys.path.insert(0, {str(MAKER.parent)!r})
from test_tensorflow import *
process = process_of(Path({str(made / "convolutions")!r}))
process.interface()
heir = os.fork()  # who keeps the pipe to the process open
if heir:
    print(pid_of(process), heir, flush=True)
time.sleep(60)
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, env=environment)
    pid, heir = map(int, parent.stdout.readline().split())
    try:
        assert is_running(pid)
        parent.kill()
        assert wait_until_gone(pid)
    finally:
        os.kill(heir, signal.SIGKILL)
        parent.communicate()


def test_the_error_output_is_without_the_lines_that_tensorflow_always_prints(tmp_path):
    child = object.__new__(Child)
    child._errors = (tmp_path / "errors").open("w+b")
    child._errors.write(b"I0000 00:00:1.1 port.cc] chatter\nfirst\nTraceback\n\nMemoryError\n")
    assert child.error_output() == "\n  first\n  Traceback\n  MemoryError"
    child._errors.close()


def test_files_that_are_damaged_are_told(made, tmp_path):
    folder = tmp_path / "damaged"
    write_files({**read_files(made / "convolutions"), "saved_model.pb": b"\xff" * 100}, folder)
    with pytest.raises(ModelFileError, match=r"^tensorflow:damaged can't be used: "):
        process_of(folder).interface()


# As a backbone.


def test_what_its_folder_says_wrongly_of_images(made, tmp_path):
    write_files(read_files(made / "convolutions"), tmp_path)
    for content, complaint in [
        (
            b'{"means": [0, 0, 0]}',
            "declares its preprocessing wrongly: Object contains unknown field `means`",
        ),
        (b"[0, 0, 0]", f"{PREPARATION} is not a JSON object: Expected `object`, got `array`"),
    ]:
        write_files({PREPARATION: content}, tmp_path)
        with pytest.raises(ModelFileError, match=re.escape(complaint)):
            backbones.facts(f"tensorflow:{tmp_path}")


def test_without_tensorflow_there_is_the_line_that_installs_it(made, monkeypatch):
    monkeypatch.setattr("transfer_core.backbones.tensorflow.tensorflow_loading.find_spec", lambda name: None)
    with pytest.raises(DependencyError) as raised:
        backbones.facts(f"tensorflow:{made / 'keras'}")
    assert str(raised.value) == (
        "a SavedModel needs the package tensorflow. "
        f"Fix: {sys.executable} -m pip install 'transfer-core[tensorflow]'"
    )


@pytest.fixture
def hub(made, tmp_path, monkeypatch):
    """TF Hub's cache with a module of scores; it takes photos as they are, 64 pixels wide."""
    folder = tmp_path / "hub" / cache_name(f"https://tfhub.dev/{HANDLE}")
    shutil.copytree(made / "flexible", folder)
    write_files({PREPARATION: json.dumps({"size": SIZE, "resize": SIZE}).encode()}, folder)
    monkeypatch.setenv("TFHUB_CACHE_DIR", str(tmp_path / "hub"))
    return folder


def test_a_training_its_second_run_and_its_saved_model(hub, made, tmp_path, monkeypatch):
    photos = class_folder(tmp_path / "photos", per_class=6)
    events = []
    model = transfer_core.train(backbone=f"tfhub:{HANDLE}", data=photos, on_event=events.append)
    assert (
        f"tfhub:{HANDLE} outputs the scores of its own classes. "
        "Try: tfhub:google/imagenet/tiny/feature_vector/4"
    ) in model.header.warnings
    assert {"event": "progress", "step": "freeze", "done": 18, "total": 18, "unit": "images"} in events

    shutil.rmtree(hub)  # the saved model has it inside
    loaded = transfer_core.load(model.save(tmp_path / "model.transfer"))
    paths = [f"{photos}/{label}/0.png" for label in ("brick", "leaf", "sky")]
    assert [answer["label"] for answer in loaded.predict(paths)] == ["brick", "leaf", "sky"]
    np.testing.assert_allclose(loaded.embed(paths), model.embed(paths), atol=1e-5)
    metrics = model.metrics
    del model, loaded

    def start(*_):
        raise AssertionError("no process is needed")

    shutil.copytree(made / "flexible", hub)
    write_files({PREPARATION: json.dumps({"size": SIZE, "resize": SIZE}).encode()}, hub)
    monkeypatch.setattr("transfer_core.backbones.tensorflow.tensorflow_process.Child", start)
    again = transfer_core.train(backbone=f"tfhub:{HANDLE}", data=photos)
    assert again.metrics == metrics
