"""Every test: a home of its own, no network, one torch thread, and somebody who sees that it tidies up."""

import os
import tempfile
import threading

import pytest

from processes import children

# Whichever test imports Keras first decides for all.
os.environ["KERAS_BACKEND"] = "torch"


def environment():
    return {name: value for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST"}


@pytest.fixture(autouse=True)
def leave_nothing_behind(tmp_path_factory):
    """Fails a test that leaves a thread, a process, a temporary file or a variable behind."""
    temporary, usual = tmp_path_factory.mktemp("temporary"), tempfile.tempdir
    before, threads, variables = children(), set(threading.enumerate()), environment()
    tempfile.tempdir = str(temporary)
    yield
    tempfile.tempdir = usual
    assert environment() == variables, "the test left a change of the environment behind"
    assert children() <= before, "the test left a process behind"
    assert set(threading.enumerate()) <= threads, "the test left a thread behind"
    assert not list(temporary.iterdir()), "the test left a temporary file behind"
    temporary.rmdir()


@pytest.fixture(autouse=True)
def home(leave_nothing_behind, tmp_path, monkeypatch):
    """An empty `TRANSFER_HOME`, without a network."""
    monkeypatch.setenv("TRANSFER_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("TRANSFER_OFFLINE", "1")
    return tmp_path / "home"


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    """Small networks are many times slower on threads that other processes compete with."""
    import torch
    import tqdm

    tqdm.tqdm.monitor_interval = 0  # torch.fx makes a bar that it doesn't show, and the first starts a thread
    import torch._dynamo  # torch's own optimisers import it, and leave a folder and a variable behind

    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def mobilenet():
    """MobileNetV2 with its real weights; tests don't change it."""
    from transfer_core import backbones

    return backbones.load("mobilenet_v2")
