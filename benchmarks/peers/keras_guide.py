"""Keras's guide "Transfer learning & fine-tuning", on its torch backend.

As there: images resized and kept in memory, flip and rotation as layers, a frozen base, dropout 0.2, a dense
layer, Adam. keras.applications has its weights from a server that can't be reached without a network, so the
base is torchvision's MobileNetV2 in a TorchModuleWrapper: the same body and the same weights as everyone's
here.

    python keras_guide.py FOLDER [EPOCHS]
"""

import json
import sys
from pathlib import Path

import keras
import numpy as np
from PIL import Image
from torch import nn
from torchvision import models

SIZE = (224, 224)


def main(folder, epochs=5):
    keras.utils.set_random_seed(0)
    labels = sorted(entry.name for entry in Path(folder, "train").iterdir())
    train, test = (load(Path(folder, part), labels) for part in ("train", "test"))
    network = models.mobilenet_v2(weights=models.MobileNet_V2_Weights.IMAGENET1K_V1)
    body = nn.Sequential(network.features, nn.AdaptiveAvgPool2d(1), nn.Flatten())
    base = keras.layers.TorchModuleWrapper(body, output_shape=(None, network.last_channel))
    base.trainable = False

    inputs = keras.Input(shape=(*SIZE, 3))
    x = keras.layers.RandomFlip("horizontal")(inputs)
    x = keras.layers.RandomRotation(0.1)(x)
    mean, variance = [0.485, 0.456, 0.406], [0.229**2, 0.224**2, 0.225**2]
    x = keras.layers.Rescaling(1 / 255)(x)
    x = keras.layers.Normalization(mean=mean, variance=variance)(x)
    x = keras.layers.Permute((3, 1, 2))(x)
    x = base(x, training=False)
    x = keras.layers.Dropout(0.2)(x)
    model = keras.Model(inputs, keras.layers.Dense(len(labels))(x))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer=keras.optimizers.Adam(), loss=loss, metrics=["accuracy"])
    history = model.fit(*train, batch_size=32, epochs=int(epochs), validation_data=test, verbose=0).history
    print(json.dumps({"accuracy": history["val_accuracy"][-1], "epochs": len(history["loss"])}))


def load(folder, labels):
    paths = sorted(folder.glob("*/*"))
    images = [
        np.asarray(Image.open(path).convert("RGB").resize(SIZE, Image.Resampling.BILINEAR)) for path in paths
    ]
    return np.stack(images), np.array([labels.index(path.parent.name) for path in paths])


if __name__ == "__main__":
    main(*sys.argv[1:])
