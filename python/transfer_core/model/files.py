"""Write a model file, sign it, and record that its code is trusted."""

from __future__ import annotations

from hashlib import sha512
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transfer_core.backbones.frozen import AnyBackbone
from transfer_core.heads.novelty import Novelty
from transfer_core.model.predictor import SavedHead
from transfer_core.model_file import format as model_file
from transfer_core.model_file import trust
from transfer_core.model_file.format import (
    BACKBONE_PREFIX,
    HEAD_PREFIX,
    NOVELTY_PREFIX,
    Digest,
    ModelContent,
    ModelHeader,
    without_backbone,
)
from transfer_core.model_file.signature import private_key, sign_digest
from transfer_core.model_file.usage import mark_saved
from transfer_core.runtime.errors import ConfigurationError

if TYPE_CHECKING:
    from transfer_core.model.model import Model

# Extensions of formats that other libraries would try to read.
_OTHER_FORMATS = (".onnx", ".pt", ".pth", ".h5", ".keras", ".pkl", ".joblib", ".tflite", ".mlmodel", ".pb")


def save_model(model: Model, path: Path, backbone: bool, mode: int | None, sign: Any) -> Path:
    """See `Model.save`."""
    key = None if sign is None else private_key(sign)
    digest = sha512()
    write_model(model, path, backbone, mode, digest)
    if key:
        sign_digest(path, digest.hexdigest(), key)
    return path


def write_model(model: Model, path: Path, backbone: bool, mode: int | None, digest: Digest) -> None:
    """See `Model.write`."""
    if path.suffix.lower() in _OTHER_FORMATS:
        other = (
            "use export"
            if path.suffix.lower() == ".onnx"
            else f"save to {path.with_suffix('.transfer').name}"
        )
        raise ConfigurationError(f"{path} names another format than .transfer. Fix: {other}")
    # Not a copy of the file at `model.path`, which may be gone or replaced.
    header = model.header if backbone else without_backbone(model.header, path)
    written = write_parts(path, header, model.backbone, model.head, mode, digest, model.novelty)
    mark_saved(model.path)
    if model.header.recipe.get("trust") and trust.is_trusted(model.digest):
        trust.trust(written.digest, str(path))


def write_parts(
    path: Path,
    header: ModelHeader,
    backbone: AnyBackbone,
    head: SavedHead,
    mode: int | None,
    digest: Digest | None = None,
    novelty: Novelty | None = None,
) -> ModelContent:
    """Write a model file from header, backbone, head and novelty detector.

    Parameters
    ----------
    path
        Target file.
    header
        Header; `backbone.inside` decides whether the backbone is written.
    backbone, head
        The tensors.
    mode
        Permissions of a new file; None: 0666 less the umask.
    digest
        Updated with the bytes of the file.
    novelty
        The detector, if there is one.
    """
    tensors = {f"{HEAD_PREFIX}{name}": tensor for name, tensor in head.state_dict().items()}
    if novelty:
        tensors |= {f"{NOVELTY_PREFIX}{name}": array for name, array in novelty.state_dict().items()}
    if header.backbone.inside:
        tensors |= {f"{BACKBONE_PREFIX}{name}": tensor for name, tensor in backbone.tensors().items()}
    return model_file.write_model(path, tensors, header, mode, digest)
