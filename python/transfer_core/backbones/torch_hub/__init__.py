"""Networks that the code of a repository makes, as PyTorch Hub has it; `source` comes first."""
