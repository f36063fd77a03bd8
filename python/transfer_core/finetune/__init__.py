"""Step 5: training through the backbone."""

from transfer_core.finetune.phase import Images, Machine, fine_tune

__all__ = ["Images", "Machine", "fine_tune"]
