"""Writes a small model of every source that has no real weights here into a folder: sources.py FOLDER.

Each turns a 32 x 32 image into eight numbers that tell red, green and blue apart.
"""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np

WEIGHT = np.random.default_rng(0).standard_normal((8, 3)).astype(np.float32)

HUBCONF = """
import torch

dependencies = ["torch"]

class Colors(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.features = torch.nn.Sequential(
            torch.nn.Conv2d(3, 8, 3, stride=2), torch.nn.BatchNorm2d(8), torch.nn.ReLU(),
            torch.nn.Conv2d(8, 8, 3, stride=2), torch.nn.BatchNorm2d(8), torch.nn.ReLU(),
        )
        self.avgpool = torch.nn.AdaptiveAvgPool2d(1)
        self.flatten = torch.nn.Flatten()
        self.fc = torch.nn.Linear(8, 10)

    def forward(self, x):
        return self.fc(self.flatten(self.avgpool(self.features(x))))

def colors(pretrained=False):
    torch.manual_seed(0)
    return Colors()
"""


def torch_hub(folder: Path) -> None:
    """A clone of a repository with one entry point."""
    folder.mkdir()
    (folder / "hubconf.py").write_text(HUBCONF)


def onnx(file: Path) -> None:
    """A convolution and its mean over the image."""
    from onnx import TensorProto, helper, numpy_helper, save

    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 3, 32, 32])
    answer = helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["n", 8])
    weight = numpy_helper.from_array(WEIGHT.reshape(8, 3, 1, 1), "weight")
    nodes = [
        helper.make_node("Conv", ["image", "weight"], ["features"]),
        helper.make_node("GlobalAveragePool", ["features"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["embedding"]),
    ]
    graph = helper.make_graph(nodes, "colors", [image], [answer], [weight])
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), file)


def keras(file: Path) -> None:
    """Two convolutions with a norm between them, and a classifier."""
    os.environ["KERAS_BACKEND"] = "torch"
    import keras

    keras.utils.set_random_seed(0)
    layers = keras.layers
    image = layers.Input((32, 32, 3))
    x = layers.Conv2D(8, 3, strides=2, activation="relu", name="first")(image)
    x = layers.BatchNormalization(name="norm")(x)
    x = layers.Conv2D(8, 3, strides=2, activation="relu", name="second")(x)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    keras.Model(image, layers.Dense(10, name="classes")(x)).save(file)


def tensorflow(folder: Path) -> None:
    """The mean colour through a fixed layer."""
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    import tensorflow as tf

    class Colors(tf.Module):
        def __init__(self):
            super().__init__()
            self.weight = tf.Variable(WEIGHT.T)

        @tf.function(input_signature=[tf.TensorSpec([None, 32, 32, 3], tf.float32)])
        def __call__(self, images):
            return tf.reduce_mean(images, axis=[1, 2]) @ self.weight

    model = Colors()
    tf.saved_model.save(model, str(folder), signatures=model.__call__)


def start(folder: str, name: str) -> subprocess.Popen:
    """A process that writes one of the models, and what it says of itself into a file."""
    with open(Path(folder) / f"{name}.log", "w") as log:
        return subprocess.Popen([sys.executable, __file__, folder, name], stderr=log)


MAKERS = {"hub": torch_hub, "colors.onnx": onnx, "colors.keras": keras, "saved_model": tensorflow}

if __name__ == "__main__":
    folder, *names = sys.argv[1:]
    if names:
        MAKERS[names[0]](Path(folder) / names[0])
    else:  # each library in a process of its own, at the same time
        running = [start(folder, name) for name in MAKERS]
        sys.exit(max(process.wait() for process in running))
