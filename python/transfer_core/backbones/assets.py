"""Files that belong to a backbone, stored among its tensors, so that a saved model contains them."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from transfer_core.backbones.asset_files import PREFIX, escaped, files_in


class Assets(nn.Module):
    """Files by name, each as a buffer of bytes, (size,) uint8."""

    def __init__(self, files: Mapping[str, bytes]) -> None:
        super().__init__()
        for name, content in files.items():
            self.register_buffer(
                escaped(name), torch.frombuffer(bytearray(content or b"\0"), dtype=torch.uint8)
            )

    def files(self) -> dict[str, bytes]:
        """Return the files by name."""
        return files_in({f"{PREFIX}{name}": tensor for name, tensor in self.named_buffers()})
