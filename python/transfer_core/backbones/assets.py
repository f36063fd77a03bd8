"""Files that belong to a backbone, stored among its tensors, so that a saved model contains them."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

PREFIX = "assets."


class Assets(nn.Module):
    """Files by name, each as a buffer of bytes, (size,) uint8."""

    def __init__(self, files: Mapping[str, bytes]) -> None:
        super().__init__()
        for name, content in files.items():
            self.register_buffer(
                _escaped(name), torch.frombuffer(bytearray(content or b"\0"), dtype=torch.uint8)
            )

    def files(self) -> dict[str, bytes]:
        """Return the files by name."""
        return files_in({f"{PREFIX}{name}": tensor for name, tensor in self.named_buffers()})


def files_in(tensors: Mapping[str, Tensor]) -> dict[str, bytes]:
    """Extract the files from the tensors of a backbone, by name."""
    return {
        _unescaped(name.removeprefix(PREFIX)): tensor.numpy().tobytes()
        for name, tensor in tensors.items()
        if name.startswith(PREFIX)
    }


def _escaped(name: str) -> str:
    """Escape dots, which names of buffers can't contain."""
    return name.replace("%", "%25").replace(".", "%2E")


def _unescaped(name: str) -> str:
    return name.replace("%2E", ".").replace("%25", "%")
