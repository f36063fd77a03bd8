"""The default head on shards in files, by two processes."""

import numpy as np
import pytest

from criteria import Rows
from transfer_core.distributed.linear_head import fit_on_shards
from transfer_core.heads.cross_validated import fit_linear
from transfer_core.runtime.progress import Progress

pytestmark = pytest.mark.slow


def test_two_processes_fit_the_head_of_one_to_the_bit(tmp_path):
    rng = np.random.default_rng(0)
    targets = np.arange(900) % 3
    features = (rng.normal(size=(3, 10))[targets] + 2 * rng.normal(size=(900, 10))).astype(np.float32)
    rows = Rows(features, targets, np.ones(900, np.float32), np.arange(900))
    paths = [str(tmp_path / f"{number}.npy") for number in range(3)]
    for path, part in zip(paths, np.split(features, [200, 650]), strict=True):
        np.save(path, part)
    events = []
    one, two = (fit_on_shards(paths, rows, 3, 5, 0, Progress(events.append), n) for n in (1, 2))
    assert two.strength == one.strength
    for name in ("weight", "bias", "held_out", "held_out_rows"):
        np.testing.assert_array_equal(getattr(one, name), getattr(two, name))
    expected = fit_linear(rows, 3, 5, 0, Progress())
    assert two.strength == expected.strength
    losses = [
        rows.criterion.losses(features @ fit.weight.T + fit.bias, targets, rows.weights).mean()
        for fit in (two, expected)
    ]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    assert {event["event"] for event in events} == {"progress"}
