"""`transfer cache`: what is told, checked and deleted, and what is left alone."""

import os
import time

import numpy as np
import pytest

from cache.store_writer import OWNER, WIDTH, add, key, rows_of
from transfer_core import cache
from transfer_core.cache import RowStore
from transfer_core.cache.digests import Seen, remember
from transfer_core.cache.layout import Layout
from transfer_core.runtime import paths

STRIDE = 32 + 4 * WIDTH + 4


def rows_files(store):
    return sorted(store.folder.glob("*.rows"))


def used(path, ago_s):
    os.utime(path, (time.time() - ago_s,) * 2)


@pytest.fixture
def foreign(home):
    """Files of somebody else's in the same folder."""
    (home / "cache" / "thumbnails").mkdir(parents=True)
    files = [home / "cache" / "thumbnails" / "1.png", home / "cache" / "notes.txt"]
    for file in files:
        file.write_text("mine")
    return files


def test_an_empty_cache(home):
    empty = {"path": str(home / "cache"), "limit": 10**10, "bytes": 0, "parts": [], "runs": 0}
    assert cache.stats() == empty
    assert cache.verify() == {"rows": 0, "damaged": 0, "files": []}
    assert cache.prune() == {"freed": 0, "left": 0}
    assert cache.clear() == {"freed": 0, "left": 0}
    assert not home.exists()


def test_stats(store, home, foreign):
    add(store, *range(10))
    add(store, *range(5), width=WIDTH + 1)
    remember([Seen("/a", "stamp", "digest")])
    (home / "runs" / "1").mkdir(parents=True)
    (home / "runs" / "1" / "model.transfer").write_bytes(bytes(1000))
    found = cache.stats()
    features, digests = found["parts"]
    assert (features["name"], features["rows"], features["files"]) == ("features", 15, 3)
    assert features["bytes"] == sum(path.stat().st_size for path in store.folder.iterdir())
    assert features["used_at"] == pytest.approx(time.time(), abs=60)
    assert (digests["name"], digests["rows"], digests["files"]) == ("digests", None, 1)
    assert found["bytes"] == features["bytes"] + digests["bytes"]
    assert found["runs"] == 1000


def test_verify_drops_what_is_damaged_and_keeps_the_rest(store, find):
    add(store, *range(200))
    store.add("other", [key(1)], rows_of([1]))
    path = Layout.of(OWNER, rows_of([0])).files(store.folder).popitem()[1]
    with open(path, "r+b") as file:
        for number in (3, 77):
            file.seek(64 + number * STRIDE + 35)
            file.write(b"\xff")
    used(path, 1000)
    (store.folder / "foreign.rows").write_text("hello")
    assert cache.verify() == {"rows": 199, "damaged": 2, "files": ["features/foreign.rows"]}
    assert cache.verify() == {"rows": 199, "damaged": 0, "files": []}
    mended = Layout.of(OWNER, rows_of([0])).files(store.folder).popitem()[1]
    assert mended.stat().st_mtime == pytest.approx(time.time() - 1000, abs=60)
    assert find(store, *range(200)) == [number for number in range(200) if number not in (3, 77)]


def test_verify_makes_damaged_databases_anew(store, find):
    add(store, *range(50))
    remember([Seen("/a", "stamp", "digest")])
    for path in (store.folder / "index.sqlite", paths.cache() / "digests.sqlite"):
        path.write_bytes(path.read_bytes()[:4096] + os.urandom(9000))
    assert cache.verify()["files"] == ["digests.sqlite", "features/index.sqlite"]
    assert find(store, *range(50)) == list(range(50))


def test_a_file_that_is_being_written_to_is_not_touched(store, find, writer):
    process = writer(store, 0, 100_000)
    assert process.stdout.readline() == "0\n"
    cache.verify()
    assert process.poll() is None
    process.kill()
    told = process.communicate()[0].splitlines()
    assert find(store, *range(20)) == list(range(20)), told


def test_prune_deletes_what_was_used_least_recently(store, foreign):
    for age, owner in enumerate(["oldest", "older", "newest"]):
        rows = np.zeros((100, 1000), np.float32)
        store.add(owner, [key(number) for number in range(100)], rows)
        for path in Layout.of(owner, rows).files(store.folder).values():
            used(path, 1000 - age)
    before = cache.stats()["bytes"]
    pruned = cache.prune(max_bytes=500_000)
    assert pruned["left"] == cache.stats()["bytes"] <= 500_000
    assert pruned["freed"] == before - pruned["left"]
    into = np.ones((1, 1000), np.float32)
    known = [o for o in ("oldest", "older", "newest") if store.read(o, [key(1)], into).any()]
    assert known == ["newest"]
    assert all(file.exists() for file in foreign)


def test_prune_deletes_what_was_not_used_for_long(store, find):
    store.add("old", [key(1)], rows_of([1]))
    used(rows_files(store)[0], 10 * 86400)
    add(store, 1)
    cache.prune(older_than_s=20 * 86400)
    assert len(rows_files(store)) == 2
    cache.prune(older_than_s=5 * 86400)
    assert len(rows_files(store)) == 1
    assert find(store, 1) == [1]


def test_prune_keeps_to_the_limit(store, find, monkeypatch):
    add(store, 1)
    assert cache.prune()["freed"] == 0
    monkeypatch.setenv("TRANSFER_CACHE_LIMIT", "0")
    cache.prune()
    assert rows_files(store) == []
    monkeypatch.delenv("TRANSFER_CACHE_LIMIT")
    add(RowStore(store.folder), 1)
    assert find(store, 1) == [1]


def test_clear_deletes_all_of_the_cache_and_nothing_else(store, find, home, foreign):
    add(store, *range(10))
    remember([Seen("/a", "stamp", "digest")])
    (home / "cache" / "features.sqlite").write_text("of an earlier version")
    (home / "runs").mkdir()
    before = cache.stats()["bytes"]
    assert cache.clear() == {"freed": before, "left": 0}
    assert sorted(path.name for path in (home / "cache").iterdir()) == ["notes.txt", "thumbnails"]
    assert all(file.exists() for file in foreign)
    assert (home / "runs").exists()
    add(store, 1)
    assert find(store, 1) == [1]


def test_clear_while_others_write(store, find, writer):
    process = writer(store, 0, 30)
    for _ in range(5):
        assert process.stdout.readline()
        cache.clear()
    assert process.wait(timeout=60) == 0
    process.communicate()
    find(store, *range(600))  # asserts that what is found is right
    add(store, *range(600))
    assert find(store, *range(600)) == list(range(600))
