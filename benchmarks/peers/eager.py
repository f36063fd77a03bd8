"""torchvision's network as its documentation uses it: its transforms, eval, no_grad, float32, batches of 32.

python eager.py NETWORK MANIFEST
"""

import csv
import json
import sys
import time
from pathlib import Path

import torch
from PIL import Image
from torchvision import models

BATCH = 32


@torch.no_grad()
def main(name, manifest):
    folder = Path(manifest).parent
    with Path(manifest).open() as rows:
        paths = [folder / row["path"] for row in csv.DictReader(rows)]
    preprocess = models.get_model_weights(name).DEFAULT.transforms()
    network = models.get_model(name, weights=None).eval()
    ended = []
    for start in range(0, len(paths) - BATCH + 1, BATCH):
        images = [preprocess(Image.open(path).convert("RGB")) for path in paths[start : start + BATCH]]
        network(torch.stack(images))
        ended.append(time.monotonic())
    speed = BATCH * (len(ended) - 1) / (ended[-1] - ended[0]) if len(ended) > 1 else None
    print(json.dumps({"images_per_s": speed}))


if __name__ == "__main__":
    main(*sys.argv[1:])
