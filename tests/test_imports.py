"""What is imported when: the first answer must not wait for what it does not need."""

import json
import subprocess
import sys

import pytest

from photos import class_folder

pytestmark = pytest.mark.slow

# Each costs a tenth of a second to several; a training needs none of them.
SLOW = {
    "torch._dynamo",
    "sympy",
    "sklearn",
    "scipy",
    "pandas",
    "pyarrow",
    "timm",
    "transformers",
    "keras",
    "tensorflow",
    "cryptography",
}


def imported_by(statement):
    """The modules that a new process has after `statement`."""
    script = f"{statement}\nimport json, sys\nprint(json.dumps(sorted(sys.modules)))"
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(json.loads(ran.stdout.splitlines()[-1]))


def test_the_handshake_of_the_worker_waits_for_no_library():
    imported = imported_by("import transfer_core.worker.methods")
    assert imported & {"numpy", "msgspec", "PIL", "torch", "cryptography"} == set()


def test_the_package_and_its_plain_rooms_need_no_torch():
    plain = "transfer_core, transfer_core.recipe.parser, transfer_core.model_file.format, transfer_core.data"
    assert "torch" not in imported_by(f"import {plain}; from transfer_core.backbones import facts")


def test_a_known_backbone_trains_and_predicts_without_torch(tmp_path):
    photos = class_folder(tmp_path / "photos", per_class=4)
    training = (
        f"import transfer_core; m = transfer_core.train(backbone='mobilenet_v2', data={photos!r});"
        f"m.predict({photos + '/sky/1.png'!r}); m.save({str(tmp_path / 'm.transfer')!r})"
    )
    assert "torch" in imported_by(training)  # converts the network
    assert "torch" not in imported_by(training)
    loading = f"import transfer_core; m = transfer_core.load({str(tmp_path / 'm.transfer')!r})"
    predicting = f"{loading}; m.predict({photos + '/sky/1.png'!r}); m.evaluate({photos!r})"
    assert imported_by(predicting) & {"torch", "torchvision", "onnx", "openvino_telemetry"} == set()


TUNE = [{"type": "freeze"}, {"type": "unfreeze", "last": 1}, {"type": "train", "epochs": 1}]


@pytest.mark.parametrize("words", ["", ", head={'type': 'mlp'}", f", steps={TUNE}"], ids=["", "mlp", "tune"])
def test_a_training_imports_nothing_slow(words, tmp_path):
    photos = class_folder(tmp_path / "photos", per_class=4)
    training = f"import transfer_core; transfer_core.train(backbone='mobilenet_v2', data={photos!r}{words})"
    imported = imported_by(training)
    assert imported & SLOW == set()


def test_the_stand_in_for_torch_s_compiler_gives_way_to_the_real_one():
    modules = imported_by(
        "import transfer_core.pipeline.five_steps, torch._dynamo.utils, torch; torch.compile(lambda x: x)"
    )
    assert "torch._dynamo.eval_frame" in modules


def test_where_the_stand_in_does_not_suffice_the_real_compiler_is_imported():
    modules = imported_by(
        "import torch, transfer_core.backbones.quick_import as quick;"
        "from contextlib import contextmanager; from types import ModuleType as M; import sys\n"
        "@contextmanager\n"
        "def lacking():\n"
        "    sys.modules['torch._dynamo'] = sys.modules['torch._dynamo.utils'] = M('torch._dynamo')\n"
        "    yield\n"
        "    del sys.modules['torch._dynamo'], sys.modules['torch._dynamo.utils']\n"
        "quick._stand_in = lacking\n"
        "import transfer_core.backbones.torchvision.torchvision_blocks"
    )
    assert {"torchvision.models.resnet", "torch._dynamo.eval_frame"} <= modules


def test_a_saved_model_is_described_without_torch():
    modules = imported_by(
        "import transfer_core.worker.methods, transfer_core.model_file.format; "
        "import transfer_core.model_file.summary"
    )
    assert "torch" not in modules


def test_the_cache_is_looked_after_without_torch():
    assert "torch" not in imported_by(
        "from transfer_core import cache; cache.stats(); cache.verify(); cache.clear()"
    )
