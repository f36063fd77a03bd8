"""Prepare the backbones whose weights packages brought, so that the first training finds their graphs.

`python -m transfer_core.features.prepare`, which `transfer setup` and `bin/setup` run.
"""

from __future__ import annotations

import os

from transfer_core.backbones.frozen import open_backbone
from transfer_core.features.extractor import build_extractor
from transfer_core.runtime.devices import choose_device

# Backbones in `backbones.places.PACKAGES` that setup installs.
PACKAGED = (
    "mobilenet_v2",
    "timm/tf_efficientnet_lite0",
    "hf/sentence-transformers/all-MiniLM-L6-v2",
)


def main() -> None:
    """Convert and measure each that is installed; a failure leaves it to the first training."""
    os.environ["TRANSFER_OFFLINE"] = "1"
    for name in PACKAGED:
        try:
            choice = build_extractor(open_backbone(name), choose_device()).choice  # type: ignore[attr-defined]
            print(f"{name}: {choice.engine} {choice.version} in {choice.precision}", flush=True)
        except Exception as error:  # setup must not fail for what a training can do later
            print(f"{name}: not prepared: {type(error).__name__}: {error}".splitlines()[0], flush=True)


if __name__ == "__main__":
    main()
