"""The floor: what the job costs at least. One script for this one network, without a library of ours.

Each image is decoded once (JPEGs at the smallest scale that will do), cut and resized in one go, and goes
once through the network: BatchNorm folded, channels_last, a batch of 8 per core. Then L-BFGS on standardised
features. The network is written down here because importing torchvision takes longer than the rest of the
start.

    python floor.py FOLDER WEIGHTS float32|bfloat16
"""

import json
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.nn.functional import cross_entropy
from torch.nn.utils.fusion import fuse_conv_bn_eval

BATCH = 8
WIDEN_OUT_REPEAT_STRIDE = [
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
]
MEAN = torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1)
STD = torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1)


class Block(nn.Module):
    """An inverted residual (Sandler et al. 2018), with torchvision's names."""

    def __init__(self, width, out, stride, widen):
        super().__init__()
        hidden = width * widen
        layers = [conv(width, hidden, 1)] if widen != 1 else []
        layers += [
            conv(hidden, hidden, 3, stride, hidden),
            nn.Conv2d(hidden, out, 1, bias=False),
            nn.BatchNorm2d(out),
        ]
        self.conv = nn.Sequential(*layers)
        self.adds = stride == 1 and width == out

    def forward(self, x):
        return x + self.conv(x) if self.adds else self.conv(x)


def conv(width, out, kernel, stride=1, groups=1):
    layer = nn.Conv2d(width, out, kernel, stride, kernel // 2, groups=groups, bias=False)
    return nn.Sequential(layer, nn.BatchNorm2d(out), nn.ReLU6(inplace=True))


def network(weights, dtype):
    torch.nn.init.kaiming_uniform_ = torch.nn.init.uniform_ = lambda tensor, *_, **__: (
        tensor
    )  # weights come from a file
    layers, width = [conv(3, 32, 3, 2)], 32
    for widen, out, repeat, stride in WIDEN_OUT_REPEAT_STRIDE:
        for i in range(repeat):
            layers.append(Block(width, out, stride if i == 0 else 1, widen))
            width = out
    body = nn.Sequential(*layers, conv(width, 1280, 1)).eval()
    state = torch.load(weights, weights_only=True)
    body.load_state_dict(
        {
            name.removeprefix("features."): value
            for name, value in state.items()
            if name.startswith("features.")
        }
    )
    fold(body)
    return body.requires_grad_(False).to(dtype=dtype, memory_format=torch.channels_last)


def fold(module):
    names = list(module._modules)
    for name, following in pairwise(names):
        if isinstance(module._modules[following], nn.BatchNorm2d):
            module._modules[name] = fuse_conv_bn_eval(module._modules[name], module._modules[following])
            module._modules[following] = nn.Identity()
    for child in module.children():
        fold(child)


def pixels(path):
    image = Image.open(path)
    image.draft("RGB", (256, 256))
    image = image.convert("RGB")
    left, top = ((side - min(image.size) * 224 / 256) / 2 for side in image.size)
    box = (left, top, image.width - left, image.height - top)
    return np.asarray(image.resize((224, 224), Image.Resampling.BILINEAR, box=box, reducing_gap=2.0))


def main(folder, weights, precision):
    paths = sorted(Path(folder).glob("*/*/*"))
    labels = sorted({path.parent.name for path in paths})
    targets = torch.tensor([labels.index(path.parent.name) for path in paths])
    held = torch.tensor([path.parts[-3] == "test" for path in paths])
    dtype = getattr(torch, precision)
    body = network(weights, dtype)

    @torch.no_grad()
    def embed(batch):
        images = torch.from_numpy(np.stack([pixels(path) for path in batch])).permute(0, 3, 1, 2)
        return body(((images / 255 - MEAN) / STD).to(dtype)).mean((2, 3)).float()

    with ThreadPoolExecutor(os.cpu_count(), initializer=lambda: torch.set_num_threads(1)) as pool:
        batches = [paths[start : start + BATCH] for start in range(0, len(paths), BATCH)]
        features = torch.cat(list(pool.map(embed, batches)))
    torch.set_num_threads(os.cpu_count() or 1)
    accuracy = head(features, targets, held, len(labels))
    print(json.dumps({"accuracy": accuracy, "images": len(paths)}))


def head(features, targets, held, classes):
    known, truth = features[~held], targets[~held]
    mean, std = known.mean(0), known.std(0) + 1e-6
    known = (known - mean) / std
    weight, bias = (
        torch.zeros(classes, known.shape[1], requires_grad=True),
        torch.zeros(classes, requires_grad=True),
    )
    fit = torch.optim.LBFGS([weight, bias], max_iter=200, line_search_fn="strong_wolfe", tolerance_grad=1e-4)

    def closure():
        fit.zero_grad()
        loss = cross_entropy(known @ weight.T + bias, truth) + weight.square().sum() / (2 * len(known))
        loss.backward()
        return loss

    fit.step(closure)
    with torch.no_grad():
        found = ((features[held] - mean) / std @ weight.T + bias).argmax(1)
    return (found == targets[held]).double().mean().item()


if __name__ == "__main__":
    main(*sys.argv[1:])
