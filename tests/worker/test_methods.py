"""The real methods, called over the wire."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from transfer_core.backbones import all_facts
from transfer_core.backbones.catalogue import catalogue
from worker.client import REAL_WORKER, Client

HUBCONF = """
dependencies = ["torch"]

from pathlib import Path

from torch import nn

(Path(__file__).parent / "ran").touch()

def tiny():
    pool = nn.AdaptiveAvgPool2d(1)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), pool, nn.Flatten(), nn.Linear(4, 2))
"""


@pytest.fixture
def real(start: Callable[..., Client], tmp_path: object) -> Client:
    client = start(*REAL_WORKER, TRANSFER_HOME=str(tmp_path), TRANSFER_OFFLINE="1", HOME=str(tmp_path))
    client.hello()
    return client


def test_backbones(real: Client) -> None:
    asked = {"task": "image_classification", "max_parameters": 4e6, "source": "torchvision"}
    assert real.call("backbones", **asked) == msgspec.to_builtins(catalogue(**asked))
    assert "mobilenet_v2" in [entry["name"] for entry in real.call("backbones", offline=True)]
    expected = msgspec.json.decode(msgspec.json.encode(all_facts()))
    assert real.call("backbone", name="mobilenet_v2") == next(
        b for b in expected if b["name"] == "mobilenet_v2"
    )
    failure = real.call("backbones", task="image_clasification")
    assert (failure["type"], failure["message"][:48]) == (
        "RecipeError",
        'task: unknown task "image_clasification", did yo',
    )


def test_an_unknown_backbone(real: Client) -> None:
    failure = real.call("backbone", name="mobilnet_v2")
    assert failure["type"] == "RecipeError"
    assert 'did you mean "mobilenet_v2"?' in failure["message"]


def test_a_backbone_with_code_of_its_own(real: Client, tmp_path: Path) -> None:
    (tmp_path / "hubconf.py").write_text(HUBCONF)
    name = f"torchhub:{tmp_path}:tiny"
    failure = real.call("backbone", name=name)
    assert failure["type"] == "RecipeError"
    assert [problem["path"] for problem in failure["details"]["problems"]] == ["trust"]
    assert not (tmp_path / "ran").exists()
    facts = real.call("backbone", name=name, trust=True)
    assert (facts["name"], facts["embedding_width"]) == (name, 4)
    assert (tmp_path / "ran").exists()


def test_doctor(real: Client) -> None:
    checks = {check["name"]: check for check in real.call("doctor")}
    assert list(checks["python"]) == ["name", "ok", "detail", "remedy"]
    assert checks["torch"]["ok"] is True
    assert " backbones on this machine: mobilenet_v2" in checks["weights"]["detail"]


def test_a_recipe_that_is_wrong(real: Client) -> None:
    failure = real.call("train", recipe={"data": "photos/", "backbone": "mobilenet_v2", "epochs": 5})
    assert failure["type"] == "RecipeError"
    assert [problem["path"] for problem in failure["details"]["problems"]] == ["epochs"]


def test_the_cache(real: Client, tmp_path: Path) -> None:
    damaged = tmp_path / "cache" / "features.sqlite"
    damaged.parent.mkdir()
    damaged.write_bytes(bytes(1000))
    assert real.call("cache_verify") == {"rows": 0, "damaged": 0, "files": ["features.sqlite"]}
    damaged.write_bytes(bytes(1000))
    stats = real.call("cache_stats")
    assert list(stats) == ["path", "limit", "bytes", "parts", "runs"]
    assert [(part["name"], part["bytes"], part["rows"]) for part in stats["parts"]] == [("features", 1000, 0)]
    left = real.call("cache_prune", max_bytes=0, older_than_s=60.0)["left"]  # an empty table
    assert real.call("cache_clear") == {"freed": left, "left": 0}
