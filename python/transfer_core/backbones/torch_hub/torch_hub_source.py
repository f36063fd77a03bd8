"""Networks of PyTorch Hub as a source of backbones."""

from transfer_core.backbones.registry import Source, register

register(
    Source(
        name="torch_hub",
        loading="transfer_core.backbones.torch_hub.torch_hub_loading",
        prefixes=("torchhub",),
    )
)
