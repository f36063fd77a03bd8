"""Trainings on two nodes of Ray, with nodes that are killed, compared with trainings on one machine."""

import shutil
import time
from dataclasses import replace
from errno import EDQUOT
from pathlib import Path

import numpy as np
import pytest

import transfer_core
from interrupting import same
from photos import class_folder, rows
from ray_cluster import TOKEN, ClusterProcess, free_ports
from transfer_core.data import Dataset
from transfer_core.distributed import embedding, nodes
from transfer_core.distributed.jobs import ENDED, JobServer
from transfer_core.distributed.storage import Storage
from transfer_core.features import Views
from transfer_core.features.engines.choice import Choice
from transfer_core.recipe.schema import TextOptions
from transfer_core.runtime.errors import Cancelled, ConfigurationError, RecipeError, WeightsNotFound
from transfer_core.runtime.version import __version__

pytestmark = [pytest.mark.slow, pytest.mark.extras]

WORDS = {
    "backbone": "mobilenet_v2",
    "steps": [
        {"type": "freeze"},
        {"type": "train"},
        {"type": "unfreeze", "last": 4},
        # Seconds on an idle machine, so that the job is still training when its node is killed.
        {"type": "train", "epochs": 14, "early_stopping": 14, "batch_size": 8},
    ],
}


@pytest.fixture(scope="module")
def cluster():
    cluster = ClusterProcess()
    yield cluster
    cluster.end()


@pytest.fixture
def token(monkeypatch):
    monkeypatch.setenv("RAY_AUTH_TOKEN", TOKEN)


@pytest.fixture
def photos(tmp_path):
    return class_folder(tmp_path / "photos", per_class=10)


class Listener:
    """Keeps all events, and calls a function once for the first that counts."""

    def __init__(self, *actions):
        self.events, self._actions = [], list(actions)

    def __call__(self, event):
        self.events.append(event)
        if self._actions and self._actions[0][0](event):
            self._actions.pop(0)[1]()

    def of(self, kind):
        return [event for event in self.events if event["event"] == kind]


class Left(Exception):
    """The client goes away."""


def leave():
    raise Left


def test_nodes_are_lost_and_the_model_is_that_of_one_machine(cluster, token, photos, tmp_path, home):
    here = transfer_core.train(data=photos, **WORDS)
    storage = tmp_path / "storage"
    storage.mkdir(0o700)
    # Both choose the same engine, as on machines of one kind.
    shutil.copy(home / "cache" / "measurements.json", storage)
    on = {"engine": cluster.engine, "storage": str(storage)}

    def has_checkpoint(event):
        return event["event"] == "epoch" and any(storage.glob("runs/*/checkpoint.safetensors"))

    listener = Listener(
        (lambda event: event.get("step") == "freeze", lambda: cluster("kill_worker")),
        (has_checkpoint, leave),
    )
    with pytest.raises(Left):
        transfer_core.train(data=photos, on_event=listener, **WORDS, **on)
    assert [event for event in listener.of("stage") if "was lost: other nodes" in event["title"]]
    run = listener.of("run")[0]["id"]
    assert [each["id"] for each in transfer_core.resumable()] == [run]
    with pytest.raises(ConfigurationError, match=r"is on a cluster\. Fix: give the cluster's engine"):
        transfer_core.resume(run)

    cluster("restart_head")
    # Another client, which has nothing but the address, the storage and the id.
    shutil.rmtree(home / "runs" / run)
    training = Listener()
    there = transfer_core.resume(run, on_event=training, **on)
    assert same(here.path, there.path)
    assert training.of("run")[0]["history"], "it began from the start, not from the checkpoint"
    assert training.of("run")[0]["path"] == str(there.path.parent)
    # Nothing that is kept has the address or the token.
    for path in (*storage.rglob("*.json"), *home.rglob("*.json"), there.path):
        assert not any(word.encode() in path.read_bytes() for word in (cluster.engine, TOKEN))
    assert transfer_core.resume(run, **on).metrics == here.metrics


def test_a_cancelled_run_stops_on_the_cluster(cluster, token, photos, tmp_path):
    asked = []
    listener = Listener((lambda event: event["event"] == "stage", lambda: asked.append(True)))
    with pytest.raises(Cancelled) as error:
        transfer_core.train(
            data=photos,
            on_event=listener,
            cancelled=lambda: bool(asked),
            engine=cluster.engine,
            storage=str(tmp_path / "storage"),
            **WORDS,
        )
    assert error.value.run == listener.of("run")[0]["id"]


def test_tasks_return_their_results_in_order(cluster, token, tmp_path):
    script = Path(__file__).with_name("ray_tasks.py")
    server = JobServer(cluster.engine.replace("ray://", "http://"))
    assert server.submit("tasks", f"python {script} {tmp_path}", {})
    assert not server.submit("tasks", f"python {script} {tmp_path}", {})
    while server.status("tasks") not in ENDED:
        time.sleep(0.2)
    assert "results: [1, 4, 9, 16, 25] False" in server.log("tasks")


