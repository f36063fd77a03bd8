"""fastai's quick start for images: `vision_learner` with its defaults.

    python fastai_learner.py FOLDER frozen|fine_tune [EPOCHS]
    python fastai_learner.py FOLDER limited SECONDS

`frozen` is `fit_one_cycle`: a pretrained learner is frozen until it is told otherwise. `fine_tune` is one
epoch frozen and EPOCHS epochs of everything. `limited` is `fine_tune` with as many epochs as fit into
SECONDS, by the time of a frozen epoch, of which one of everything takes about three.
"""

import json
import sys
import tempfile
import time
import warnings

from fastai.callback.core import Callback, CancelFitException
from fastai.callback.schedule import *  # noqa: F403  gives Learner its methods
from fastai.metrics import accuracy
from fastai.torch_core import set_seed
from fastai.vision.augment import Resize
from fastai.vision.core import imagenet_stats
from fastai.vision.data import ImageDataLoaders
from fastai.vision.learner import default_split, model_meta, vision_learner
from torchvision.models import MobileNet_V2_Weights, mobilenet_v2

# What fastai must know of a network that is not on its list. Its search for the end of the body looks for a
# pooling layer, which this one does not have.
model_meta[mobilenet_v2] = {
    "cut": -1,
    "split": default_split,
    "stats": imagenet_stats,
    "weights": MobileNet_V2_Weights.IMAGENET1K_V1,
}


class Clock(Callback):
    """When each epoch ended."""

    def before_fit(self):
        self.ended = getattr(self, "ended", [])

    def after_epoch(self):
        self.ended.append({"at": time.monotonic()})


class Deadline(Callback):
    """Stops a training at a time."""

    def __init__(self, at):
        self.at = at

    def after_batch(self):
        if self.training and time.monotonic() > self.at:
            raise CancelFitException


def limited(learner, started, seconds):
    """One frozen epoch, then `fine_tune` for the time that is left."""
    deadline = Deadline(started + seconds)
    with learner.no_bar(), learner.no_logging():
        learner.fit_one_cycle(1)
        epoch = time.monotonic() - started
        left = seconds - 2 * epoch
        if left > 0:
            learner.fine_tune(max(1, int(left / (3 * epoch))), cbs=deadline)


def main(folder, mode, epochs="5"):
    set_seed(0)
    # Its default of 64 would leave a few hundred photos only four steps an epoch.
    loaders = ImageDataLoaders.from_folder(folder, train="train", valid="test", item_tfms=Resize(224), bs=32)
    clock = Clock()
    learner = vision_learner(loaders, mobilenet_v2, metrics=accuracy, cbs=clock, path=tempfile.gettempdir())
    started = time.monotonic()
    if mode == "limited":
        limited(learner, started, float(epochs))
        final = float(learner.validate()[1])
        print(json.dumps({"accuracy": final, "started": started, "epochs": clock.ended}))
        return
    with learner.no_bar(), learner.no_logging():
        learner.fit_one_cycle(int(epochs)) if mode == "frozen" else learner.fine_tune(int(epochs))
    final = float(learner.recorder.values[-1][-1])
    print(json.dumps({"accuracy": final, "started": started, "epochs": clock.ended}))


if __name__ == "__main__":
    warnings.filterwarnings("ignore")
    main(*sys.argv[1:])
