"""Activations on disk: what comes back, when none are kept, and that no file is left."""

import shutil
from collections import namedtuple

import pytest
import torch

from tiny_backbone import tiny_backbone
from transfer_core.features.boundary import DISK_SHARE, first_blocks, halved, keep_on_disk, stacked


def rows(count=5, shape=(4, 3, 2), dtype=torch.float16):
    drawn = 10 * torch.randn(count, *shape, generator=torch.Generator().manual_seed(0))
    return list(drawn.abs().to(dtype))


def channels_last(row):
    return row.permute(1, 2, 0).contiguous().permute(2, 0, 1)


@pytest.mark.parametrize("dtype", [torch.float16, torch.uint8])
@pytest.mark.parametrize("layout", [channels_last, torch.clone])
def test_what_was_kept_comes_back_in_its_layout(dtype, layout, home):
    given = [layout(row) for row in rows(dtype=dtype)]
    kept = keep_on_disk(iter(given), 5)
    batch = kept.read(torch.tensor([3, 0, 3]))
    assert torch.equal(batch, torch.stack([given[3], given[0], given[3]]))
    assert batch[0].stride() == given[0].stride()
    assert batch.stride() == stacked(given[:3]).stride()
    assert [path for path in home.rglob("*") if path.is_file()] == []


def test_rows_of_other_shapes():
    given = rows(shape=(7, 5))
    assert torch.equal(keep_on_disk(iter(given), 5).read(torch.arange(5)), torch.stack(given))


def test_nothing_is_kept_on_a_disk_that_is_nearly_full(monkeypatch):
    usage = namedtuple("usage", "free")
    needed = 5 * 24 * 2 / DISK_SHARE
    for free, fits in ((needed - 1, False), (needed, True)):
        monkeypatch.setattr(shutil, "disk_usage", lambda path, free=free: usage(free))
        assert (keep_on_disk(iter(rows()), 5) is not None) == fits


def test_nothing_is_kept_where_nothing_can_be_written(monkeypatch):
    monkeypatch.setenv("TRANSFER_HOME", "/proc/transfer")
    assert keep_on_disk(iter(rows()), 5) is None


def test_numbers_beyond_half_precision_stay_as_they_are():
    small, large = torch.tensor([1.0, 65504.0]), torch.tensor([1.0, 70000.0])
    assert halved(small).dtype == torch.float16
    assert torch.equal(halved(large), large)
    assert keep_on_disk(iter([halved(small), halved(large)]), 2) is None
    assert torch.equal(stacked([halved(small), halved(large)]), torch.stack([small, large]))


def test_first_blocks_and_the_others_are_the_whole():
    backbone, images = tiny_backbone(), torch.rand(2, 3, 16, 16)
    with torch.no_grad():
        between = first_blocks(backbone, 2)(images)
        assert torch.equal(backbone.pool(backbone.blocks[2:](between)), backbone(images))
