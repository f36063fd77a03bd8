"""Keras' applications and `.keras` files as a source of backbones."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path

from transfer_core.backbones.catalogue_entry import TOP1, Entry
from transfer_core.backbones.places import chosen_folder, downloads
from transfer_core.backbones.registry import Source, register

_APPLICATIONS = "https://keras.io/api/applications"


def _entries() -> Iterator[Entry]:
    published, accuracies = (
        json.loads(files(__package__).joinpath(name).read_bytes())
        for name in ("published.json", "accuracies.json")
    )
    for known in published:
        value = accuracies.get(known["name"])
        yield Entry(
            name=f"keras/{known['name']}",
            backbone=f"keras/{known['name']}",
            weights="imagenet",
            source="keras",
            modality="image",
            trained_for="classification",
            family=known["family"],
            parameters=known["parameters"],
            input_size=known["image_size"],
            trained_on=known["trained_on"],
            paper=known["paper"],
            arxiv=known["arxiv"],
            code_url="https://github.com/keras-team/keras/tree/master/keras/src/applications",
            weights_url=known["url"],
            metric=TOP1 if value else "",
            metric_value=value,
            metric_source=_APPLICATIONS if value else "",
        )


def _is_local(entry: Entry) -> bool:
    if find_spec("keras") is None:
        return False
    cache = Path(os.environ.get("KERAS_HOME") or "~/.keras").expanduser() / "models"
    file = entry.weights_url.rpartition("/")[2]
    return any(folder and (folder / file).is_file() for folder in (chosen_folder(), cache, downloads()))


register(
    Source(
        name="keras",
        loading="transfer_core.backbones.keras.keras_loading",
        prefixes=("keras",),
        claims=lambda name: name.endswith(".keras"),
        packages=("keras",),
        entries=_entries,
        is_local=_is_local,
    )
)
