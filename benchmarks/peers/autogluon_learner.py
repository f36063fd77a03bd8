"""AutoGluon MultiModal with its preset of medium quality, for a time limit.

    python autogluon_learner.py FOLDER SECONDS CHECKPOINT

CHECKPOINT is a folder with the weights of a timm network (`config.json`, `pytorch_model.bin`), in place of
the preset's `mobilenetv3_large_100`, which AutoGluon downloads.
"""

import json
import sys
import tempfile
import time
import warnings
from pathlib import Path

import pandas as pd
from autogluon.multimodal import MultiModalPredictor


def photos(folder):
    """A table of the photos of a folder and their labels."""
    rows = [(str(path), path.parent.name) for path in sorted(Path(folder).glob("*/*"))]
    return pd.DataFrame(rows, columns=["image", "label"])


def main(folder, seconds, checkpoint):
    started = time.monotonic()
    train, test = photos(f"{folder}/train"), photos(f"{folder}/test")
    with tempfile.TemporaryDirectory() as path:
        predictor = MultiModalPredictor(
            label="label",
            problem_type="multiclass",
            presets="medium_quality",
            path=f"{path}/model",
            verbosity=0,
        )
        predictor.fit(
            train,
            time_limit=float(seconds),
            seed=0,
            hyperparameters={
                "model.names": ["timm_image"],
                "model.timm_image.checkpoint_name": checkpoint,
                # Worker processes take more time to start than they save on two cores.
                "env.num_workers": 0,
                "env.num_workers_inference": 0,
            },
        )
        ended = time.monotonic()
        accuracy = float((predictor.predict(test).to_numpy() == test["label"].to_numpy()).mean())
    print(json.dumps({"accuracy": accuracy, "seconds": ended - started}))


if __name__ == "__main__":
    warnings.filterwarnings("ignore")
    main(*sys.argv[1:])
