"""TensorFlow's SavedModels, in directories and on TF Hub, as a source of backbones."""

import re

from transfer_core.backbones.registry import Source, register

_ADDRESS = re.compile(r"https?://(www\.)?(tfhub\.dev|kaggle\.com/models)/")

register(
    Source(
        name="tensorflow",
        loading="transfer_core.backbones.tensorflow.tensorflow_loading",
        prefixes=("tfhub", "tensorflow"),
        claims=lambda name: bool(_ADDRESS.match(name)),
        packages=("tensorflow", "tensorflow-cpu"),
    )
)
