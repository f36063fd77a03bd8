"""Read tensors from a file of weights without running its contents, and fit them to a network."""

from __future__ import annotations

import pickle
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from transfer_core.model_file.safetensors_reader import Array, Malformed, Place, opened, read_raw, read_table
from transfer_core.runtime.errors import ModelFileError

# Former names in published files, and torchvision's present names.
_RENAMED = (
    (re.compile(r"(denselayer\d+\.(?:norm|relu|conv))\.([12]\.)"), r"\1\2"),
    (re.compile(r"(encoder_layer_\d+\.mlp)\.linear_1\."), r"\1.0."),
    (re.compile(r"(encoder_layer_\d+\.mlp)\.linear_2\."), r"\1.3."),
    (re.compile(r"(fpn\.(?:inner|layer)_blocks\.\d+)\.(weight|bias)"), r"\1.0.\2"),
)

_DTYPES = {
    **{"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16},
    **{"F8_E4M3": torch.float8_e4m3fn, "F8_E5M2": torch.float8_e5m2, "BOOL": torch.bool},
    **{"I64": torch.int64, "I32": torch.int32, "I16": torch.int16, "I8": torch.int8},
    **{"U64": torch.uint64, "U32": torch.uint32, "U16": torch.uint16, "U8": torch.uint8},
}

_SHOWN = 3  # misfits that a message lists


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read the tensors of a `.safetensors` file, or of a `.pth` file that contains a state dict.

    Returns
    -------
    dict of str to Tensor
        On the CPU, by the names in the file.

    Raises
    ------
    ModelFileError
        If the file can't be read or contains anything but tensors; pickled code is never run.
    """
    try:
        if path.suffix == ".safetensors":
            return _read_safetensors(path)
        with opened(path) as file:
            content = torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ModelFileError(f"{path} is refused: {_refusal(error)}") from None
    except MemoryError:
        raise
    except Malformed as error:
        raise ModelFileError(f"{path} can't be read as weights: it {error}") from error
    # Damaged files make torch raise nearly anything, from IndexError to struct.error.
    except Exception as error:
        raise ModelFileError(f"{path} can't be read as weights: {_first_line(error)}") from error
    return _state_dict(content, path)


def fit(
    network: nn.Module, names: Mapping[str, str], tensors: Mapping[str, Tensor], complaint: str
) -> dict[str, Tensor]:
    """Rename tensors to the network's names and convert them to its types; surplus tensors are dropped.

    Parameters
    ----------
    network
        Defines the names, shapes and types.
    names
        From the publisher's name of a tensor to the network's; the network's own names are accepted too.
    tensors
        By name.
    complaint
        Beginning of the error message: `x.pth does not fit resnet18`.

    Raises
    ------
    ModelFileError
        With the first tensors that are missing or have another shape.
    """
    renamed = {names.get(name, name): tensor for name, tensor in _current_names(tensors).items()}
    theirs = {own: published for published, own in names.items()}
    fitting, misfits = {}, []
    for name, wanted in network.state_dict().items():
        came = renamed.get(name)
        if came is not None and came.shape == wanted.shape:
            fitting[name] = came.to(wanted.dtype)
        elif came is not None:
            misfits.append(f"{theirs[name]} is {tuple(came.shape)}, not {tuple(wanted.shape)}")
        elif name.endswith("num_batches_tracked"):
            fitting[name] = torch.tensor(0)  # files from before this counter existed lack it
        else:
            misfits.append(f"{theirs[name]} is missing")
    if misfits:
        raise ModelFileError(_misfit_message(complaint, misfits))
    return fitting


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    with opened(path) as file:
        return {name: _tensor(place, content) for name, place, content in read_raw(file, read_table(file))}


def _tensor(place: Place, content: Array) -> Tensor:
    if not content.size:  # torch can't view an empty array as another type
        return torch.empty(place.shape, dtype=_DTYPES[place.dtype])
    return torch.from_numpy(content).view(_DTYPES[place.dtype]).reshape(place.shape)


def _state_dict(content: Any, path: Path) -> dict[str, Tensor]:
    """Extract the state dict, also from a training checkpoint that contains one."""
    for wrapper in ("state_dict", "model"):
        if isinstance(content, Mapping) and isinstance(content.get(wrapper), Mapping):
            content = content[wrapper]
    if not isinstance(content, Mapping) or not all(isinstance(v, Tensor) for v in content.values()):
        raise ModelFileError(
            f"{path} contains no state dict. Fix: save the weights with torch.save(model.state_dict(), path)"
        )
    return {str(name).removeprefix("module."): tensor for name, tensor in content.items()}


def _current_names(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    renamed = {}
    for name, tensor in tensors.items():
        for old, new in _RENAMED:
            name = old.sub(new, name)
        renamed[name] = tensor
    return renamed


def _misfit_message(complaint: str, misfits: list[str]) -> str:
    more = f", and {len(misfits) - _SHOWN} more" if len(misfits) > _SHOWN else ""
    return f"{complaint}: {', '.join(misfits[:_SHOWN])}{more}"


def _refusal(error: pickle.UnpicklingError) -> str:
    """A short form of torch's message, with the name of the pickled object."""
    if named := re.search(r"GLOBAL (\S+)", str(error)):
        what = f"it contains a pickled object ({named[1]}), not only tensors"
    else:
        what = f"it is not a file of weights ({_first_line(error)})"
    return f"{what}. Fix: save the weights with torch.save(model.state_dict(), path) or as .safetensors"


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)
