"""A model to save, and what tests of saved models share."""

import hashlib
import json

import numpy as np
import pytest
from safetensors import safe_open

from transfer_core.model_file.format import BackboneSource, ModelHeader

HEADER = ModelHeader(
    task="classification",
    labels=("naïve", 'quo"te', "back\\slash", "日本", "\x01"),
    state={"type": "classification", "label_counts": [1, 2, 3, 1, 1], "temperature": 1.0 / 3.0},
    recipe={
        "backbone": "mobilenet_v2",
        "steps": [{"type": "train", "learning_rate": 1e-3}],
        "preset": "fast",
    },
    backbone=BackboneSource(name="mobilenet_v2", weights="IMAGENET1K_V1", weights_digest="b0353104"),
    embedding_width=1280,
    preprocessing={"size": 224, "mean": [0.485, 0.456, 0.406]},
    metrics={"accuracy": 0.1 + 0.2, "confusion_matrix": [[1, 2], [3, 4]]},
    history=({"number": 1, "loss": 5e-324},),
    sizes={"train": 8, "valid": 2, "test": 3},
    warnings=("few examples",),
    versions={"torch": "2.4.0"},
    data_fingerprint="c0ffee",
    created_at="2025-01-01T00:00:00Z",
)


def tensors():
    rng = np.random.default_rng(0)
    return {
        "head.weight": rng.normal(size=(3, 5)).astype(np.float32),
        "head.bias": np.zeros(3, np.float32),
        "backbone.bn.num_batches_tracked": np.array(7),
        "backbone.bn.mean": rng.normal(size=4).astype(np.float16),
        "backbone.empty": np.zeros((0, 3)),
        "backbone.mask": np.array([True, False]),
    }


def same(left, right):
    assert left.keys() == right.keys()
    for name, array in right.items():
        assert (left[name].dtype, left[name].shape) == (array.dtype, array.shape)
        np.testing.assert_array_equal(left[name], array)


def only_file_in(folder):
    return [entry.name for entry in folder.iterdir()]


def message_of(error, call, *arguments):
    with pytest.raises(error) as raised:
        call(*arguments)
    assert "\n" not in str(raised.value)
    return str(raised.value)


def entry_of(path):
    """The JSON entry as any safetensors reader sees it."""
    with safe_open(path, framework="np") as file:
        return file.metadata()["transfer"]


def with_checksum(entry, **changes):
    """The entry with other fields and a digest that is right again, as a newer writer would make it."""
    fields = json.loads(entry) | changes
    del fields["sha256"]
    checked = json.dumps(fields, ensure_ascii=False, separators=(",", ":"))[:-1]
    return checked + f',"sha256":"{hashlib.sha256(checked.encode()).hexdigest()}"}}'
