"""What this machine has and knows of the backbones in the catalogue."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from transfer_core.backbones.catalogue_entry import Entry
from transfer_core.backbones.huggingface.repository import local_repository
from transfer_core.backbones.places import chosen_folder, downloads, places
from transfer_core.backbones.timm.timm_listed import CONVERTED, CONVERTED_FILES, listed
from transfer_core.backbones.torchvision.torchvision_published import published_facts
from transfer_core.runtime import measurements


class _Copied(NamedTuple):
    """What copies of weights are called."""

    file: str
    hub: str


def is_here(entry: Entry) -> bool:
    """Whether a training can use it without the network: its library is installed, and its weights are where
    a training looks for them."""
    return _has_library(entry.source) and _IS_HERE[entry.source](entry)


def measured_speed(entry: Entry) -> float | None:
    """Images per second as they were measured on this machine by a training with this backbone."""
    name = re.escape(entry.name)
    whole = [
        (int(key[2]), 1 / seconds)
        for text, plan in measurements.known("plan: ").items()
        if (key := re.match(rf"plan: ({name})(?:@[0-9a-f]+)?\[:(\d+)\]", text))
        and isinstance(plan, dict)
        and (seconds := plan.get("seconds"))
    ]
    # Of a backbone that was cut for fine-tuning, the longest part is all of it.
    return round(max(whole)[1], 1) if whole else None


@cache
def _has_library(source: str) -> bool:
    return find_spec(_LIBRARIES[source]) is not None


def _torchvision(entry: Entry) -> bool:
    weights = published_facts(entry.backbone).published(entry.weights)
    return _has_copy(_Copied(weights.file, weights.hub))


def _timm(entry: Entry) -> bool:
    architecture = entry.backbone.removeprefix("timm/")
    if entry.weights == CONVERTED:
        return _has_copy(_Copied(CONVERTED_FILES[architecture][0], ""))
    model = listed(architecture)
    assert model
    weights = model.weights[entry.weights]
    return _has_copy(_Copied(weights.url.rpartition("/")[2], model.hub(entry.weights)))


def _has_copy(copied: _Copied) -> bool:
    return any(next(place.copies(copied), None) for place in places([copied]))


def _huggingface(entry: Entry) -> bool:
    repository = local_repository(entry.name)
    names = ("model.safetensors", "pytorch_model.bin")
    return repository is not None and any((repository.folder / name).is_file() for name in names)


def _keras(entry: Entry) -> bool:
    cache = Path(os.environ.get("KERAS_HOME") or "~/.keras").expanduser() / "models"
    file = entry.weights_url.rpartition("/")[2]
    return any(folder and (folder / file).is_file() for folder in (chosen_folder(), cache, downloads()))


_LIBRARIES = {"torchvision": "torchvision", "timm": "timm", "huggingface": "tokenizers", "keras": "keras"}

_IS_HERE: dict[str, Callable[[Entry], bool]] = {
    "torchvision": _torchvision,
    "timm": _timm,
    "huggingface": _huggingface,
    "keras": _keras,
}
