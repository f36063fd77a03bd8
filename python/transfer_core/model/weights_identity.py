"""Identity of a saved model's backbone in the cache of embeddings and measurements.

A published identity is the digest of the publisher's file. A saved model only claims it. The claim counts if
a training on this machine paired the same tensors with it; any other backbone is identified by its tensors.
"""

from __future__ import annotations

from transfer_core.backbones import Backbone
from transfer_core.model_file.format import tensors_digest
from transfer_core.runtime.measurements import known, remembered


def note_identity(backbone: Backbone) -> None:
    """Remember which tensors the identity of a backbone that was trained with here stands for."""
    remembered(_key(backbone), lambda: tensors_digest(backbone.state_dict()))


def check_identity(backbone: Backbone) -> None:
    """Replace the claimed digest of a backbone from a file by that of its tensors, unless known here."""
    digest = tensors_digest(backbone.state_dict())
    if backbone.weights_digest != digest and known(_key(backbone)).get(_key(backbone)) != digest:
        backbone.weights_digest = digest


def _key(backbone: Backbone) -> str:
    return f"tensors of {backbone.identity}"
