"""Step 5: train through the backbone."""

from transfer_core.finetune.phase import Examples, fine_tune

__all__ = ["Examples", "fine_tune"]
