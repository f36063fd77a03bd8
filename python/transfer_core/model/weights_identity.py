"""Identity of a saved model's backbone in the cache of embeddings and measurements.

A published identity is the digest of the publisher's file. A saved model only claims it. The claim counts if
a training on this machine paired the same tensors with it; any other backbone is identified by its tensors.
"""

from __future__ import annotations

from transfer_core.backbones.frozen import AnyBackbone
from transfer_core.model_file.format import tensors_digest
from transfer_core.runtime.measurements import known, remembered


def note_identity(backbone: AnyBackbone) -> None:
    """Remember which tensors the identity of a backbone that was trained with here stands for."""
    remembered(_key(backbone), lambda: tensors_digest(backbone.tensors()))


def checked_digest(backbone: AnyBackbone) -> str:
    """The claimed digest of a backbone from a file if it is known here, else that of its tensors."""
    digest = tensors_digest(backbone.tensors())
    return backbone.weights_digest if known(_key(backbone)).get(_key(backbone)) == digest else digest


def _key(backbone: AnyBackbone) -> str:
    return f"tensors of {backbone.identity}"
