"""Step 5: training through the backbone."""

from transfer_core.finetune.lora import check_adapters
from transfer_core.finetune.phase import Images, Machine, fine_tune

__all__ = ["Images", "Machine", "check_adapters", "fine_tune"]
