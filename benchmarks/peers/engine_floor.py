"""The floor of a known backbone: one script without torch, on a graph that was converted before.

OpenVINO computes a batch of four photos per core; pixels are uint8 (N, H, W, 3), normalized in the graph.
Then L-BFGS of scipy on standardized features.

    python engine_floor.py FOLDER GRAPH.onnx
"""

import json
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import openvino
from PIL import Image
from scipy.optimize import minimize

BATCH = 4


def pixels(path):
    image = Image.open(path)
    image.draft("RGB", (256, 256))
    image = image.convert("RGB")
    left, top = ((side - min(image.size) * 224 / 256) / 2 for side in image.size)
    box = (left, top, image.width - left, image.height - top)
    return np.asarray(image.resize((224, 224), Image.Resampling.BILINEAR, box=box, reducing_gap=2.0))


def main(folder, graph):
    paths = sorted(Path(folder).glob("*/*/*"))
    labels = sorted({path.parent.name for path in paths})
    targets = np.array([labels.index(path.parent.name) for path in paths])
    held = np.array([path.parts[-3] == "test" for path in paths])
    cores = os.cpu_count() or 1
    settings = {"NUM_STREAMS": cores, "INFERENCE_NUM_THREADS": cores, "INFERENCE_PRECISION_HINT": "f32"}
    network = openvino.Core().compile_model(graph, "CPU", settings)

    def embed(batch):
        images = np.stack([pixels(path) for path in batch])
        return network.create_infer_request().infer({0: images})[0]

    with ThreadPoolExecutor(cores) as pool:
        batches = [paths[start : start + BATCH] for start in range(0, len(paths), BATCH)]
        features = np.concatenate(list(pool.map(embed, batches))).astype(np.float64)
    print(json.dumps({"accuracy": head(features, targets, held, len(labels)), "images": len(paths)}))


def head(features, targets, held, classes):
    known, truth = features[~held], targets[~held]
    mean, std = known.mean(0), known.std(0) + 1e-6
    known = (known - mean) / std
    indicators = np.eye(classes)[truth]

    def objective(flat):
        weight, bias = flat[:-classes].reshape(classes, -1), flat[-classes:]
        outputs = known @ weight.T + bias
        outputs -= outputs.max(1, keepdims=True)
        logs = outputs - np.log(np.exp(outputs).sum(1, keepdims=True))
        slope = (np.exp(logs) - indicators) / len(known)
        loss = -(logs * indicators).sum() / len(known) + (weight**2).sum() / (2 * len(known))
        return loss, np.concatenate([(slope.T @ known + weight / len(known)).ravel(), slope.sum(0)])

    start = np.zeros(classes * (known.shape[1] + 1))
    found = minimize(objective, start, jac=True, method="L-BFGS-B", options={"maxiter": 200, "gtol": 1e-4}).x
    weight, bias = found[:-classes].reshape(classes, -1), found[-classes:]
    return float((((features[held] - mean) / std @ weight.T + bias).argmax(1) == targets[held]).mean())


if __name__ == "__main__":
    main(*sys.argv[1:])
