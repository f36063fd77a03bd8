"""PyTorch's tutorial "Transfer Learning for Computer Vision": its transforms, its loaders, its loop.

Two things differ from its text, in its favour on these photos: batches of 32 (it says 4) and Adam at 1e-3 (it
says SGD at 1e-3 with momentum, which after five epochs is behind). Pretrained layers that train do so at a
tenth of that, a ratio that one version of the text has. `--as-written` takes its own.

    python tutorial_loop.py FOLDER [--epochs 5] [--trains head|all|last-3] [--as-written]
"""

import argparse
import copy
import json
import os
import time
import warnings

import torch
from torch import nn, optim
from torch.utils.data import DataLoader
from torchvision import datasets, models, transforms

NORMALIZE = [transforms.ToTensor(), transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])]
TRANSFORMS = {
    "train": transforms.Compose(
        [transforms.RandomResizedCrop(224), transforms.RandomHorizontalFlip(), *NORMALIZE]
    ),
    "test": transforms.Compose([transforms.Resize(256), transforms.CenterCrop(224), *NORMALIZE]),
}
WORKERS = min(4, os.cpu_count() or 1)  # the tutorial's 4, but not more than torch advises


def main(folder, epochs, trains, as_written):
    torch.manual_seed(0)
    batch = 4 if as_written else 32
    data = {part: datasets.ImageFolder(f"{folder}/{part}", TRANSFORMS[part]) for part in TRANSFORMS}
    loaders = {
        part: DataLoader(data[part], batch_size=batch, shuffle=part == "train", num_workers=WORKERS)
        for part in data
    }
    model = models.mobilenet_v2(weights=models.MobileNet_V2_Weights.IMAGENET1K_V1)
    thaw(model, trains)
    model.classifier[1] = nn.Linear(model.last_channel, len(data["train"].classes))
    optimizer = optimizer_for(model, as_written)
    scheduler = optim.lr_scheduler.StepLR(optimizer, step_size=7, gamma=0.1)
    best, best_state, ended = 0.0, copy.deepcopy(model.state_dict()), []
    started = time.monotonic()
    for _ in range(epochs):
        train(model, loaders["train"], optimizer)
        scheduler.step()
        trained = time.monotonic()
        accuracy = evaluate(model, loaders["test"])
        ended.append({"trained": trained, "at": time.monotonic()})
        if accuracy > best:
            best, best_state = accuracy, copy.deepcopy(model.state_dict())
    model.load_state_dict(best_state)
    print(json.dumps({"accuracy": best, "last_accuracy": accuracy, "started": started, "epochs": ended}))


def thaw(model, trains):
    for parameter in model.parameters():
        parameter.requires_grad = trains == "all"
    if trains == "last-3":
        for parameter in model.features[-3:].parameters():
            parameter.requires_grad = True


def optimizer_for(model, as_written):
    body = [parameter for parameter in model.features.parameters() if parameter.requires_grad]
    head = list(model.classifier.parameters())
    if as_written:
        return optim.SGD([*body, *head], lr=0.001, momentum=0.9)
    groups = [{"params": head, "lr": 1e-3}, {"params": body, "lr": 1e-4}]
    return optim.Adam(groups if body else groups[:1])


def train(model, loader, optimizer):
    model.train()
    for inputs, labels in loader:
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(inputs), labels)
        loss.backward()
        optimizer.step()


@torch.no_grad()
def evaluate(model, loader):
    model.eval()
    right = sum(int((model(inputs).argmax(1) == labels).sum()) for inputs, labels in loader)
    return right / len(loader.dataset)


if __name__ == "__main__":
    warnings.filterwarnings("ignore")
    arguments = argparse.ArgumentParser()
    arguments.add_argument("folder")
    arguments.add_argument("--epochs", type=int, default=5)
    arguments.add_argument("--trains", choices=("head", "all", "last-3"), default="head")
    arguments.add_argument("--as-written", action="store_true")
    main(**vars(arguments.parse_args()))
