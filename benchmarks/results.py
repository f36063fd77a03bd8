"""What parts measured is kept as JSON, one file a part; RESULTS.md is made from these files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from benchmarks import machine
from benchmarks.environment import HERE, MEMORY_AND_THREADS
from benchmarks.part import Measured, Part
from benchmarks.table import section

FOLDER = HERE / "results"
PAGE = HERE / "RESULTS.md"

HOW = """\
Everything runs one after another in fresh processes on the same files. What runs for seconds is run several
times, what its ratio is made with in turn, and the median is given with the range; what runs for minutes is
run once. "Cold" means an empty `TRANSFER_HOME`: nothing is known from an earlier run. Files are in the
system's cache for all.

Peers follow their documented recipes:

- **PyTorch's tutorial loop**: "Transfer Learning for Computer Vision", the fixed feature extractor, with its
  transforms and its best epoch on the held-out photos. Batches are 32 instead of 4 and the optimiser is Adam
  at 1e-3 instead of SGD, in its favour here; pretrained layers that train do so at a tenth of it.
- **Keras on torch**: the guide "Transfer learning & fine-tuning" with its images in memory, its augmentation
  and Adam. `keras.applications` downloads its weights; without a network the same body comes from
  torchvision, in a `TorchModuleWrapper`.
- **fastai**: `vision_learner` with its defaults and batches of 32; frozen for as many epochs, and
  `fine_tune(4)`.
- **scikit-learn**: `LogisticRegression(max_iter=1000)` on features of eager torchvision, computed once.
- **The floor**: one script that does only what must be done, without a library of ours and without
  torchvision.

All of them get the settings that our worker gives itself: {settings}.
They keep memory that is freed for the next batch, at the price of a higher peak.

The photos are on white instead of transparent, since not all libraries know what transparent means.

What each hand-written accelerator gives, beside libraries: [ABLATIONS.md](ABLATIONS.md)."""


def keep(name: str, measured: Measured, quick: bool) -> None:
    """Write what a part measured, with when and on what."""
    file = place(name, quick)
    file.parent.mkdir(parents=True, exist_ok=True)
    found = {
        "measured": measured,
        "when": datetime.now(timezone.utc).isoformat(timespec="minutes"),
        "machine": machine.describe(),
        "versions": machine.versions(),
    }
    file.write_text(json.dumps(found, indent=1))


def place(name: str, quick: bool = False) -> Path:
    """The file of a part. Quick runs show that everything works; they don't touch what was measured."""
    return FOLDER / ("quick" if quick else "") / f"{name}.json"


def kept(names: list[str]) -> dict[str, Any]:
    """What is there of the parts, by name, without those measured on another machine than the last one."""
    found = {name: json.loads(place(name).read_text()) for name in names if place(name).is_file()}
    if not found:
        return {}
    newest = max(found.values(), key=lambda one: str(one["when"]))
    return {name: one for name, one in found.items() if one["machine"] == newest["machine"]}


def page(found: Mapping[str, Any], parts: Mapping[str, Part]) -> str:
    """RESULTS.md."""
    newest = max(found.values(), key=lambda one: str(one["when"]))
    settings = ", ".join(f"`{name}={value}`" for name, value in MEMORY_AND_THREADS.items())
    blocks = [
        "# Results",
        "Written by `python -m benchmarks`. Don't edit.",
        _facts(newest),
        HOW.format(settings=settings),
    ]
    for name, one in found.items():
        shown = section(parts[name].report(one["measured"]))
        differs = "" if one["versions"] == newest["versions"] else f" with {_versions(one)}"
        blocks.append(f"{shown}\n_Measured {one['when']}{differs}._")
    return "\n\n".join(blocks) + "\n"


def _facts(one: Mapping[str, Any]) -> str:
    on = one["machine"]
    return (
        f"{one['when'][:10]}, {on['processor']}, {on['cores']} cores ({on['flags']}), {on['memory']}, "
        f"{on['system']}, {on['libc']}.\n\n{_versions(one)}."
    )


def _versions(one: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {version}" for name, version in one["versions"].items())
