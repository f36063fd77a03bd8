"""Which models are read again, which answer meanwhile, and which make room; a model is a file's content."""

from __future__ import annotations

import os
import threading
import warnings
import weakref
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from transfer_core.runtime.errors import ModelFileError, TransferWarning
from transfer_core.worker.model_cache import ModelCache, ModelRef
from transfer_core.worker.warning_capture import forward_warnings
from worker.client import PATIENCE_S, wait_until


class Shelf:
    """A cache of files that begin with `model`, and what it has read; it goes on while `gate` is open."""

    def __init__(self, limit: int = 100) -> None:
        self.reads: list[str] = []
        self.warnings: list[str] = []
        self.gate = threading.Event()
        self.gate.set()
        self.cache = ModelCache(limit, self._read, len)

    def find(self, path: Path) -> Any:
        return self.cache.find(ModelRef(str(path)), self.warnings.append, self._start)

    def open(self, path: Path) -> Any:
        return self.cache.open(ModelRef(str(path)), self.warnings.append)

    def reload(self, path: Path) -> Any:
        return self.cache.reload(ModelRef(str(path)), self.warnings.append)

    def end(self) -> None:
        for thread in self._threads:
            thread.join(PATIENCE_S)

    def _start(self, job: Callable[[], None]) -> None:
        self._threads = [threading.Thread(target=job)]
        self._threads[0].start()

    def _read(self, ref: ModelRef) -> str:
        path = ref.path
        content = Path(path).read_text() if Path(path).exists() else ""
        self.reads.append(content)
        assert self.gate.wait(PATIENCE_S)
        if not content.startswith("model"):
            raise ModelFileError(f"{path} is no model")
        return content


def write(path: Path, content: str, seconds: int = 0) -> Path:
    path.write_text(content)
    os.utime(path, ns=(seconds * 10**9, seconds * 10**9))
    return path


def test_a_model_is_read_once(tmp_path: Path) -> None:
    shelf, path = Shelf(), write(tmp_path / "a", "model 1")
    (tmp_path / "link").symlink_to(path)
    assert [shelf.open(path), shelf.open(path), shelf.open(tmp_path / "link")] == ["model 1"] * 3
    assert shelf.reads == ["model 1"]


def test_those_who_come_while_it_is_read_for_the_first_time_wait_together(tmp_path: Path) -> None:
    shelf, path = Shelf(), write(tmp_path / "a", "model 1")
    shelf.gate.clear()
    promises = [shelf.find(path) for _ in range(3)]
    shelf.gate.set()
    assert [promise.result(PATIENCE_S) for promise in promises] == ["model 1"] * 3
    assert shelf.reads == ["model 1"]
    shelf.end()


def test_who_sees_a_change_gets_the_new_model_and_others_meanwhile_the_old(tmp_path: Path) -> None:
    shelf, path = Shelf(), write(tmp_path / "a", "model 1")
    shelf.open(path)
    write(path, "model 2", seconds=1)
    shelf.gate.clear()
    first = shelf.find(path)
    assert isinstance(first, Future)
    assert [shelf.find(path) for _ in range(3)] == ["model 1"] * 3
    shelf.gate.set()
    assert first.result(PATIENCE_S) == "model 2"
    shelf.end()
    assert shelf.find(path) == "model 2"
    assert shelf.reads == ["model 1", "model 2"]
    assert shelf.cache.stats()["count"] == 1  # the old one has made room


def test_a_model_that_is_put_in_the_place_of_another(tmp_path: Path) -> None:
    """By renaming, with the same size and time: it is another file."""
    shelf, path = Shelf(), write(tmp_path / "a", "model 1")
    assert shelf.open(path) == "model 1"
    os.replace(write(tmp_path / "new", "model 2"), path)
    assert shelf.open(path) == "model 2"


@pytest.mark.parametrize("damage", ["half a file", "", None])
def test_the_old_model_goes_on_where_the_new_file_is_none(tmp_path: Path, damage: str | None) -> None:
    shelf, path = Shelf(), write(tmp_path / "a", "model 1")
    shelf.open(path)
    if damage is None:
        path.unlink()
    else:
        write(path, damage, seconds=1)
    assert [shelf.open(path) for _ in range(3)] == ["model 1"] * 3
    assert shelf.reads == ["model 1", damage or ""]  # tried once
    assert shelf.warnings == [f"{path} is no model; the previous model stays in use"]
    for _ in range(2):
        with pytest.raises(ModelFileError, match="is no model"):
            shelf.reload(path)
    assert shelf.open(path) == "model 1"
    assert shelf.open(write(path, "model 3", seconds=2)) == "model 3"
    assert shelf.reload(path) == "model 3"
    assert len(shelf.warnings) == 1


