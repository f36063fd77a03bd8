"""The training loop that heads and fine-tuning share."""
