"""Which models are read again, told from how often they are read."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from transfer_core.worker import model_cache
from transfer_core.worker.model_cache import open_model


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Names of the files that were read; a "model" is just the content of its file."""
    names: list[str] = []

    def load_model(path: str) -> Any:
        names.append(Path(path).name)
        return Path(path).read_text()

    module = ModuleType("transfer_core.model")
    module.load_model = load_model  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "transfer_core.model", module)
    model_cache._models.clear()
    yield names
    model_cache._models.clear()


def write(path: Path, content: str, seconds: int = 0) -> str:
    path.write_text(content)
    os.utime(path, ns=(seconds * 10**9, seconds * 10**9))
    return str(path)


def test_a_model_is_read_once(tmp_path: Path, reads: list[str]) -> None:
    path = write(tmp_path / "a", "one")
    (tmp_path / "link").symlink_to(path)
    assert [open_model(path), open_model(path), open_model(str(tmp_path / "link"))] == ["one"] * 3
    assert reads == ["a"]


def test_a_model_that_was_written_anew_is_read_again(tmp_path: Path, reads: list[str]) -> None:
    assert open_model(write(tmp_path / "a", "one")) == "one"
    assert open_model(write(tmp_path / "a", "two", seconds=1)) == "two"
    assert open_model(write(tmp_path / "a", "three", seconds=1)) == "three"
    assert reads == ["a"] * 3


def test_the_four_that_were_used_last_are_kept(tmp_path: Path, reads: list[str]) -> None:
    for name in "abcd":
        open_model(write(tmp_path / name, name))
    open_model(str(tmp_path / "a"))
    open_model(write(tmp_path / "e", "e"))
    del reads[:]
    for name in "acde":
        open_model(str(tmp_path / name))
    assert reads == []
    assert open_model(str(tmp_path / "b")) == "b"
    assert reads == ["b"]


def test_a_file_that_is_not_there_is_left_to_the_loader_to_explain(tmp_path: Path, reads: list[str]) -> None:
    with pytest.raises(FileNotFoundError):
        open_model(str(tmp_path / "nothing"))
    assert reads == ["nothing"]
