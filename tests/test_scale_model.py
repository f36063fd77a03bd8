"""The cost model of large trainings and its simulation, beside closed forms."""

import math

import pytest
from benchmarks import scale


@pytest.mark.parametrize(("shards", "workers"), [(12, 4), (13, 4), (3, 8), (1, 1)])
def test_equal_shards_take_rounds(shards, workers):
    assert scale.makespan([2.0] * shards, workers) == 2.0 * math.ceil(shards / workers)


def test_a_greedy_schedule_is_within_the_bound_of_graham():
    durations = [1.0, 5.0, 2.0, 8.0, 3.0, 1.0, 7.0, 2.0]
    optimum = max(max(durations), sum(durations) / 3)
    assert optimum <= scale.makespan(durations, 3) <= (2 - 1 / 3) * optimum


def test_the_shard_of_a_lost_worker_is_done_again():
    # Two workers, four shards of 2 s: the one lost at 1 s leaves three for the other.
    assert scale.makespan([2.0] * 4, 2, losses=[1.0]) == 8.0
    assert scale.makespan([2.0] * 4, 2, losses=[1.0], replaced_after=1.0) == 6.0
    with pytest.raises(ValueError, match="2 shards are left"):
        scale.makespan([2.0] * 2, 1, losses=[1.0])


def test_the_bottleneck_is_the_slowest_resource():
    cluster = scale.Cluster(8, 16)
    slow = scale.Rates(1000.0, 1e9, 1.0, 1e12, 1e12, 0.0, 1e12)
    assert scale.bottleneck(scale.embedding_seconds(128_000, cluster, slow)) == ("decoding", 1000.0)
    gathered = scale.head_seconds(1e6, cluster, slow)
    assert gathered["reading features"] == pytest.approx(1e6 * 1280 * 4 / 1e12)
