"""scikit-learn's logistic regression on features of torchvision's network, computed once: the good recipe by
hand.

python sklearn_features.py FOLDER
"""

import json
import sys

import torch
from sklearn.linear_model import LogisticRegression
from torch import nn
from torch.utils.data import DataLoader
from torchvision import datasets, models


def main(folder):
    weights = models.MobileNet_V2_Weights.IMAGENET1K_V1
    network = models.mobilenet_v2(weights=weights).eval()
    network.classifier = nn.Identity()

    @torch.no_grad()
    def features(part):
        loader = DataLoader(datasets.ImageFolder(f"{folder}/{part}", weights.transforms()), batch_size=32)
        batches = [(network(images), labels) for images, labels in loader]
        return torch.cat([x for x, _ in batches]).numpy(), torch.cat([y for _, y in batches]).numpy()

    known, truth = features("train")
    head = LogisticRegression(max_iter=1000).fit(known, truth)
    print(json.dumps({"accuracy": head.score(*features("test"))}))


if __name__ == "__main__":
    main(*sys.argv[1:])