def test_nothing_of_a_file_that_is_no_model_stays_in_memory(tmp_path: Path) -> None:
    class Weights:
        pass

    shelf, path, seen = Shelf(), write(tmp_path / "a", "model 1"), []

    def read(_: ModelRef) -> str:
        weights = Weights()
        seen.append(weakref.ref(weights))
        try:
            raise KeyError("a tensor")
        except KeyError:
            raise ModelFileError("damaged") from None

    shelf.open(path)
    shelf.cache.read = read
    assert shelf.open(write(path, "half a file", seconds=1)) == "model 1"
    assert seen[0]() is None


def test_where_no_thread_can_be_started_the_next_tries_again(tmp_path: Path) -> None:
    def start(_: Callable[[], None]) -> None:
        raise RuntimeError("can't start new thread")

    shelf, path = Shelf(), write(tmp_path / "a", "model 1")
    with pytest.raises(RuntimeError, match="can't start"):
        shelf.cache.find(ModelRef(str(path)), shelf.warnings.append, start)
    assert shelf.open(path) == "model 1"


def test_a_file_that_was_never_a_model_is_tried_again_each_time(tmp_path: Path) -> None:
    shelf = Shelf()
    for _ in range(2):
        with pytest.raises(ModelFileError, match="nothing is no model"):
            shelf.open(tmp_path / "nothing")
    assert shelf.reads == ["", ""]
    assert shelf.warnings == []


def test_what_was_never_a_model_takes_no_memory(tmp_path: Path) -> None:
    def start(_: Callable[[], None]) -> None:
        raise RuntimeError("can't start new thread")

    shelf, path = Shelf(), write(tmp_path / "a", "model 1")
    shelf.open(path)
    for read in (shelf.open, shelf.reload):
        with pytest.raises(ModelFileError, match="is no model"):
            read(tmp_path / "nothing")
    with pytest.raises(RuntimeError, match="can't start"):
        shelf.cache.find(ModelRef(str(tmp_path / "b")), shelf.warnings.append, start)
    assert list(shelf.cache._entries) == [ModelRef(str(path))]


def test_a_reload_waits_for_a_change_that_comes_while_it_reads(tmp_path: Path) -> None:
    shelf, path = Shelf(), write(tmp_path / "a", "model 1")
    shelf.gate.clear()
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(shelf.reload(path)))
    thread.start()
    wait_until(lambda: shelf.reads, "the first version to be read")
    write(path, "model 2", seconds=1)
    shelf.gate.set()
    thread.join(PATIENCE_S)
    assert found == ["model 2"]


def test_a_reload_waits_for_who_reads_already(tmp_path: Path) -> None:
    shelf, path = Shelf(), write(tmp_path / "a", "model 1")
    shelf.open(path)
    write(path, "model 2", seconds=1)
    shelf.gate.clear()
    first = shelf.find(path)
    looks, find = [], shelf.cache.find
    shelf.cache.find = lambda *args, **words: [looks.append(1), find(*args, **words)][1]  # type: ignore[method-assign]
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(shelf.reload(path)))
    thread.start()
    thread.join(0.1)
    assert found == []
    shelf.gate.set()
    thread.join(PATIENCE_S)
    assert [first.result(PATIENCE_S), *found] == ["model 2"] * 2
    assert len(looks) == 1  # it did not ask again and again
    assert shelf.reads == ["model 1", "model 2"]
    shelf.end()


def test_those_that_were_used_last_are_kept_as_far_as_they_have_room(tmp_path: Path) -> None:
    shelf = Shelf(limit=28)
    paths = [write(tmp_path / name, f"model {name}") for name in "abcd"]
    for path in paths:
        shelf.open(path)
    assert shelf.cache.stats() == {"count": 4, "bytes": 28, "limit": 28}
    shelf.open(paths[0])
    shelf.open(write(tmp_path / "e", "model e: 16 long"))
    del shelf.reads[:]
    for path in (paths[0], tmp_path / "e"):
        shelf.open(path)
    assert shelf.reads == []
    assert shelf.open(paths[3]) == "model d"
    assert shelf.reads == ["model d"]


def test_the_newest_stays_even_if_it_is_too_big(tmp_path: Path) -> None:
    shelf = Shelf(limit=1)
    for name in "ab":
        shelf.open(write(tmp_path / name, f"model {name}"))
        shelf.open(tmp_path / name)
    assert shelf.reads == ["model a", "model b"]
    assert shelf.cache.stats() == {"count": 1, "bytes": 7, "limit": 1}


def test_who_has_it_read_is_told_what_it_warns_of() -> None:
    told: dict[str, list[str]] = {"a": [], "b": []}
    both_read = threading.Barrier(2)

    def one_of(name: str) -> None:
        with forward_warnings(told[name].append):
            both_read.wait(PATIENCE_S)
            warnings.warn(f"{name} is old", TransferWarning, stacklevel=1)
            warnings.warn(f"{name} is slow", DeprecationWarning, stacklevel=1)
            both_read.wait(PATIENCE_S)

    with ThreadPoolExecutor(2) as pool, pytest.warns(DeprecationWarning, match="is slow"):
        list(pool.map(one_of, told))
    assert told == {"a": ["a is old"], "b": ["b is old"]}
