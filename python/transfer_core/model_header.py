"""The header of a saved model, and the checksum that shows accidental changes."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from transfer_core.errors import ModelFileError

FORMAT_VERSION = 1
LONGEST_ENTRY = 50_000_000


class BackboneSource(msgspec.Struct, frozen=True, kw_only=True):
    """Where the backbone came from, and whether the file holds its tensors (`inside`).

    `weights` is the published name, a path, or `random`; `weights_digest` the sha256 of what was loaded.
    `facts` are those of a backbone that is in no catalogue of ours.
    """

    name: str
    weights: str
    weights_digest: str
    fine_tuned: bool = False
    inside: bool = True
    facts: dict[str, Any] | None = None


class TargetScaling(msgspec.Struct, frozen=True):
    """A regression head answers z; the value is `mean + scale * z`, per output."""

    mean: tuple[float, ...]
    scale: tuple[float, ...]


class ModelHeader(msgspec.Struct, frozen=True, kw_only=True):
    """All of a model but its tensors.

    `labels` are names of classes or labels, or of a regression's outputs; `label_counts` says how many
    examples of each `train` has (empty for a regression); a label is said from its probability in
    `thresholds` on; `distances` are sorted, of held-out examples: one minus the probability of the true
    class, or how far each output was from the truth; `columns` name the cells of a table's rows; `created_at`
    is ISO 8601 in UTC.
    Dicts hold plain data; NaN and infinity in them are saved as null, JSON knows neither.
    """

    format_version: int = FORMAT_VERSION
    task: Literal["classification", "multi_label", "regression"]
    labels: tuple[str, ...]
    label_counts: tuple[int, ...] = ()
    recipe: dict[str, Any]
    backbone: BackboneSource
    embedding_width: int
    modality: Literal["image", "text", "table"] = "image"
    columns: tuple[str, ...] = ()
    preprocessing: dict[str, Any]
    temperature: Annotated[float, msgspec.Meta(gt=0)] = 1.0
    thresholds: tuple[float, ...] = ()
    distances: tuple[tuple[float, ...], ...] = ()
    target_scaling: TargetScaling | None = None
    metrics: dict[str, Any]
    history: tuple[dict[str, Any], ...] = ()
    sizes: dict[str, int] = {}
    warnings: tuple[str, ...] = ()
    versions: dict[str, str] = {}
    data_fingerprint: str = ""
    created_at: str

    def __post_init__(self) -> None:
        scaling = self.target_scaling or TargetScaling((), ())
        if self.task == "regression" and not len(scaling.mean) == len(scaling.scale) == len(self.labels):
            raise ValueError("a regression has a mean and a scale for each of its labels")


class _Version(msgspec.Struct):
    """The fields that are read before the others."""

    format_version: int
    tensors_sha256: str = ""


def content_digest(entry: str) -> str:
    """Hex sha256 of a model's content: the entry contains the digest of the tensors."""
    return sha256(entry.encode()).hexdigest()


def encode_entry(header: ModelHeader, tensors_sha256: str) -> str:
    """The header as JSON, with the checksum of the tensors, then the checksum of all characters before it."""
    try:
        fields = msgspec.json.encode(header)
        msgspec.json.decode(fields, type=ModelHeader)
    except (TypeError, ValueError, RecursionError, msgspec.MsgspecError) as error:
        raise ModelFileError(f"this header can't be saved: {error}") from error
    checked = fields[:-1] + f',"tensors_sha256":"{tensors_sha256}"'.encode()
    entry = checked + f',"sha256":"{sha256(checked).hexdigest()}"}}'.encode()
    if len(entry) > LONGEST_ENTRY:
        raise ModelFileError(
            f"this header can't be saved: it has {len(entry):,} bytes, at most {LONGEST_ENTRY:,} fit; "
            "a confusion matrix of very many labels is the usual cause"
        )
    return entry.decode()


def decode_entry(entry: str, path: str | Path) -> tuple[ModelHeader, str]:
    """The header and the checksum of the tensors; raises `ModelFileError` if one character changed."""
    checked, _, end = entry.rpartition(',"sha256":"')
    try:
        version = msgspec.json.decode(entry, type=_Version)
        if version.format_version > FORMAT_VERSION:
            raise ModelFileError(
                f"{path} was saved by a newer version (format {version.format_version}); "
                f"this version reads up to {FORMAT_VERSION}: upgrade transfer-rb"
            )
        if end != sha256(checked.encode()).hexdigest() + '"}':
            raise ModelFileError(f"{path} is damaged: its header is not the one that was saved")
        return msgspec.json.decode(entry, type=ModelHeader), version.tensors_sha256
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise ModelFileError(f"{path} is damaged: {error}") from error
