"""How many cores are used, and that nothing depends on it."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

import transfer_core
from photos import class_folder
from transfer_core.features.parallel import map_on_cores, one_thread_inside
from transfer_core.runtime.devices import (
    WORTH_SHARING,
    at_most_cores,
    cores,
    machine_cores,
    threads_for_work,
    torch_threads,
)
from transfer_core.runtime.errors import ConfigurationError
from transfer_core.worker.recipe_methods import _training_threads


@pytest.fixture
def two_threads():
    """Torch has two threads."""
    with torch_threads(2):
        yield


def test_a_step_that_is_too_small_to_share_has_one_thread(two_threads, monkeypatch):
    monkeypatch.setenv("TRANSFER_THREADS", "8")
    with threads_for_work(WORTH_SHARING - 1):
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == 2
    with threads_for_work(WORTH_SHARING):
        assert torch.get_num_threads() == 2
    with threads_for_work(WORTH_SHARING), at_most_cores(1):
        assert torch.get_num_threads() == 2
    with at_most_cores(1), threads_for_work(WORTH_SHARING):
        assert torch.get_num_threads() == 1


def test_cores_are_those_that_are_set_and_no_more_than_may_be_used(monkeypatch):
    assert 1 <= cores() <= machine_cores()
    monkeypatch.setenv("TRANSFER_THREADS", " 6 ")
    assert cores() == 6
    with at_most_cores(4):
        assert cores() == 4
        with at_most_cores(None):
            assert cores() == 4
        with at_most_cores(8):
            assert cores() == 6
        elsewhere = []
        thread = threading.Thread(target=lambda: elsewhere.append(cores()))
        thread.start()
        thread.join()
        assert elsewhere == [6]
    assert cores() == 6


@pytest.mark.parametrize("value", ["0", "-1", "two", "1.5"])
def test_a_setting_that_is_no_number_of_cores(monkeypatch, value):
    monkeypatch.setenv("TRANSFER_THREADS", value)
    with pytest.raises(ConfigurationError) as error:
        cores()
    assert str(error.value) == f"TRANSFER_THREADS is a number of cores, 1 or more, got {value!r}"


def test_work_is_done_on_so_many_threads(monkeypatch):
    monkeypatch.setenv("TRANSFER_THREADS", "3")
    together = threading.Barrier(3, timeout=10)
    seen = set(map_on_cores(lambda _: (together.wait(), threading.get_ident())[1], range(3)))
    assert len(seen) == 3
    with at_most_cores(1):
        assert len(set(map_on_cores(lambda _: threading.get_ident(), range(5)))) == 1


def test_a_training_in_the_worker_has_its_own_limit(two_threads, monkeypatch):
    monkeypatch.setenv("TRANSFER_THREADS", "8")
    with _training_threads():
        assert (cores(), torch.get_num_threads()) == (8, 2)
    monkeypatch.setenv("TRANSFER_TRAINING_THREADS", "1")
    with _training_threads():
        assert (cores(), torch.get_num_threads()) == (1, 1)
    assert (cores(), torch.get_num_threads()) == (8, 2)


def test_a_training_gives_the_same_bits_on_any_number_of_cores(tmp_path, monkeypatch, home):
    photos = class_folder(tmp_path / "photos", per_class=4)
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    steps = [{"type": "freeze"}, {"type": "train"}, {"type": "unfreeze", "last": 1}]
    steps += [{"type": "train", "epochs": 1, "batch_size": 5}]

    def trained(threads):
        monkeypatch.setenv("TRANSFER_THREADS", str(threads))
        model = transfer_core.train(backbone="mobilenet_v2", data=photos, steps=steps, seed=1)
        (home / "cache" / "features.sqlite").unlink()
        return model.path.read_bytes()

    assert trained(1) == trained(3)


def test_a_thread_keeps_its_one_thread_when_another_sets_the_number_before_its_first_operation():
    usual = torch.get_num_threads()
    try:
        with ThreadPoolExecutor(1, initializer=one_thread_inside) as pool:
            pool.submit(int).result()
            torch.set_num_threads(2)
            assert pool.submit(lambda: (torch.ones(10).sum(), torch.get_num_threads())[1]).result() == 1
    finally:
        torch.set_num_threads(usual)
