"""Fine-tuning by two processes on two nodes of Ray, compared with two processes of one machine."""

import shutil

import pytest

import transfer_core
from interrupting import same
from photos import class_folder
from ray_cluster import TOKEN, ClusterProcess

pytestmark = [pytest.mark.slow, pytest.mark.extras]
pytest.importorskip("ray")

WORDS = {
    "backbone": "mobilenet_v2",
    "processes": 2,
    "steps": [
        {"type": "freeze"},
        {"type": "train"},
        {"type": "unfreeze", "last": 1},
        {"type": "train", "epochs": 5, "batch_size": 8, "early_stopping": 0},
    ],
}


@pytest.fixture
def cluster():
    cluster = ClusterProcess()
    yield cluster
    cluster.end()


def test_a_node_is_lost_and_the_model_is_that_of_one_machine(cluster, tmp_path, home, monkeypatch):
    monkeypatch.setenv("RAY_AUTH_TOKEN", TOKEN)
    photos = class_folder(tmp_path / "photos", per_class=6)
    here = transfer_core.train(data=photos, **WORDS)
    storage = tmp_path / "storage"
    storage.mkdir(0o700)
    # Both choose the same engine, as on machines of one kind.
    shutil.copy(home / "cache" / "measurements.json", storage)
    events = []

    def listen(event):
        events.append(event)
        if (
            event["event"] == "epoch"
            and event["number"] == 2
            and not any("lost" in title for title in titles())
        ):
            cluster("kill_worker")
            cluster("start_worker")

    def titles():
        return [event["title"] for event in events if event["event"] == "stage"]

    there = transfer_core.train(
        data=photos, on_event=listen, engine=cluster.engine, storage=str(storage), **WORDS
    )
    assert "a process on a node was lost: all restart from the last checkpoint" in titles()
    epochs = [event["number"] for event in events if event["event"] == "epoch"]
    assert epochs[:2] == [1, 2]
    assert epochs[-1] == 5
    assert same(here.path, there.path)
