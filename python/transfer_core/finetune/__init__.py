"""Step 5: train through the backbone."""

from transfer_core.finetune.lora import check_adapters
from transfer_core.finetune.phase import Examples, Machine, fine_tune

__all__ = ["Examples", "Machine", "check_adapters", "fine_tune"]
