"""Load saved models, and save newly trained ones."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import Any

from transfer_core import cache
from transfer_core.backbones.frozen import AnyBackbone
from transfer_core.backbones.joint.joint_backbone import members_of
from transfer_core.heads.novelty import Novelty
from transfer_core.model.files import write_parts
from transfer_core.model.model import Model
from transfer_core.model.predictor import SavedHead, predictor_module
from transfer_core.model.restore import restore_backbone, restore_novelty, restore_state, use_of
from transfer_core.model.weights_identity import note_identity
from transfer_core.model_file import format as model_file
from transfer_core.model_file import trust as trust_list
from transfer_core.model_file.format import ModelHeader
from transfer_core.model_file.signature import PublicKeys, required_keys
from transfer_core.model_file.usage import mark_used
from transfer_core.runtime.errors import TransferWarning
from transfer_core.runtime.permissions import FILE
from transfer_core.runtime.progress import Progress
from transfer_core.tasks import TASKS


def load_model(
    path: str | os.PathLike[str],
    progress: Progress = Progress(),
    trust: bool = False,
    signed_by: Any = None,
) -> Model:
    """Load a saved model.

    Parameters
    ----------
    path
        File of the model; `~` is expanded.
    progress
        Receives events while weights are read.
    trust
        Whether code that the file names may run, now and later. Not needed for models trained here.
    signed_by
        An Ed25519 public key or several: paths to PEM or OpenSSH text, such text, or objects of
        `cryptography`. One of them must have signed the file, which is verified before it is parsed. None:
        the keys of `TRANSFER_REQUIRE_SIGNATURE`, or no signature if that is not set.

    Raises
    ------
    RecipeError
        At `trust`, if there is such code and it may not run.
    ModelFileError
        If the file is missing, damaged, or not a saved model; or if it was saved without its backbone and the
        file of its weights holds others now.
    SignatureError
        If the file is not signed by one of the keys, or a key can't be used.
    WeightsNotFound
        If it was saved without its backbone and the weights are not on this machine.
    """
    return open_model_file(Path(os.path.expanduser(path)), progress, trust, required_keys(signed_by))


def open_model_file(
    path: Path, progress: Progress = Progress(), trust: bool = False, keys: PublicKeys | None = None
) -> Model:
    """Load a saved model signed by one of `keys`; None: no signature needed. See `load_model`."""
    header, arrays, digest = model_file.read_model(path, keys)
    mark_used(path)
    if message := cache.ignored():
        warnings.warn(message, TransferWarning, stacklevel=3)
    if trust:
        trust_list.trust(digest, str(path))
    elif header.recipe.get("trust"):
        trust = trust_list.is_trusted(digest)
    with use_of(path):
        restore_state(header)  # checks the name of the task
        head = predictor_module(TASKS[header.task]).restore_head(header, arrays)
        novelty = restore_novelty(header, arrays)
        backbone = restore_backbone(header, arrays, progress, trust)
    return Model(path, header, backbone, head, digest, novelty)


def save_new(
    path: Path,
    header: ModelHeader,
    backbone: AnyBackbone,
    head: SavedHead,
    novelty: Novelty | None = None,
) -> Model:
    """Save a newly trained model, and return it with the header as loaded from the file."""
    saved = write_parts(path, header, backbone, head, FILE, novelty=novelty)
    for one in members_of(backbone):
        note_identity(one)
    if header.recipe.get("trust"):
        trust_list.trust(saved.digest, str(path))
    return Model(path, saved.header, backbone, head, saved.digest, novelty)
