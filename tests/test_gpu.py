"""What runs on a GPU, compared with the CPU."""

import numpy as np
import pytest
import torch
from torch import nn

import transfer_core
from photos import class_folder
from tiny_backbone import WIDTH, tiny_backbone
from transfer_core import backbones
from transfer_core.features.engines.torch_engine import TorchEngine
from transfer_core.finetune.network import Tail
from transfer_core.model_file.format import read_model
from transfer_core.runtime.devices import Device
from transfer_core.runtime.progress import Progress
from transfer_core.tasks.criteria import CrossEntropy
from transfer_core.training.batch import Batch
from transfer_core.training.losses import loss_of
from transfer_core.training.single_device_execution import single_device_execution

GPUS = torch.cuda.device_count()
pytestmark = [pytest.mark.gpu, pytest.mark.skipif(GPUS == 0, reason="this machine has no GPU")]

WORDS = {
    "backbone": "mobilenet_v2",
    "precision": "float32",
    "steps": [
        {"type": "freeze"},
        {"type": "train"},
        {"type": "unfreeze", "last": 3},
        {"type": "train", "epochs": 2, "batch_size": 8},
    ],
}


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    return class_folder(tmp_path_factory.mktemp("photos"), per_class=8)


def losses(model):
    return [entry["loss"] for entry in model.history if entry["step"] == "fine_tune"]


@pytest.mark.parametrize(("precision", "near"), [("float32", 1e-4), ("bfloat16", 0.05), ("float16", 0.01)])
def test_gradients_are_those_of_the_cpu(precision, near):
    backbone, head = tiny_backbone(), nn.Sequential(nn.Linear(WIDTH, 2))
    tail = Tail(backbone, head, ("stem", "middle", "last"), 0).train()
    pixels = torch.randint(0, 256, (8, 3, 16, 16), generator=torch.Generator().manual_seed(0)).byte()
    batch = Batch(pixels, torch.arange(8) % 2, torch.ones(8))
    found = {}
    for device, dtype in (("cpu", "float32"), ("cuda:0", precision)):
        given = torch.device(device), getattr(torch, dtype), 8, Progress()
        with single_device_execution(tail, *given) as execution:
            execution.backward(batch, loss_of(CrossEntropy()))
            found[device] = torch.cat([p.grad.flatten().cpu() for p in tail.parameters()])
            tail.zero_grad()
    difference = (found["cpu"] - found["cuda:0"]).norm() / found["cpu"].norm()
    assert difference < near


@pytest.mark.parametrize(
    ("precision", "cosine"), [("float32", 0.99999), ("float16", 0.9995), ("bfloat16", 0.999)]
)
def test_embeddings_are_those_of_the_cpu(precision, cosine):
    backbone = backbones.load("mobilenet_v2")
    pixels = np.random.default_rng(0).integers(0, 256, (4, 224, 224, 3), np.uint8)
    expected, found = (
        TorchEngine(backbone, Device(device), kind).run(pixels)
        for device, kind in (("cpu", "float32"), ("cuda:0", precision))
    )
    lengths = np.linalg.norm(expected, axis=1) * np.linalg.norm(found, axis=1)
    assert ((expected * found).sum(axis=1) / lengths).min() > cosine


def test_training_is_that_of_the_cpu_and_repeatable(photos):
    cpu = transfer_core.train(data=photos, device="cpu", **WORDS)
    first, second = (transfer_core.train(data=photos, device="cuda", **WORDS) for _ in range(2))
    assert losses(first) == pytest.approx(losses(cpu), rel=1e-2)
    tensors, others = read_model(first.path)[1], read_model(second.path)[1]
    assert all(np.array_equal(tensors[name], others[name]) for name in tensors)


@pytest.mark.skipif(GPUS < 2, reason="this machine has fewer than two GPUs")
def test_two_gpus_train_as_one(photos):
    one, two = (transfer_core.train(data=photos, device="cuda", processes=n, **WORDS) for n in (1, 2))
    assert losses(two) == pytest.approx(losses(one), rel=1e-4)
