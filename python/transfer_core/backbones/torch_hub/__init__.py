"""Networks made by the code of a PyTorch Hub repository; `torch_hub_source` comes first."""
