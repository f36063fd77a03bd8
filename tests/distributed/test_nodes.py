"""Fine-tuning by two processes on two nodes of Ray, compared with two processes of one machine."""

import shutil

import pytest

import transfer_core
from photos import class_folder
from ray_cluster import TOKEN, ClusterProcess
from transfer_core.model_file.format import read_model

pytestmark = [pytest.mark.slow, pytest.mark.extras]

WORDS = {
    "backbone": "mobilenet_v2",
    "processes": 2,
    "steps": [
        {"type": "freeze"},
        {"type": "train"},
        {"type": "unfreeze", "last": 1},
        {"type": "train", "epochs": 3, "batch_size": 8, "early_stopping": 0},
    ],
}


@pytest.fixture
def cluster():
    cluster = ClusterProcess()
    yield cluster
    cluster.end()


def test_two_nodes_train_as_two_processes_of_one_machine(cluster, tmp_path, home, monkeypatch):
    monkeypatch.setenv("RAY_AUTH_TOKEN", TOKEN)
    photos = class_folder(tmp_path / "photos", per_class=6)
    here = transfer_core.train(data=photos, **WORDS)
    storage = tmp_path / "storage"
    storage.mkdir(0o700)
    # Both choose the same engine, as on machines of one kind.
    shutil.copy(home / "cache" / "measurements.json", storage)
    there = transfer_core.train(data=photos, engine=cluster.engine, storage=str(storage), **WORDS)
    losses = [[one["loss"] for one in model.history if "loss" in one] for model in (here, there)]
    assert len(losses[0]) >= 3
    assert losses[1] == pytest.approx(losses[0], abs=1e-5)
    expected, found = (read_model(model.path)[1] for model in (here, there))
    for name in expected:
        if not name.startswith("novelty"):
            assert found[name] == pytest.approx(expected[name], rel=1e-4, abs=1e-5), name
