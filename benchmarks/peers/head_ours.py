"""Our default head on rows of features.

python head_ours.py ROWS
"""

import json
import sys
import time

import torch
from clusters import CLASSES, clusters

from transfer_core.heads import fit_head, rows_of
from transfer_core.recipe.heads import LinearHead
from transfer_core.recipe.steps import Train
from transfer_core.runtime.progress import Progress
from transfer_core.tasks.criteria import CrossEntropy

features, targets, unseen, truth = clusters(int(sys.argv[1]))
rows = rows_of(torch.from_numpy(features), targets, torch.ones(len(targets)), CrossEntropy())
nothing = rows.take(torch.arange(0))
started = time.monotonic()
fitted = fit_head(LinearHead(), Train(optimizer="lbfgs"), rows, nothing, CLASSES, 0, Progress())
fit_s = time.monotonic() - started
with torch.no_grad():
    found = fitted.module(torch.from_numpy(unseen)).argmax(1).numpy()
print(json.dumps({"fit_s": fit_s, "accuracy": float((found == truth).mean())}))