@pytest.mark.parametrize(
    ("change", "storage", "message"),
    [
        (
            "version",
            "storage",
            rf"head of the cluster has transfer_core {__version__}, the client 0.0.1. Fix: ",
        ),
        ("nothing", "memory://store", "is not shared: the head of the cluster does not see .* Fix: mount"),
    ],
)
def test_a_cluster_that_does_not_fit(
    cluster, token, photos, tmp_path, monkeypatch, home, change, storage, message
):
    if change == "version":
        monkeypatch.setattr(nodes, "code", lambda: f"0.0.1+{nodes.code_digest()}")
    place = storage if "://" in storage else str(tmp_path / storage)
    with pytest.raises(ConfigurationError, match=message):
        transfer_core.train(data=photos, engine=cluster.engine, storage=place, **WORDS)
    assert not list((home / "runs").iterdir()), "a run is left that can't be resumed"


def test_a_wrong_token(cluster, photos, tmp_path, monkeypatch):
    monkeypatch.setenv("RAY_AUTH_TOKEN", "wrong" * 10)
    with pytest.raises(ConfigurationError, match=r"refused the token\. Fix: set RAY_AUTH_TOKEN"):
        transfer_core.train(data=photos, engine=cluster.engine, storage=str(tmp_path), **WORDS)


def test_a_head_that_does_not_respond(photos, tmp_path, home):
    engine = f"ray://127.0.0.1:{free_ports(1)[0]}"
    with pytest.raises(ConfigurationError, match=r"does not respond .*Connection refused.* Fix: start it"):
        transfer_core.train(data=photos, engine=engine, storage=str(tmp_path / "storage"), **WORDS)
    assert not list((home / "runs").iterdir())


@pytest.mark.parametrize(
    ("words", "path", "message"),
    [
        ({"engine": "head:8265"}, "engine", 'expected "ray://HOST:PORT"'),
        ({"engine": "ray://head"}, "storage", "needs storage that all nodes share. Fix: "),
        (
            {"engine": "ray://head", "storage": "/s", "data": list(rows(2))},
            "data",
            "rows stay here",
        ),
    ],
)
def test_words_that_a_cluster_does_not_take(photos, words, path, message):
    with pytest.raises(RecipeError, match=message) as error:
        transfer_core.train(**{"data": photos, **WORDS, **words})
    assert [problem.path for problem in error.value.problems] == [path]


def test_other_code_of_the_same_version():
    with pytest.raises(ConfigurationError, match=r"node a has other code .* Fix: install the same files"):
        nodes.require_same_code(f"{__version__}+0123", "node a")


def test_weights_that_a_node_lacks(photos, tmp_path, monkeypatch):
    def lack(*_):
        raise WeightsNotFound("no weights of mobilenet_v2 in /a, /b. Fix: install them")

    monkeypatch.setattr(nodes, "this_node", lambda: "node 10.0.0.7 (ab12cd34)")
    monkeypatch.setattr(embedding, "open_backbone", lack)
    choice = Choice("torch", "2", "float32", 1)
    network = embedding.Network(
        "mobilenet_v2", "pretrained", False, TextOptions(), "cpu", "auto", choice, "f" * 64
    )
    order = embedding.Order(network, Views(), 1280, "images", "")
    inputs = tuple(map(str, sorted(Path(photos).rglob("*.png"))))
    data = Dataset(inputs, tuple(f"{i:064x}" for i in range(len(inputs))), np.zeros(len(inputs)))
    shard = embedding.Shard(data, (1,) * len(inputs), "shards/one.sqlite")
    problem = embedding.embed_shard(order, shard, str(tmp_path / "storage"))
    assert problem == "node 10.0.0.7 (ab12cd34): no weights of mobilenet_v2 in /a, /b. Fix: install them"
    gone = replace(data, stamps={"/gone.png": "stamp"}, inputs=("/gone.png", *inputs[1:]))
    problem = embedding.embed_shard(order, replace(shard, data=gone), str(tmp_path / "storage"))
    assert problem.startswith("node 10.0.0.7 (ab12cd34): there is no file /gone.png. Fix: put the data where")


def test_a_storage_that_is_full(tmp_path, monkeypatch):
    def exceed(*_):
        raise OSError(EDQUOT, "Disk quota exceeded")

    storage = Storage(str(tmp_path / "storage"))
    storage.write("a", b"before")
    monkeypatch.setattr(Path, "write_bytes", exceed)
    with pytest.raises(ConfigurationError, match=r"full or its quota is exceeded .* Fix: free space"):
        storage.write("a", b"after")
    assert storage.read("a") == b"before"
