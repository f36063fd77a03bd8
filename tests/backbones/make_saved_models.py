"""SavedModels of many kinds, made by TensorFlow, with what TensorFlow itself makes of some images: run by
test_tensorflow.py in a process of its own.

    python make_saved_models.py FOLDER

Each FOLDER/NAME is a SavedModel, FOLDER/NAME.npz has `images` (N, H, W, 3), from 0 to 1, and `embeddings`.
FOLDER/endpoints.json says of each what `open_endpoint` said, or `{"error", "message"}`, and how far its
embeddings are from TensorFlow's own.
"""

import json
import shutil
import sys
import tempfile
from functools import partial
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from transfer_core.backbones.tensorflow.graph_cleaning import Untrusted
from transfer_core.backbones.tensorflow.graph_endpoint import Unusable, clean_folder, open_endpoint

SIZE = 32


class Convolutions(tf.Module):
    """Two convolutions and the average, (N, H, W, 3) -> (N, 5)."""

    def __init__(self):
        super().__init__()
        rng = np.random.default_rng(0)
        self.first = tf.Variable(rng.normal(size=(3, 3, 3, 8)).astype(np.float32) / 3)
        self.second = tf.Variable(rng.normal(size=(3, 3, 8, 5)).astype(np.float32) / 6)

    def features(self, images):
        maps = tf.nn.relu(tf.nn.conv2d(images, self.first, 2, "SAME"))
        return tf.nn.conv2d(maps, self.second, 2, "SAME")

    def embed(self, images):
        return tf.reduce_mean(self.features(images), (1, 2))


def images_of(*shape, dtype=tf.float32):
    return tf.TensorSpec(shape, dtype, "images")


def save(folder, function, *specs):
    """A SavedModel whose only signature calls `function`."""
    module = Convolutions()
    signature = tf.function(lambda *inputs: function(module, *inputs), input_signature=specs)
    tf.saved_model.save(module, str(folder), {"serving_default": signature.get_concrete_function()})
    return module


def save_callable(folder):
    """As TF Hub has them: no signature, but `__call__` with an argument that is no tensor."""
    module = Convolutions()
    module.__class__ = type("Callable", (Convolutions,), {"__call__": tf.function(call)})
    module(tf.zeros((1, SIZE, SIZE, 3)), training=False)
    tf.saved_model.save(module, str(folder), signatures={})
    return module


def call(self, images, training=False):
    return self.embed(images) + (1.0 if training else 0.0)


def save_keras(folder):
    keras.utils.set_random_seed(0)
    layers = [
        keras.layers.Input((SIZE, SIZE, 3)),
        keras.layers.Conv2D(4, 3),
        keras.layers.BatchNormalization(),
        keras.layers.ReLU(),
        keras.layers.GlobalAveragePooling2D(),
        keras.layers.Dense(6),
    ]
    model = keras.Sequential(layers)
    model.export(str(folder), verbose=False)
    return model


def save_graph_of_old(folder):
    """TensorFlow 1's format, as TF Hub's first modules are: several signatures, no functions."""
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        images = tf.compat.v1.placeholder(tf.float32, (None, SIZE, SIZE, 3))
        kernel = tf.compat.v1.get_variable("kernel", (3, 3, 3, 4))
        features = tf.reduce_mean(tf.nn.conv2d(images, kernel, 1, "VALID"), (1, 2))
        session.run(tf.compat.v1.global_variables_initializer())
        describe = tf.compat.v1.saved_model.predict_signature_def
        signatures = {
            "default": describe({"images": images}, {"default": 2 * features}),
            "image_feature_vector": describe({"images": images}, {"default": features}),
        }
        builder = tf.compat.v1.saved_model.Builder(str(folder))
        builder.add_meta_graph_and_variables(session, ["serve"], signatures)
        builder.save()
        sample = samples()
        return sample, session.run(features, {images: sample})


def samples(size=SIZE, count=5):
    return (np.random.default_rng(1).integers(0, 256, (count, size, size, 3)) / 255).astype(np.float32)


def remember(folder, images, embeddings):
    np.savez(f"{folder}.npz", images=images, embeddings=np.asarray(embeddings))


def make(root):
    images = samples()
    module = save(root / "convolutions", Convolutions.embed, images_of(None, SIZE, SIZE, 3))
    remember(root / "convolutions", images, module.embed(images))
    module = save(root / "flexible", Convolutions.embed, images_of(None, None, None, 3))
    remember(root / "flexible", samples(64), module.embed(samples(64)))
    module = save(
        root / "levels",  # levels from 0 to 255, two at a time, and maps of features
        lambda module, levels: {"maps": module.features(tf.cast(levels, tf.float32) / 255)},
        images_of(2, SIZE, SIZE, 3, dtype=tf.uint8),
    )
    remember(root / "levels", images, module.embed(images))
    module = save_callable(root / "callable")
    remember(root / "callable", images, module.embed(images))
    model = save_keras(root / "keras")
    remember(root / "keras", images, model(images, training=False))
    remember(root / "old", *save_graph_of_old(root / "old"))
    module = save(
        root / "default",
        lambda module, images: {"default": module.embed(images), "scores": tf.ones((1, 2))},
        images_of(None, SIZE, SIZE, 3),
    )
    remember(root / "default", images, module.embed(images))
    save(
        root / "several",
        lambda module, images: {"one": module.embed(images), "two": tf.ones((1, 2))},
        images_of(None, SIZE, SIZE, 3),
    )
    save(root / "wide", Convolutions.embed, images_of(None, SIZE, 2 * SIZE, 3))
    texts = tf.TensorSpec((None,), tf.string, "texts")
    save(root / "texts", lambda _, texts: tf.strings.length(texts), texts)
    writes = partial(embed_and_write, root / "written")
    save(root / "writes", writes, images_of(None, SIZE, SIZE, 3))


def embed_and_write(file, module, images):
    with tf.control_dependencies([tf.io.write_file(str(file), "yes")]):
        return module.embed(images)


def said_of(folder):
    try:
        with tempfile.TemporaryDirectory() as name:
            copy = shutil.copytree(folder, f"{name}/copy")
            clean_folder(Path(copy))
            endpoint = open_endpoint(Path(copy), SIZE)
    except (Unusable, Untrusted) as error:
        return {"error": type(error).__name__, "message": str(error)}
    with np.load(f"{folder}.npz") as known:
        difference = np.abs(endpoint.run(known["images"]) - known["embeddings"]).max()
    return {**endpoint.description, "difference": float(difference)}


if __name__ == "__main__":
    root = Path(sys.argv[1])
    make(root)
    said = {folder.name: said_of(folder) for folder in sorted(root.iterdir()) if folder.is_dir()}
    (root / "endpoints.json").write_text(json.dumps(said))
