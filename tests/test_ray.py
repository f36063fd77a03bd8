"""Trainings on two nodes of Ray, compared with trainings on one machine."""

import pytest

import transfer_core
from interrupting import same
from photos import class_folder
from ray_cluster import RayCluster

pytestmark = [pytest.mark.slow, pytest.mark.extras]
pytest.importorskip("ray")


@pytest.fixture(scope="module")
def cluster():
    cluster = RayCluster()
    try:
        yield cluster.start()
    finally:
        cluster.end()


def test_the_model_of_a_cluster_is_that_of_one_machine(cluster, tmp_path):
    photos = class_folder(tmp_path / "photos", per_class=12)
    here = transfer_core.train(backbone="mobilenet_v2", data=photos)
    there = transfer_core.train(
        backbone="mobilenet_v2", data=photos, engine=cluster.engine, storage=str(tmp_path / "storage")
    )
    assert same(here.path, there.path)
