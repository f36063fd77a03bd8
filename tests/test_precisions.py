"""Every precision of the recipe on CPUs with and without bfloat16 operators."""

import json
import os
import subprocess
import sys

import pytest

import transfer_core
from photos import COLORS, class_folder

pytestmark = pytest.mark.slow

# How oneDNN and ATen behave on a processor with AVX2 alone.
AVX2_ONLY = {"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2"}

SCRIPT = """
import json, sys, transfer_core
data, words = sys.argv[1], json.loads(sys.argv[2])
model = transfer_core.train(backbone="mobilenet_v2", data=data, **words)
found = model.predict([f"{data}/brick/1.png", f"{data}/sky/1.png"])
print(json.dumps({"warnings": list(model.header.warnings), "labels": [one["label"] for one in found]}))
"""


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    two = {label: COLORS[label] for label in ("brick", "sky")}
    return class_folder(tmp_path_factory.mktemp("photos"), per_class=6, colors=two)


def slow(warnings):
    return [warning for warning in warnings if "several times slower than float32" in warning]


# Not bfloat16 with AVX2 alone, which is emulated and takes minutes: see the tests below.
@pytest.mark.parametrize(
    ("precision", "machine"),
    [("auto", {}), ("float32", {}), ("bfloat16", {}), ("auto", AVX2_ONLY), ("float32", AVX2_ONLY)],
)
def test_every_precision_trains_and_predicts(photos, precision, machine):
    words = json.dumps({"precision": precision})
    command = [sys.executable, "-c", SCRIPT, photos, words]
    done = subprocess.run(command, env={**os.environ, **machine}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["labels"] == ["brick", "sky"]
    if precision != "bfloat16":
        assert slow(found["warnings"]) == []


@pytest.fixture
def no_bfloat16(monkeypatch):
    """A CPU without arithmetic in bfloat16, as torch and OpenVINO report it."""
    import torch

    from transfer_core.features.engines import choice, openvino_engine

    for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"):
        monkeypatch.setattr(torch.cpu, name, lambda: False, raising=False)

    def without_bfloat16(graph, precision):
        if precision == "bfloat16":
            raise openvino_engine.Unusable("bfloat16 is not native to this CPU")
        return openvino_engine.OpenVinoEngine(graph, precision)

    monkeypatch.setattr(choice, "OpenVinoEngine", without_bfloat16)


def test_bfloat16_without_the_arithmetic_is_slow_but_right(photos, no_bfloat16):
    model = transfer_core.train(backbone="mobilenet_v2", data=photos, precision="bfloat16")
    assert len(slow(model.header.warnings)) == 1
    assert model.predict(f"{photos}/sky/2.png")["label"] == "sky"


def test_fine_tuning_in_bfloat16_without_the_arithmetic(photos, no_bfloat16):
    steps = [{"type": "unfreeze", "last": 1}, {"type": "train", "epochs": 1, "batch_size": 4}]
    model = transfer_core.train(backbone="mobilenet_v2", data=photos, precision="bfloat16", steps=steps)
    assert model.predict(f"{photos}/brick/2.png")["label"] == "brick"
