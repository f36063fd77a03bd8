"""transfer_core: the training core of transfer-rb."""

__version__ = "0.1.0"
